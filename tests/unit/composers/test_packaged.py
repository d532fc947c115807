"""The packaged composer: what it is, that the wheel can hold it, and where its name leads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scot.cli import main
from scot.composers import Registry, composer_path, load_composer, packaged_composers, packaged_for, save_composer
from scot.composers.artifact import verify
from scot.composers.base import padded
from scot.composers.combiner import Combiner, CombinerConfig
from scot.composers.packaged import PACKAGED
from scot.encoders import load_encoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.run import load_composers

TINY = "tiny-1"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """One version, not released."""
    module = Combiner(CombinerConfig(dim=4, projection=4, hidden=4))
    folder = save_composer(tmp_path / "run", module, encoder_id="e@1-4d", dim=4, metrics={})
    registry = Registry(tmp_path / "composers")
    registry.publish(folder, release=False)
    return registry


def test_it_is_whole_small_and_of_the_packaged_encoder() -> None:
    folder = packaged_composers()[TINY]
    verify(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12e6
    encoder = load_encoder("tiny", device="cpu")
    composer = load_composer(folder, encoder_id=encoder.id, dim=encoder.dim)
    assert composer.name == TINY
    vectors_BD = torch.nn.functional.normalize(torch.randn(2, encoder.dim, generator=torch.manual_seed(0)), dim=1)
    assert composer.reads_states
    states = padded([None, None]), padded([np.zeros((3, 128), np.float16)] * 2)  # the references are vectors alone
    composed_BD = composer.compose(vectors_BD, vectors_BD.flip(0), *states)
    assert composed_BD.dtype == torch.float32  # stored as float16
    assert composed_BD.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_an_encoder_finds_its_own() -> None:
    assert packaged_for(load_encoder("tiny", device="cpu").id) == TINY
    assert packaged_for("another@1-256d") is None


def test_an_installation_without_it_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PACKAGED, TINY, tmp_path / "nowhere")
    assert packaged_composers() == {}
    assert packaged_for(load_encoder("tiny", device="cpu").id) is None


def test_a_name_leads_to_a_packaged_one_a_version_or_a_path(registry: Registry) -> None:
    assert composer_path(TINY, registry) == composer_path(TINY, None) == str(PACKAGED[TINY])
    assert composer_path("v1", registry) == f"{registry.root}/v1"
    assert composer_path("some/folder", None) == "some/folder"
    with pytest.raises(NotFound, match="there is no composer version 'v9'"):
        composer_path("v9", registry)


def test_no_version_takes_its_name(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="packaged composer's name"):
        registry.publish(PACKAGED[TINY], TINY)
    assert registry.publish(PACKAGED[TINY], release=False) == "v2"


def test_it_can_be_evaluated_by_its_name() -> None:
    (composer,) = load_composers(None, [TINY], load_encoder("tiny", device="cpu"))
    assert composer.name == TINY


def test_a_list_says_that_it_answers_while_nothing_is_released(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = f"{TINY} answers for the encoder {load_encoder('tiny', device='cpu').id}"
    command = ["composers", "list", "--composers", registry.root]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"no version is released: {answers}" in out
    (line,) = (line for line in out.splitlines() if line.startswith(TINY))
    assert "packaged" in line
    registry.release("v1")
    assert main(command) == 0
    assert "answers" not in capsys.readouterr().out
    assert main(["composers", "list", "--composers", f"{registry.root}/nowhere"]) == 1
    assert f"holds no composer yet ({answers})" in capsys.readouterr().err
