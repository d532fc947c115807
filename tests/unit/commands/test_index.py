"""``scot index``: to the service that answers, else to the workspace; one sentence for what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from scot.cli import main
from scot.commands import index as command
from scot.index.store import GalleryStore
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with some pictures, on a machine without a service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_listens", lambda address: False)
    for shade in range(5):
        draw(tmp_path / "pictures" / f"{shade}.png", shade)
    return tmp_path


def draw(file: Path, shade: int) -> None:
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 40), (shade * 40, 0, 0)).save(file)
    os.utime(file, (time.time() - 60, time.time() - 60))


def items(home: Path) -> int:
    async def count() -> int:
        store = GalleryStore.open(path=home / "scot-data" / "qdrant")
        try:
            return (await store.info("gallery")).items
        finally:
            await store.close()

    return asyncio.run(count())


def test_without_a_service_the_workspace_is_filled(
    home: Path, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["index", "pictures", "--encoder", encoder, "--device", "cpu"]
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "no service answers at localhost:9000: there is no store at scot-data/qdrant yet" in said
    assert "would index 5 pictures in " in said
    assert not (home / "scot-data").exists()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "reading pictures: " in said
    assert f"storing them in scot-data/qdrant with the encoder {encoder}" in said
    assert "5 new, 0 updated, 0 unchanged, 0 removed; nothing was refused" in said
    (home / "pictures" / "0.png").unlink()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "nothing to index in " in said
    assert "1 item no longer in pictures: --prune removes it" in said
    assert main([*words, "--prune"]) == 0
    assert "0 new, 0 updated, 4 unchanged, 1 removed" in capsys.readouterr().out
    assert items(home) == 4


def test_a_service_that_answers_gets_them(
    home: Path, encoder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(home)
    settings = from_args({"encoder": encoder, "store": str(home / "served"), "threads": 1})
    with served_here(settings) as target:
        assert main(["index", "pictures", "--address", target]) == 0
        said = capsys.readouterr()
        assert f"sending them to the service at {target}" in said.out
        assert "indexed 5 pictures in " in said.out
        assert "indexing: 5 of 5 images" in said.err
    assert not (home / "scot-data").exists()


def test_an_address_that_was_given_is_not_replaced_by_the_workspace(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "pictures", "--address", "localhost:1"]) == 1
    assert capsys.readouterr().err == "scot index: no SCOT service answers at localhost:1\n"
    assert not (home / "scot-data").exists()


def test_two_indexers_at_once(home: Path, encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def meanwhile() -> None:
        store = GalleryStore.open(path=home / "scot-data" / "qdrant")
        try:
            assert await asyncio.to_thread(main, ["index", "pictures", "--encoder", encoder]) == 1
        finally:
            await store.close()

    asyncio.run(meanwhile())
    error = capsys.readouterr().err
    assert "scot-data/qdrant is open in another process" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("broken", [True, False])
def test_no_picture_is_an_error(home: Path, encoder: str, broken: bool, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "none").mkdir()
    if broken:
        (home / "none" / "a.png").write_bytes(b"not a picture")
    assert main(["index", "none", "--encoder", encoder, "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert "indexed" not in said.out
    assert "none" in said.err
    assert len(said.err.splitlines()) == (2 if broken else 1)  # the last one of the progress


def test_a_full_disk(
    home: Path, encoder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine writes to mapped files: without a check it would be killed by SIGBUS."""
    words = ["index", "pictures", "--encoder", encoder, "--device", "cpu"]
    assert main(words) == 0
    draw(home / "pictures" / "6.png", 6)
    capsys.readouterr()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 2**20))
    assert main(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "scot index: the vector store has no room left: less than 256 MB are free on its disk"
    monkeypatch.undo()
    assert items(home) == 5
