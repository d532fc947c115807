"""Composers to and from URLs: what arrives is what left, and each thing that goes wrong is one sentence."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from scot import cli
from scot.composers import Registry, artifact, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.composers.exchange import pull, push
from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from scot.ports import free_port

ENCODER = "hf-hub:org/clip@1-4d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    module = Combiner(CombinerConfig(dim=4, projection=4, hidden=4))
    return save_composer(tmp_path / "run", module, encoder_id=ENCODER, dim=4, metrics={"recall@1": 0.25})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "composers")


@pytest.fixture(params=["file", "folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    places = {
        "file": f"file://{tmp_path}/there/fashion",
        "folder": str(tmp_path / "there"),
        "memory": f"memory://{uuid.uuid4().hex}",
    }
    return places[request.param]


def test_what_is_pulled_is_what_was_pushed(folder: Path, registry: Registry, url: str) -> None:
    push(folder, url)
    assert pull(url, registry) == "v1"
    assert pull(url, registry, version="fashion", encoder_id=ENCODER, release=True) == "fashion"
    assert registry.released() == "fashion"
    for name in artifact.FILES:
        assert (Path(registry.path("v1")) / name).read_bytes() == (folder / name).read_bytes()
    artifact.load_composer(registry.path("v1"), encoder_id=ENCODER, dim=4)


def test_a_place_that_is_taken_stays_as_it_is(folder: Path, registry: Registry, url: str) -> None:
    push(folder, url)
    with pytest.raises(Conflict, match="holds a composer already, and one is never changed: choose another name"):
        push(folder, url)
    pull(url, registry, version="fashion")
    with pytest.raises(Conflict, match="composer version fashion already exists"):
        pull(url, registry, version="fashion")


def test_the_card_has_the_front_matter_that_the_hub_reads(folder: Path, tmp_path: Path) -> None:
    card = (folder / artifact.CARD).read_text()
    (folder / artifact.CARD).write_text(card.split("---\n\n", 1)[1])  # as earlier versions wrote it
    push(folder, str(tmp_path / "there"))
    assert (tmp_path / "there" / artifact.CARD).read_text() == card
    _, front, _ = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "scot-search",
        "pipeline_tag": "image-feature-extraction",
        "base_model": "org/clip",
        "tags": ["composed-image-retrieval", "image-search", "scot"],
    }


def test_nothing_there_is_not_found(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"holds no composer: it has no config\.json"):
        pull(str(tmp_path / "nowhere"), registry)


@pytest.mark.parametrize("url", ["abc://there", "hf://no-slash", "hf://a/b/c"])
def test_no_such_kind_of_url_is_invalid(url: str, folder: Path, registry: Registry) -> None:
    for call in (lambda: push(folder, url), lambda: pull(url, registry)):
        with pytest.raises(InvalidInput, match=r"there is no file system abc|is not hf://ORG/REPO"):
            call()


def test_a_composer_of_another_encoder_is_not_published(folder: Path, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(EncoderMismatch, match="was trained on the encoder hf-hub:org/clip@1-4d, not other@2-4d"):
        pull(str(folder), registry, encoder_id="other@2-4d")
    module = Combiner(CombinerConfig(dim=4, projection=4, hidden=4))
    registry.publish(save_composer(tmp_path / "other", module, encoder_id="other@2-4d", dim=4))
    with pytest.raises(EncoderMismatch, match="not other@2-4d"):  # that of the released composer
        pull(str(folder), registry)
    assert registry.versions() == ["v1"]


def test_damaged_files_are_not_published(folder: Path, registry: Registry) -> None:
    weights = folder / artifact.WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InvalidInput, match=r"the sha256 of composer\.safetensors is not the recorded one"):
        pull(str(folder), registry)
    weights.write_bytes(whole)
    config = json.loads((folder / artifact.CONFIG).read_text())
    config["config"]["hidden"] = 8
    (folder / artifact.CONFIG).write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match=r"its weights do not fit its config\.json"):
        pull(str(folder), registry)
    assert registry.versions() == []


def test_pickles_are_refused_and_never_copied(folder: Path, registry: Registry) -> None:
    (folder / "more.pt").write_bytes(b"\x80\x04")
    assert pull(str(folder), registry) == "v1"
    assert sorted(file.name for file in Path(registry.path("v1")).iterdir()) == sorted(artifact.FILES)
    (folder / artifact.WEIGHTS).rename(folder / "composer.bin")
    with pytest.raises(InvalidInput, match=r"has its weights in composer\.bin, which can run code"):
        pull(str(folder), registry)


def test_a_place_that_cannot_be_written_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        push(folder, str(tmp_path / "file" / "below"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket of an S3 server of this process, which knows one user."""
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    port = free_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    server = moto.ThreadedMotoServer("127.0.0.1", port)
    server.start()
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("shared")
    yield "s3://shared"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_an_s3_bucket_carries_a_composer(folder: Path, registry: Registry, bucket: str) -> None:
    push(folder, f"{bucket}/fashion")
    with pytest.raises(Conflict, match="holds a composer already"):
        push(folder, f"{bucket}/fashion")
    assert pull(f"{bucket}/fashion", registry) == "v1"
    with pytest.raises(NotFound, match="holds no composer"):
        pull(f"{bucket}/other", registry)
    with pytest.raises(Unavailable, match="s3://no bucket/fashion cannot be read: Parameter validation failed"):
        pull("s3://no bucket/fashion", registry)


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "composers" / "v1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=waits.append))  # half a minute
    for command in (["push", "v1", "hf://org/repo"], ["pull", "hf://org/repo"]):
        assert cli.main(["composers", *command, "--composers", str(tmp_path / "composers")]) == 1
        said = capsys.readouterr().err
        assert "the hub cannot be reached for hf://org/repo" in said
        assert "Traceback" not in said
    assert waits
