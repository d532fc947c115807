"""Which composer answers a request that names none: shares, one composer for one caller, and mistakes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.composers import Registry, save_composer
from scot.composers.architectures import build
from scot.errors import EncoderMismatch, InvalidInput, NotFound, ScotError
from services.search.composer.loaded_composers import LoadedComposers
from services.search.rollout import Rollout
from tests.support.named_encoder import NamedEncoder

CALLERS = [f"caller-{number}" for number in range(20_000)]
DIM = 8


def answered(rollout: Rollout) -> dict[str, str]:
    return {caller: rollout.answering(caller) for caller in CALLERS}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({}, {"v1": 1.0}),
        ({"v2": 0.0}, {"v1": 1.0}),
        ({"v2": 0.1}, {"v1": 0.9, "v2": 0.1}),
        ({"v2": 0.25, "v3": 0.35}, {"v1": 0.4, "v2": 0.25, "v3": 0.35}),
        ({"v2": 1.0}, {"v2": 1.0}),
        ({"v1": 0.2, "v2": 0.3}, {"v1": 0.7, "v2": 0.3}),  # after a promotion: the default is in its own split
        ({"a": 0.1, "b": 0.2, "c": 0.7}, {"a": 0.1, "b": 0.2, "c": 0.7}),  # the sum is 0.99… in floating point
    ],
)
def test_everybody_gets_their_share(split: dict[str, float], expected: dict[str, float]) -> None:
    rollout = Rollout("v1", split)
    assert {name: share for name, share in rollout.shares.items() if share > 1e-9} == pytest.approx(expected)
    counted = Counter(answered(rollout).values())
    assert {name: number / len(CALLERS) for name, number in counted.items()} == pytest.approx(expected, abs=0.015)


def test_the_same_caller_gets_the_same_composer_in_every_process() -> None:
    """Replicas share nothing, and PYTHONHASHSEED differs: these were computed once and for all."""
    rollout = Rollout("v1", {"v2": 0.5})
    assert [rollout.answering(f"user-{number}") for number in range(6)] == PINNED
    assert answered(rollout) == answered(Rollout("v1", {"v2": 0.5}))


PINNED = ["v2", "v1", "v2", "v1", "v1", "v1"]


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.3), (0.3, 1.0), (0.0, 0.05)])
def test_a_growing_canary_keeps_those_whom_it_has(before: float, after: float) -> None:
    few, many = answered(Rollout("v1", {"v2": before})), answered(Rollout("v1", {"v2": after}))
    assert {caller for caller in CALLERS if few[caller] == "v2"} < {c for c in CALLERS if many[c] == "v2"}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["v1", "v2", "v3", "sum:0.7"]), st.floats(0, 0.25)), st.text(max_size=20))
def test_who_answers_has_a_share(split: dict[str, float], caller: str) -> None:
    rollout = Rollout("v1", split)
    assert rollout.shares[rollout.answering(caller)] > 0
    assert sum(rollout.shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("user_config", "sentence"),
    [
        ({"defualt": "v2"}, "there is no 'defualt'; it has default, split, shadow"),
        ({"default": 2}, "user_config.default: must be the name"),
        ({"default": ["v1"]}, "user_config.default: must be the name"),
        ({"shadow": {"v3": 1.0}}, "user_config.shadow: must be the name"),
        ({"split": ["v2"]}, "user_config.split: must map composers to their shares"),
        ({"split": "v2"}, "user_config.split: must map composers to their shares"),
        ({"split": {"": 0.1}}, "every share needs the name"),
        ({"split": {2: 0.1}}, "every share needs the name"),
        ({"split": {"v2": "10%"}}, "the share of 'v2' must be a number between 0 and 1"),
        ({"split": {"v2": 1.5}}, "the share of 'v2' must be a number between 0 and 1"),
        ({"split": {"v2": -0.1}}, "the share of 'v2' must be a number between 0 and 1"),
        ({"split": {"v2": float("nan")}}, "the share of 'v2' must be a number between 0 and 1"),
        ({"split": {"v2": True}}, "the share of 'v2' must be a number between 0 and 1"),
        ({"split": {"v2": 0.6, "v3": 0.6}}, "must not be more than 1"),
    ],
)
def test_a_mistake_is_one_sentence(user_config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        Rollout.of(user_config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("user_config", [{}, {"default": ""}, {"default": None, "split": None, "shadow": None}])
def test_what_is_left_out_is_the_released_one_alone(user_config: dict[str, Any]) -> None:
    assert Rollout.of(user_config) == Rollout("", {}, "")


@pytest.fixture
def composers(tmp_path: Path) -> LoadedComposers:
    registry = Registry(tmp_path / "composers")
    torch.manual_seed(0)
    module = build("combiner", {"dim": DIM, "projection": 4, "hidden": 4})
    for version, encoder in (
        ("v1", "ours"),
        ("v2", "ours"),
        ("v3", "ours"),
        ("damaged", "ours"),
        ("foreign", "theirs"),
    ):
        save_composer(tmp_path / version, module, encoder_id=encoder, dim=DIM, metrics={})
        registry.publish(tmp_path / version, version=version, release=version == "v1")
    (tmp_path / "composers" / "damaged" / "composer.safetensors").write_bytes(b"damaged")
    loaded = LoadedComposers(registry, NamedEncoder("ours", DIM))
    loaded.roll_out(Rollout())
    return loaded


def test_the_list_says_shares_and_shadow(composers: LoadedComposers) -> None:
    composers.roll_out(Rollout("", {"v2": 0.1, "sum:0.7": 0.2}, "v3"))
    infos = {info.name: (info.released, info.share, info.shadow) for info in composers.infos()}
    assert infos["v1"] == (True, pytest.approx(0.7), False)
    assert infos["v2"] == (False, 0.1, False)
    assert infos["v3"] == (False, 0.0, True)
    assert infos["sum:0.7"] == (False, 0.2, False)
    assert infos["sum"] == (False, 0.0, False)
    assert sum(share for _, share, _ in infos.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["foreign", "nobody", "damaged", "sum:2", "../v1"])
@pytest.mark.parametrize("where", ["default", "split", "shadow"])
def test_a_rollout_is_taken_whole_or_not_at_all(composers: LoadedComposers, name: str, where: str) -> None:
    composers.roll_out(Rollout("v1", {"v2": 0.5}, "v3"))
    before = composers.rollout
    good = {"default": "v3", "split": {"v1": 0.2}, "shadow": "v2"}
    bad = {**good, where: {"v1": 0.2, name: 0.1} if where == "split" else name}
    expected: dict[str, type[ScotError]] = {"foreign": EncoderMismatch, "nobody": NotFound, "../v1": NotFound}
    with pytest.raises(expected.get(name, InvalidInput)):
        composers.roll_out(Rollout.of(bad))
    assert composers.rollout is before
    assert composers.get("").name == "v1"
    composers.roll_out(Rollout.of(good))
    assert composers.get("").name == "v3"
