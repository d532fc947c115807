"""Bringing a gallery up to date: only what changed is embedded, and nothing is lost or replaced without a word."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.client import AsyncScotClient
from scot.commands.index import ServiceGallery
from scot.data.captioned import open_source
from scot.data.records import CaptionedImage
from scot.embeddings.images import embed_images
from scot.encoders import load_encoder
from scot.encoders.clip import ClipEncoder
from scot.errors import EncoderMismatch, InvalidInput
from scot.index import sync as sync_module
from scot.index import sync_plan
from scot.index.captions import with_captions
from scot.index.config import CollectionConfig
from scot.index.gallery import Batches, StoreGallery
from scot.index.origin import Origin
from scot.index.store import GalleryStore, Item
from scot.index.sync import sync
from scot.index.sync_plan import Pending
from scot.index.sync_report import Report
from scot.progress import Progress
from services.search.settings import from_args
from tests.support.forked import forkserver
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here

SHADES = {f"{name}.png": number * 20 for number, name in enumerate("abcdef")}
YEAR_NS = 365 * 24 * 3_600 * 10**9


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def encoder(encoder_folder: str) -> ClipEncoder:
    return load_encoder(encoder_folder, device="cpu")


def draw(file: Path, shade: int, *, age_s: float = 60, format: str = "PNG") -> None:
    """A picture of one shade, last modified so many seconds ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (shade, 0, 0)).save(file, format)
    os.utime(file, (time.time() - age_s, time.time() - age_s))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name, shade in SHADES.items():
        draw(folder / name, shade)
    return folder


@dataclass
class Room:
    """A gallery of an embedded store, which counts what is embedded."""

    path: Path
    encoder: ClipEncoder
    embedded: list[str] = field(default_factory=list)
    caption_weight: float = 0.0

    def index(self, *sources: Path, **options: Any) -> Report:
        """One run over these sources."""
        return self.do(
            lambda gallery, _: sync([open_source(each, captions="optional") for each in sources], gallery, **options)
        )

    def items(self) -> dict[str, Item]:
        """Everything in the gallery."""

        async def all_items(_: StoreGallery, store: GalleryStore) -> dict[str, Item]:
            ids = [item.item_id for item in (await store.scroll("gallery"))[0]]
            return await store.get("gallery", ids, with_vectors=True)

        return self.do(all_items)

    def do(self, work: Any) -> Any:
        async def opened() -> Any:
            store = GalleryStore.open(path=self.path)
            try:
                layout = CollectionConfig(caption_weight=self.caption_weight)
                gallery = StoreGallery(store, "gallery", self.encoder, layout=layout, embed=self._embed)
                return await work(gallery, store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def _embed(self, pictures: Iterator[Pending], caption_weight: float) -> Batches:
        for batch in embed_images(pictures, Pending.load, self.encoder, batch_size=3):
            self.embedded += [each.item_id for each in batch.sources]
            yield with_captions(batch, self.encoder, caption_weight)


@pytest.fixture
def room(tmp_path: Path, encoder: ClipEncoder) -> Room:
    return Room(tmp_path / "qdrant", encoder)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.new, report.updated, report.unchanged, report.removed


def state(room: Room) -> dict[str, tuple[Any, Any, list[float]]]:
    return {
        name: (item.payload, item.origin, np.round(np.asarray(item.vector), 5).tolist())
        for name, item in room.items().items()
    }


def test_a_second_run_reads_and_embeds_nothing(room: Room, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(pictures / "broken.png", 1)
    (pictures / "broken.png").write_bytes(b"not a picture")
    lines: list[str] = []
    first = room.index(pictures, progress=Progress(lines.append, every_s=0))
    assert counts(first) == (6, 0, 0, 0)
    assert dict(first.refusals.counts) == {"not_an_image": 1}
    assert first.lines()[0].startswith("indexed 6 pictures in ")
    assert lines[-1].startswith("indexing: 7 of 7 images")
    assert lines[-1].endswith("1 refused")
    (pictures / "broken.png").unlink()
    before, room.embedded = state(room), []
    monkeypatch.setattr(CaptionedImage, "read", lambda record: pytest.fail(f"{record.image_id} was read"))
    second = room.index(pictures)
    assert counts(second) == (0, 0, 6, 0)
    assert second.lines()[0].startswith("nothing to index in ")
    assert "0 new, 0 updated, 6 unchanged, 0 removed; nothing was refused" in second.lines()[0]
    assert room.embedded == []
    assert state(room) == before


def test_an_item_says_where_its_picture_is(room: Room, pictures: Path) -> None:
    draw(pictures / "below" / "é.png", 200)
    room.index(pictures)
    origin = room.items()["below/é.png"].origin
    assert origin is not None
    file = pictures / "below" / "é.png"
    assert (origin.source, origin.path) == (str(pictures), "below/é.png")
    assert (origin.size, origin.modified_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
    assert origin.location == str(file)


def test_only_what_changed_is_embedded(room: Room, pictures: Path) -> None:
    room.index(pictures)
    before, room.embedded = room.items(), []
    draw(pictures / "a.png", 250)  # another picture
    os.utime(pictures / "b.png")  # the same one, touched
    draw(pictures / "g.png", 130)
    (pictures / "c.txt").write_text("a dark red")
    report = room.index(pictures)
    assert counts(report) == (1, 2, 4, 0)
    assert sorted(room.embedded) == ["a.png", "g.png"]
    after = room.items()
    assert after["c.png"].payload == {"caption": "a dark red"}
    np.testing.assert_allclose(after["c.png"].vector, before["c.png"].vector, atol=1e-6)
    assert not np.allclose(after["a.png"].vector, before["a.png"].vector)
    (expected,) = room.encoder.encode_images([Image.new("RGB", (40, 40), (250, 0, 0))])
    np.testing.assert_allclose(after["a.png"].vector, expected, atol=1e-5)
    assert counts(room.index(pictures)) == (0, 0, 7, 0)


@pytest.mark.parametrize("age_s", [-3_600, -3 * 365 * 24 * 3_600, 0])
def test_a_time_that_says_nothing_is_not_believed(room: Room, pictures: Path, age_s: float) -> None:
    """In the future, or so recent that the file may have been written twice at the same time."""
    draw(pictures / "a.png", 100, age_s=age_s, format="BMP")
    stat = (pictures / "a.png").stat()
    room.index(pictures)
    draw(pictures / "a.png", 101, format="BMP")
    os.utime(pictures / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (pictures / "a.png").stat().st_size == stat.st_size
    room.embedded = []
    assert counts(room.index(pictures)) == (0, 1, 5, 0)
    assert room.embedded == ["a.png"]
    assert counts(room.index(pictures)) == (0, 0, 6, 0)


def test_a_clock_that_was_set_back_changes_nothing(room: Room, pictures: Path) -> None:
    room.index(pictures)
    for name in SHADES:
        stat = (pictures / name).stat()
        os.utime(pictures / name, ns=(stat.st_atime_ns, stat.st_mtime_ns - 20 * YEAR_NS))
    room.embedded = []
    assert counts(room.index(pictures)) == (0, 0, 6, 0)
    assert room.embedded == []


def test_a_picture_replaced_while_it_is_read_is_right_after_the_next_run(
    room: Room, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = CaptionedImage.read

    def replaced_after(record: CaptionedImage) -> bytes:
        data = read(record)
        if record.image_id == "a.png" and not room.embedded:
            draw(pictures / "a.png", 250, age_s=30)
        return data

    monkeypatch.setattr(CaptionedImage, "read", replaced_after)
    room.index(pictures)
    monkeypatch.undo()
    assert counts(room.index(pictures)) == (0, 1, 5, 0)
    (expected,) = room.encoder.encode_images([Image.new("RGB", (40, 40), (250, 0, 0))])
    np.testing.assert_allclose(room.items()["a.png"].vector, expected, atol=1e-5)


def test_what_vanished_is_told_and_pruned_from_its_source_alone(room: Room, pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other / "x.png", 90)
    room.index(pictures, other)
    (pictures / "a.png").unlink()
    (pictures / "b.png").unlink()
    told = room.index(pictures)
    assert counts(told) == (0, 0, 4, 0)
    assert told.lines()[1:] == [f"2 items no longer in {pictures}: --prune removes them"]
    assert set(room.items()) == {*SHADES, "x.png"}
    would = room.index(pictures, prune=True, dry_run=True)
    assert counts(would) == (0, 0, 4, 2)
    assert set(room.items()) == {*SHADES, "x.png"}
    pruned = room.index(pictures, prune=True)
    assert counts(pruned) == (0, 0, 4, 2)
    assert pruned.lines()[1:] == []
    assert set(room.items()) == {*SHADES, "x.png"} - {"a.png", "b.png"}


def test_a_picture_that_is_refused_now_has_not_vanished(room: Room, pictures: Path) -> None:
    room.index(pictures)
    before = room.items()["a.png"]
    (pictures / "a.png").write_bytes(b"half a pict")
    report = room.index(pictures, prune=True)
    assert counts(report) == (0, 0, 5, 0)
    assert report.refusals.total == 1
    np.testing.assert_array_equal(room.items()["a.png"].vector, before.vector)


def test_nothing_is_pruned_from_a_source_that_could_not_be_read_whole(
    room: Room, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(pictures / "below" / "x.png", 90)
    room.index(pictures)
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if str(path).rstrip("/").endswith("below"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    reports = [room.index(pictures, prune=prune) for prune in (False, True)]
    monkeypatch.undo()
    for report in reports:
        assert counts(report) == (0, 0, 6, 0)
        assert report.lines()[1:] == [
            f"1 item not found in {pictures}, which was not read whole: "
            "1 unreadable_folder (below/ (Permission denied)); it stays, even with --prune"
        ]
    assert "below/x.png" in room.items()


def test_a_row_that_cannot_be_read_costs_an_item_neither_its_caption_nor_itself(room: Room, pictures: Path) -> None:
    rows = ["image,caption", *(f"{name},text" for name in SHADES)]
    (pictures / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    room.index(pictures)
    draw(pictures / "new.png", 90)
    (pictures / "captions.csv").write_text("\n".join([*rows[:-1], f"{rows[-1]},,one, more"]), encoding="utf-8")
    report = room.index(pictures, prune=True)
    assert counts(report) == (0, 0, 5, 0)
    assert "2 not_in_table (f.png, new.png)" in report.refusals.summary()
    assert room.items()["f.png"].payload["caption"] == "text"
    (pictures / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    assert counts(room.index(pictures)) == (1, 0, 6, 0)


def test_a_name_that_is_not_utf8_blocks_pruning_only_for_a_folder(room: Room, pictures: Path) -> None:
    room.index(pictures)
    (pictures / "a.png").unlink()
    bad = os.fsencode(pictures) + b"/caf\xe9"
    Path(os.fsdecode(bad + b".png")).write_bytes(b"")
    assert counts(room.index(pictures, prune=True)) == (0, 0, 5, 1)
    (pictures / "b.png").unlink()
    Path(os.fsdecode(bad)).mkdir()
    report = room.index(pictures, prune=True)
    assert counts(report) == (0, 0, 4, 0)
    assert r"not read whole: 1 not_utf8_folder (caf\udce9); it stays" in report.lines()[1]


def test_an_item_of_another_source_is_not_replaced_without_a_word(room: Room, pictures: Path, tmp_path: Path) -> None:
    """shared/cases 07: S then T, with the same ids."""
    other = tmp_path / "other"
    draw(other / "a.png", 90)
    draw(other / "y.png", 91)

    async def add(_: StoreGallery, store: GalleryStore) -> None:
        await store.upsert("gallery", [Item("y.png", np.ones(32, np.float32))])

    room.index(pictures)
    room.do(add)
    for dry_run in (True, False):
        report = room.index(other, dry_run=dry_run)
        replaced = "would replace" if dry_run else "replaced"
        assert counts(report) == (2, 0, 0, 0)
        assert sorted(report.lines()[1:]) == [
            f"{replaced} 1 item of {pictures}: ids are unique in a collection",
            f"{replaced} 1 item of no named source: ids are unique in a collection",
        ]
    assert room.items()["a.png"].origin.source == str(other)
    assert len(room.items()) == 7
    assert room.index(pictures).replaced == {str(other): 1}


def test_ids_are_unique_over_the_sources_of_a_run(room: Room, pictures: Path, tmp_path: Path) -> None:
    """shared/cases 07, in one run: the first one is kept, and the other counted."""
    other = tmp_path / "other"
    draw(other / "a.png", 90)
    draw(other / "y.png", 91)
    report = room.index(pictures, other)
    assert counts(report) == (7, 0, 0, 0)
    assert dict(report.refusals.counts) == {"duplicate_id": 1}
    assert room.items()["a.png"].origin.source == str(pictures)


def test_a_dry_run_says_what_a_run_does_and_writes_nothing(room: Room, pictures: Path) -> None:
    would = room.index(pictures, dry_run=True)
    assert counts(would) == (6, 0, 0, 0)
    assert would.lines()[0].startswith("would index 6 pictures in ")
    assert room.do(lambda _, store: store.list()) == []
    room.index(pictures)
    draw(pictures / "a.png", 250)
    draw(pictures / "g.png", 130)
    (pictures / "c.txt").write_text("a dark red")
    before = state(room)
    would = room.index(pictures, dry_run=True)
    assert state(room) == before
    assert counts(would) == counts(room.index(pictures)) == (1, 2, 4, 0)


def test_pictures_in_tars_and_tables_are_known_by_their_content(room: Room, pictures: Path, tmp_path: Path) -> None:
    tar = tmp_path / "shard.tar"
    shutil.make_archive(str(tmp_path / "shard"), "tar", pictures)
    assert counts(room.index(tar)) == (6, 0, 0, 0)
    room.embedded = []
    assert counts(room.index(tar)) == (0, 0, 6, 0)
    assert room.embedded == []


def test_a_source_without_a_picture_is_no_success(room: Room, pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other / "x.png", 1)
    (other / "x.png").write_bytes(b"not a picture")
    report = room.index(pictures, other)
    assert counts(report) == (6, 0, 0, 0)
    with pytest.raises(InvalidInput, match=f"no image of {other} could be indexed"):
        report.check()


def test_a_collection_of_another_encoder_is_left_alone(room: Room, pictures: Path) -> None:
    async def foreign(_: StoreGallery, store: GalleryStore) -> None:
        await store.ensure("gallery", "another@0-32d", 32)
        await store.upsert("gallery", [Item("a", np.ones(32, np.float32))])

    room.do(foreign)
    for dry_run in (True, False):
        with pytest.raises(EncoderMismatch, match="another@0-32d"):
            room.index(pictures, dry_run=dry_run)
    assert set(room.items()) == {"a"}


def test_many_updates_and_removals_go_in_batches(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sync_module, sync_plan):
        monkeypatch.setattr(module, "UPDATED_AT_ONCE", 4)
    monkeypatch.setattr(sync_module, "_DELETED_AT_ONCE", 4)
    folder = tmp_path / "many"
    for number in range(22):
        draw(folder / f"{number}.png", number)
    assert counts(room.index(folder, dry_run=True)) == counts(room.index(folder)) == (22, 0, 0, 0)
    for number in range(11):
        (folder / f"{number}.txt").write_text(f"shade {number}")
    for number in range(11, 21):
        (folder / f"{number}.png").unlink()
    would = room.index(folder, prune=True, dry_run=True)
    assert counts(would) == counts(room.index(folder, prune=True)) == (0, 11, 1, 10)
    items = room.items()
    assert set(items) == {f"{number}.png" for number in (*range(11), 21)}
    assert all(items[f"{number}.png"].payload == {"caption": f"shade {number}"} for number in range(11))


@dataclass
class Told(Room):
    """Tells of each batch that it has embedded."""

    tell: Any = None

    def _embed(self, pictures: Iterator[Pending], caption_weight: float) -> Batches:
        for batch in super()._embed(pictures, caption_weight):
            self.tell.send("embedded")
            yield batch


def index_and_tell(source: Path, store: Path, encoder_folder: str, tell: Connection) -> None:
    Told(store, load_encoder(encoder_folder, device="cpu"), tell=tell).index(source, prune=True)


@pytest.mark.timeout(300)
def test_a_run_that_is_killed_at_any_moment_is_continued_by_the_next(
    room: Room, encoder_folder: str, tmp_path: Path
) -> None:
    folder, rng = tmp_path / "many", random.Random(7)
    for number in range(60):
        draw(folder / f"{number}.png", number)
    room.index(folder)
    for number in range(0, 60, 3):
        draw(folder / f"{number}.png", 200 - number)
        (folder / f"{number + 1}.txt").write_text(f"shade {number}")
        draw(folder / f"new-{number}.png", number)
        if number % 2:
            (folder / f"{number + 2}.png").unlink()
    whole = Room(tmp_path / "whole", room.encoder)
    shutil.copytree(room.path, whole.path)
    whole.index(folder, prune=True)
    for batches in (1, 2, 3):
        told, tell = Pipe(duplex=False)
        process = forkserver().Process(target=index_and_tell, args=(folder, room.path, encoder_folder, tell))
        process.start()
        tell.close()
        assert [told.recv() for _ in range(batches)] == ["embedded"] * batches
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        room.items()  # the store can be opened
    room.index(folder, prune=True)
    assert state(room) == state(whole)
    assert counts(room.index(folder)) == (0, 0, len(state(whole)), 0)


# -- a running service --------------------------------------------------------------------------------------------


@contextmanager
def service(tmp_path: Path, encoder_folder: str) -> Iterator[str]:
    settings = from_args({"encoder": encoder_folder, "store": str(tmp_path / "served"), "threads": 1})
    with served_here(settings) as target:
        yield target


def test_a_service_is_brought_up_to_date_as_a_store_is(
    room: Room, pictures: Path, tmp_path: Path, encoder_folder: str
) -> None:
    async def served(target: str, work: Any) -> Any:
        async with AsyncScotClient(target) as client:
            return await work(client)

    def index(target: str, *sources: Path, collection: str = "", **options: Any) -> Report:
        opened = [open_source(each, captions="optional") for each in sources]
        return asyncio.run(served(target, lambda client: sync(opened, ServiceGallery(client, collection), **options)))

    draw(pictures / "broken.png", 1)
    (pictures / "broken.png").write_bytes(b"not a picture")
    with service(tmp_path, encoder_folder) as target:
        assert counts(index(target, pictures, dry_run=True)) == (7, 0, 0, 0)
        first, here = index(target, pictures), room.index(pictures)
        assert counts(first) == counts(here) == (6, 0, 0, 0)
        assert dict(first.refusals.counts) == {"refused_by_service": 1}
        assert "refused_by_service (broken.png (image: the file is plain text, not a PNG" in first.refusals.summary()
        assert first.refusals.names >= {"broken.png"}
        (pictures / "broken.png").unlink()
        assert counts(index(target, pictures)) == (0, 0, 6, 0)
        draw(pictures / "a.png", 250)
        (pictures / "b.png").unlink()
        (pictures / "c.txt").write_text("a dark red")
        assert index(target, pictures).lines()[1:] == [f"1 item no longer in {pictures}: --prune removes it"]
        assert counts(index(target, pictures, prune=True)) == (0, 0, 5, 1)
        room.index(pictures, prune=True)
        expected = room.items()
        got = asyncio.run(served(target, lambda client: client.get(sorted(expected), with_vectors=True)))
        assert got.keys() == expected.keys()
        for name, item in expected.items():
            assert (got[name].payload, got[name].origin) == (item.payload, item.origin)
            np.testing.assert_allclose(got[name].vector, item.vector, atol=1e-5)
        other = tmp_path / "other"
        draw(other / "a.png", 9)
        assert index(target, other).replaced == {str(pictures): 1}
        assert counts(index(target, other, collection="another")) == (1, 0, 0, 0)


def test_where_a_picture_is() -> None:
    assert Origin("/pictures", "a/b.png").location == "/pictures/a/b.png"
    assert Origin("/x/captions.json", "/x/val/b.png").location == "/x/val/b.png"
    assert Origin("/pictures", "https://example.org/a.png").location == "https://example.org/a.png"
    assert Origin("/x/table.parquet", "").location == "/x/table.parquet"
