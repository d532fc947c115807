"""Thumbnails: small, one for each item, gone with it; nothing outside their folder is ever read or written."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scot.data import atomic_io
from scot.errors import InvalidInput, NotFound, Unavailable
from scot.index.store import GalleryStore, Item
from scot.index.thumbnails import SIDE, Thumbnails, encode

RED = Image.new("RGB", (40, 30), (200, 0, 0))


@pytest.fixture(params=["folder", "URL"])
def thumbnails(request: pytest.FixtureRequest, tmp_path: Path) -> Thumbnails:
    return Thumbnails(tmp_path / "thumbnails" if request.param == "folder" else f"memory://{tmp_path.name}")


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


@pytest.mark.parametrize(
    ("size", "small"),
    [((1000, 500), (256, 128)), ((500, 1000), (128, 256)), ((40, 30), (40, 30)), ((16_000, 10), (256, 1))],
)
def test_a_thumbnail_is_small_and_never_enlarged(size: tuple[int, int], small: tuple[int, int]) -> None:
    data = encode(Image.new("RGB", size, (200, 0, 0)))
    assert decoded(data).size == small
    assert max(small) <= SIDE
    assert np.abs(np.subtract(decoded(data).getpixel((0, 0)), (200, 0, 0))).max() < 8


def test_what_is_written_is_read_until_it_is_deleted(thumbnails: Thumbnails) -> None:
    thumbnails.write("gallery", "a", RED)
    thumbnails.write("gallery", "b", Image.new("RGB", (8, 8), (0, 0, 200)))
    thumbnails.write("other", "a", Image.new("RGB", (9, 9)))
    found = thumbnails.read("gallery", ["a", "b", "c"])
    assert {item_id: decoded(data).size for item_id, data in found.items()} == {"a": (40, 30), "b": (8, 8)}
    thumbnails.delete("gallery", ["a", "c"])
    assert list(thumbnails.read("gallery", ["a", "b"])) == ["b"]
    assert list(thumbnails.read("other", ["a"])) == ["a"]


def test_a_new_image_replaces_the_thumbnail(thumbnails: Thumbnails) -> None:
    for size in (10, 20):
        thumbnails.write("gallery", "a", Image.new("RGB", (size, size)))
    assert decoded(thumbnails.read("gallery", ["a"])["a"]).size == (20, 20)


NAMES = ["../../secret", "/etc/passwd", "..", ".", "a/b", "a\\b", "ä 💚", "a" * 500, "%2E%2E", "*"]


def test_a_new_folder_is_marked_as_a_cache_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk of `scot index .` that meets the folder while it is made must not read thumbnails as images."""
    folder = tmp_path / "data" / "thumbnails"
    flushed = []

    def look(path: Path) -> None:
        flushed.append(path)
        assert not folder.exists() or (folder / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172")

    monkeypatch.setattr(atomic_io, "_flush", look)
    Thumbnails(folder).write("gallery", "a", RED)
    assert flushed
    assert (folder / "CACHEDIR.TAG").is_file()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "secret.webp"
    outside.write_bytes(encode(RED))
    thumbnails = Thumbnails(tmp_path / "in" / "thumbnails")
    for name in NAMES:
        thumbnails.write("gallery", name, RED)
        if len(name) < 100:
            assert not thumbnails.read(name, ["a"])
            thumbnails.write(name, "a", RED)
    assert list(thumbnails.read("gallery", NAMES)) == NAMES
    ours = (outside, tmp_path / "in" / "thumbnails" / "CACHEDIR.TAG")
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file not in ours]
    assert len(files) == 2 * len(NAMES) - 1
    assert all(file.is_relative_to(tmp_path / "in" / "thumbnails") and len(file.parts[-2]) == 2 for file in files)
    for name in NAMES:
        thumbnails.delete("gallery", [name])
    assert outside.exists()


@pytest.mark.parametrize("damage", [b"", b"RIFF", encode(RED)[:-1], bytes(len(encode(RED)))])
def test_a_damaged_thumbnail_is_missing(tmp_path: Path, damage: bytes) -> None:
    thumbnails = Thumbnails(tmp_path)
    thumbnails.write("gallery", "a", RED)
    (file,) = tmp_path.rglob("*.webp")
    file.write_bytes(damage)
    assert thumbnails.read("gallery", ["a"]) == {}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").write_text("a file")
    with pytest.raises(Unavailable, match=r"the thumbnail folder .*thumbnails cannot be written: Not a directory"):
        Thumbnails(tmp_path / "thumbnails").write("gallery", "a", RED)


def test_a_url_of_no_known_file_system_is_refused() -> None:
    with pytest.raises(InvalidInput, match="there is no file system nowhere://"):
        Thumbnails("nowhere://x")


def test_the_store_deletes_thumbnails_with_items(tmp_path: Path) -> None:
    async def work() -> None:
        store = GalleryStore.open(path=tmp_path / "qdrant", thumbnails=tmp_path / "thumbnails")
        assert store.thumbnails is not None
        with pytest.raises(NotFound):
            await store.pictures("gallery", ["a"])
        await store.ensure("gallery", "e", 4)
        for item_id in ("a", "b", "never stored"):
            store.thumbnails.write("gallery", item_id, RED)
        await store.upsert("gallery", [Item(item_id, np.eye(4, dtype=np.float32)[0]) for item_id in ("a", "b", "c")])
        assert list(await store.pictures("gallery", ["b", "a", "c", "never stored"])) == ["b", "a"]
        assert await store.delete("gallery", ["a", "c"]) == 2
        assert list(await store.pictures("gallery", ["a", "b", "c"])) == ["b"]
        await store.close()
        without = GalleryStore.open(path=tmp_path / "qdrant")
        assert await without.pictures("gallery", ["b"]) == {}
        await without.close()

    asyncio.run(work())
