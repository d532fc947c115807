"""``scot composers bootstrap`` with a small random encoder: it publishes, resumes, and refuses what cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from scot import cli
from scot.bootstrap.run import BootstrapConfig, bootstrap
from scot.composers import Registry
from scot.encoders import Encoder, load_encoder
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery without captions, one of its files broken."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(110):
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def small(tmp_path: Path, encoder: str, **settings: object) -> BootstrapConfig:
    return BootstrapConfig(encoder=encoder, composers=str(tmp_path / "composers"), work=tmp_path / "work",
                           **{"share": 0.01, "steps": 20, **settings})  # type: ignore[arg-type]  # fmt: skip


def test_a_composer_for_an_encoder_of_ones_own(
    tmp_path: Path, encoder: str, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = small(tmp_path, encoder, images=str(pictures), json=True)
    assert bootstrap(config) == 0
    out, err = capfd.readouterr()
    said = json.loads(out.splitlines()[-1])
    registry = Registry(config.composers)
    assert registry.versions() == [said["version"]] == ["v1"]
    assert said["images"]
    assert said["released"] == (registry.released() == "v1")
    assert said["encoder"] == load_encoder(encoder).id == registry.config("v1")["encoder_id"]
    assert "moved by the gap of the means" in err
    assert "as the images vary" in err
    again = small(tmp_path, encoder, images=str(pictures))
    assert bootstrap(again) == 0
    out, err = capfd.readouterr()
    assert "is finished and published as v1" in err
    assert "0 texts encoded" in err
    assert out.startswith(f"published v1 for {said['encoder']}")
    assert registry.versions() == ["v1"]


def test_the_encoder_is_loaded_once(tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, **settings: Any) -> Encoder:
        loaded.append(name)
        return load_encoder(name, **settings)

    for module in ("scot.bootstrap.run", "scot.embeddings.encode", "scot.embeddings.chunk_encoder"):
        monkeypatch.setattr(f"{module}.load_encoder", load)
    assert bootstrap(small(tmp_path, encoder, steps=1)) == 0
    assert loaded == [encoder]


def test_without_pictures_it_says_what_it_cannot_know(
    tmp_path: Path, encoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = small(tmp_path, encoder, release=False)
    assert bootstrap(config) == 0
    out, err = capfd.readouterr()
    assert "no --images: the composer cannot know where the images of this encoder lie beside its texts" in err
    assert "(not released)" in out
    assert Registry(config.composers).released() is None


def test_what_cannot_work_is_one_sentence(tmp_path: Path, encoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(encoder.removeprefix("local-dir:"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    blind = tmp_path / "blind"  # without a text tower
    blind.mkdir()
    del config["model_cfg"]["text_cfg"]
    (blind / "open_clip_config.json").write_text(json.dumps(config))
    mute = tmp_path / "mute"  # whose text tower gives every text one vector
    save_random_encoder(mute)
    weights = load_file(mute / "open_clip_model.safetensors")
    weights |= {name: weights[name] * 0 for name in ("token_embedding.weight",)}
    weights["positional_embedding"][:] = weights["positional_embedding"][:1]
    save_file(weights, mute / "open_clip_model.safetensors")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, sentence in (
        (["--encoder", f"local-dir:{blind}"], "cannot be loaded: it has no text tower"),
        (["--encoder", f"local-dir:{mute}"], "gives 100% of the captions the vector of their edited captions"),
        (["--encoder", f"local-dir:{tmp_path}/none"], "cannot be loaded: "),
        (["--encoder", "nonsense"], "encoder 'nonsense' is not tiny, NAME/PRETRAINED"),
        (["--encoder", encoder, "--images", str(empty)], "empty"),
        (["--encoder", encoder, "--images", str(tmp_path / "absent")], "there is nothing at"),
        (["--encoder", encoder, "--share", "0"], "share must be above 0 and at most 1"),
        (["--encoder", encoder, "--steps", "0"], "steps must be above 0"),
    ):
        places = ["--composers", str(tmp_path / "composers"), "--work", str(tmp_path / "work")]
        assert cli.main(["composers", "bootstrap", *arguments, *places]) == 1
        err = capfd.readouterr().err
        assert sentence in err
        assert "Traceback" not in err
    assert Registry(tmp_path / "composers").versions() == []
