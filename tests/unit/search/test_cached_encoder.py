"""The cache of embeddings: the same answers as without, counted, and never more bytes than allowed."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import normalize

from scot.composers import baseline
from scot.composers.base import States
from scot.encoders import Encoder, Resizing, TokenizedText, load_encoder
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import ENTRY_BYTES, CachedEncoder
from services.search.composer.messages import Composed
from tests.support.compose_jobs import job

MB = 2**20


class Reader:
    """The sum, moved by the mean of the words' states: an answer that is wrong when their states are another's."""

    name = architecture = "reader"
    encoder_id: str | None = None
    reads_states = True

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        means = [(each.values_BLW.float() * each.mask_BL[..., None]).mean((1, 2)) for each in states]
        return normalize(image_BD + text_BD + torch.nan_to_num(sum(means)[:, None]), dim=-1)  # type: ignore[index]


COMPOSERS: dict[str, Any] = {"sum": baseline("sum"), "reader": Reader()}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny", device="cpu")


@pytest.fixture(scope="module")
def pictures(encoder: Encoder) -> list[np.ndarray[Any, Any]]:
    size = encoder.preprocess(Image.new("RGB", (8, 8))).shape
    return list(np.random.default_rng(0).integers(0, 255, (6, *size), np.uint8))


TEXTS = ["red", "make it blue", "with long sleeves and a collar", "striped", "much larger", "a red shirt"]


def vectors(answers: list[Composed | Exception]) -> np.ndarray[Any, Any]:
    assert all(isinstance(answer, Composed) for answer in answers), answers
    return np.stack([answer.vector for answer in answers if isinstance(answer, Composed)])


one_job = st.tuples(
    st.none() | st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=3), st.sampled_from(list(COMPOSERS))
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(one_job, min_size=1, max_size=6), min_size=1, max_size=4),
    size=st.sampled_from([0, 3_000, 20_000, MB]),
)
def test_answers_are_the_same_with_and_without(
    encoder: Encoder,
    pictures: list[np.ndarray[Any, Any]],
    batches: list[list[tuple[int | None, list[int], str]]],
    size: int,
) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    cached = CachedEncoder(encoder, size, lambda kind, outcome, number: counted.update({(kind, outcome): number}))
    requested: Counter[str] = Counter()
    for batch in batches:
        # A copy of each array and text, as every request brings its own.
        jobs = [
            job(
                *("".join([*TEXTS[edit]]) for edit in edits),
                image=None if picture is None else pictures[picture].copy(),
                composer=composer,
            )
            for picture, edits, composer in batch
        ]
        expected = vectors(compose_batch(CachedEncoder(encoder), COMPOSERS.__getitem__, jobs))
        np.testing.assert_allclose(vectors(compose_batch(cached, COMPOSERS.__getitem__, jobs)), expected, atol=1e-6)
        requested["image"] += sum(picture is not None for picture, _, _ in batch)
        requested["text"] += sum(len(edits) for _, edits, _ in batch)
        assert cached.size <= size
    if size:
        assert {kind: counted[kind, "hit"] + counted[kind, "miss"] for kind in ("image", "text")} == dict(requested)
    else:
        assert not counted


class Towers:
    """Random vectors and states, and a list of the calls that were not for nothing."""

    def __init__(self, id: str = "random", dim: int = 64) -> None:
        self.id, self.dim = id, dim
        self.calls: list[tuple[str, int]] = []
        self._rng = np.random.default_rng(0)

    def _vectors(self, name: str, inputs: Any) -> Any:
        self.calls += [(name, len(inputs))] if len(inputs) else []
        return self._rng.random((len(inputs), self.dim), np.float32)

    def _states(self, name: str, inputs: Any) -> Any:
        states = self._rng.random((len(inputs), 6, 16), np.float32).astype(np.float16)
        return self._vectors(name, inputs), list(states)

    encode_pixels = partialmethod(_vectors, "pixels")
    encode_tokens = partialmethod(_vectors, "tokens")
    encode_images = partialmethod(_vectors, "images")
    encode_texts = partialmethod(_vectors, "texts")
    encode_pixels_states = partialmethod(_states, "pixels and states")
    encode_tokens_states = partialmethod(_states, "tokens and states")
    encode_texts_states = partialmethod(_states, "texts and states")

    resizing = Resizing((4, 4))

    def preprocess(self, image: Any) -> Any:
        raise AssertionError

    def tokenize(self, texts: Any) -> Any:
        self.calls += [("tokenize", len(texts))] if texts else []
        return [TokenizedText(np.zeros(4, np.int64), text == "long") for text in texts]


PICTURES = [np.full((4, 4, 3), number, np.uint8) for number in range(3)]


def test_what_is_kept_skips_the_towers() -> None:
    towers = Towers()
    cached = CachedEncoder(towers, MB)
    cached.pixels([PICTURES[0], PICTURES[1], PICTURES[0].copy()])
    assert towers.calls == [("pixels", 2)]
    cached.pixels([PICTURES[1].copy(), PICTURES[2]])
    assert towers.calls.pop() == ("pixels", 1)
    cached.pixels([PICTURES[0]], states=True)  # its states were not kept
    assert towers.calls.pop() == ("pixels and states", 1)
    (first,) = cached.pixels([PICTURES[0]], states=True)
    (second,) = cached.pixels([PICTURES[0]])
    assert towers.calls == [("pixels", 2)]
    assert first is second


def test_a_text_that_is_kept_is_not_tokenized_again() -> None:
    towers = Towers()
    cached = CachedEncoder(towers, MB)
    assert [each.truncated for each in cached.texts(["red", "long"])] == [False, True]
    assert towers.calls == [("tokenize", 2), ("tokens", 2)]
    towers.calls.clear()
    assert [each.truncated for each in cached.texts(["long", "red"])] == [True, False]
    assert towers.calls == []


def test_without_a_cache_one_array_still_goes_through_a_tower_once() -> None:
    """A query and its shadow."""
    towers = Towers()
    off = CachedEncoder(towers)
    off.pixels([PICTURES[0], PICTURES[0]])
    off.pixels([PICTURES[0]])
    assert towers.calls == [("pixels", 1), ("pixels", 1)]
    assert off.size == 0


def test_other_encoders_kinds_and_shapes_are_other_entries() -> None:
    row = np.arange(12, dtype=np.uint8)
    inputs: list[tuple[Any, Any]] = [("image", each) for each in (row, row.reshape(3, 4), row + 1)]
    inputs += [("text", each) for each in ("red", "blue", "")]
    keys = [
        CachedEncoder(Towers(encoder), MB)._keys(kind, {0: each})[0]
        for encoder in ("one", "another")
        for kind, each in inputs
    ]
    assert len(set(keys)) == 12
    assert CachedEncoder(Towers("one"), MB)._keys("image", {0: row.copy()})[0] == keys[0]


def test_the_least_lately_used_goes_first() -> None:
    towers = Towers()
    entry = ENTRY_BYTES + 4 * towers.dim
    cached = CachedEncoder(towers, 2 * entry)
    for number in (0, 1, 0, 2):  # 2 pushes 1 out
        cached.pixels([PICTURES[number]])
    assert cached.size == 2 * entry
    towers.calls.clear()
    cached.pixels([PICTURES[0], PICTURES[2]])
    assert towers.calls == []
    cached.pixels([PICTURES[1]])
    assert towers.calls == [("pixels", 1)]


def test_what_is_too_large_is_not_kept() -> None:
    towers = Towers()
    cached = CachedEncoder(towers, ENTRY_BYTES + 4 * towers.dim)
    (with_states,) = cached.pixels([PICTURES[0]], states=True)
    assert with_states.states_LW is not None
    assert with_states.size > cached.size == 0


def test_nobody_can_change_what_is_kept() -> None:
    (embedded,) = CachedEncoder(Towers(), MB).pixels([PICTURES[0]])
    with pytest.raises(ValueError, match="read-only"):
        embedded.vector_D[0] = 1.0


@pytest.mark.parametrize("dim", [64, 1024])
@pytest.mark.parametrize("states", [False, True])
def test_bytes_are_what_memory_is_taken(states: bool, dim: int) -> None:
    """Offered more than fits, what it takes is about what it says."""
    cached = CachedEncoder(Towers(dim=dim), 4 * MB)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(200):
        cached.texts([f"{start} {place}" for place in range(30)], states=states)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.99 * 4 * MB < cached.size <= 4 * MB
    assert taken == pytest.approx(cached.size, rel=0.15)
