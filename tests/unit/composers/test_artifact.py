from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from scot.composers import artifact, load_composer, save_composer
from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.combiner import Combiner, CombinerConfig
from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from tests.support.composer_inputs import some_settings, some_states


@pytest.fixture
def module() -> Combiner:
    torch.manual_seed(0)
    module = Combiner(CombinerConfig(dim=8, projection=16, hidden=16))
    module.fit_statistics(torch.rand(4, 8), torch.rand(4, 8))
    return module


@pytest.fixture
def folder(tmp_path: Path, module: Combiner) -> Path:
    return save_composer(
        tmp_path / "v1", module, encoder_id="tiny@1-8d", dim=8, training_data="abc", metrics={"recall@1": 0.5}
    )


def test_a_loaded_composer_composes_as_the_saved_one(folder: Path, module: Combiner) -> None:
    composer = load_composer(folder, encoder_id="tiny@1-8d", dim=8)
    image_BD, text_BD = normalize(torch.randn(3, 8), dim=-1), normalize(torch.randn(3, 8), dim=-1)
    torch.testing.assert_close(composer.compose(image_BD, text_BD), module.eval()(image_BD, text_BD), rtol=0, atol=0)
    assert (composer.name, composer.architecture, composer.encoder_id) == ("v1", "combiner", "tiny@1-8d")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_saved_and_loaded(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module = build(name, {**some_settings(name), "hidden": 16}).eval()
    module.fit_statistics(torch.rand(4, 8), torch.rand(4, 8))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    save_composer(tmp_path / "v1", module, encoder_id="tiny@1-8d", dim=8)
    composer = load_composer(tmp_path / "v1", encoder_id="tiny@1-8d", dim=8)
    image_BD, text_BD = normalize(torch.randn(3, 8), dim=-1), normalize(torch.randn(3, 8), dim=-1)
    states = some_states(name, 3)
    torch.testing.assert_close(composer.compose(image_BD, text_BD, *states), module(image_BD, text_BD, *states))
    assert composer.architecture == name
    assert composer.reads_states == bool(states)


def test_the_folder_tells_what_it_is(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "composer.safetensors", "config.json", "metrics.json",
    ]  # fmt: skip
    config = artifact.read_config(folder)
    assert config["config"] == {"dim": 8, "projection": 16, "hidden": 16, "dropout": 0.1, "centre": True}
    assert (config["training_data"], config["normalisation"], config["scot"]) == ("abc", "l2", "0.1.0")
    assert artifact.read_metrics(folder) == {"recall@1": 0.5}
    card = (folder / "README.md").read_text()
    assert "tiny@1-8d" in card
    assert "| recall@1 | 0.5000 |" in card


def test_another_encoder_is_refused_with_both_named(folder: Path) -> None:
    with pytest.raises(EncoderMismatch, match="tiny@1-8d, not other@2-8d"):
        load_composer(folder, encoder_id="other@2-8d", dim=8)
    with pytest.raises(EncoderMismatch, match="8 dimensions, not 16"):
        load_composer(folder, encoder_id="tiny@1-8d", dim=16)


def test_an_absent_composer_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no composer v9"):
        load_composer(tmp_path / "v9", encoder_id="e", dim=8)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("composer.safetensors", b"junk"), ("composer.safetensors", None), ("config.json", None),
        ("config.json", b"{"), ("config.json", b"[]"), ("config.json", b'{"dim": 8}'),
    ],
)  # fmt: skip
def test_a_damaged_artifact_is_refused(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(InvalidInput, match="v1 is damaged"):
        load_composer(folder, encoder_id="tiny@1-8d", dim=8)


def test_one_flipped_bit_is_found(folder: Path) -> None:
    path = folder / "composer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="sha256"):
        artifact.verify(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["config"]["hidden"] = 32
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match="do not fit"):
        load_composer(folder, encoder_id="tiny@1-8d", dim=8)


def test_an_artifact_is_never_overwritten(folder: Path, module: Combiner) -> None:
    with pytest.raises(Conflict, match="already exists"):
        save_composer(folder, module, encoder_id="tiny@1-8d", dim=8)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, module: Combiner, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Unavailable, match="new cannot be written: disk full"):
        save_composer(tmp_path / "new", module, encoder_id="e", dim=8)
    assert list(tmp_path.iterdir()) == []


def test_only_registered_architectures_are_saved(tmp_path: Path) -> None:
    class Mine(Combiner):
        pass

    with pytest.raises(InvalidInput, match="Mine is not a registered"):
        save_composer(tmp_path / "x", Mine(CombinerConfig(dim=8)), encoder_id="e", dim=8)
