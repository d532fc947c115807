"""The embedded engine: its graph is built beside the searches, and what a kill leaves behind is one whole store."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scot.errors import InvalidInput, NotFound, Overloaded, Unavailable
from scot.index import embedded, shard
from scot.index.config import CollectionConfig
from scot.index.embedded import EmbeddedEngine
from scot.index.filters import Filter, Match, Range
from scot.index.store import GalleryStore, Item

DIM = 16
VECTORS = np.random.default_rng(0).standard_normal((3_000, DIM)).astype(np.float32)


def items(start: int, stop: int) -> list[Item]:
    return [Item(str(row), VECTORS[row], {"n": row, "even": row % 2 == 0}) for row in range(start, stop)]


def on_store(path: Path, work: Callable[[GalleryStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = GalleryStore.open(path=path)
        try:
            await store.ensure("gallery", "enc", DIM, CollectionConfig(("n:integer", "even:bool"), "int8"))
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


@pytest.fixture
def small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build graphs of a thousand vectors, without a pause."""
    monkeypatch.setattr(shard, "INDEXED_FROM", 1_000)
    monkeypatch.setattr(embedded, "INDEXED_FROM", 1_000)
    monkeypatch.setattr(embedded, "_QUIET_S", 0.0)


async def nearest(store: GalleryStore, row: int, **options: object) -> list[str]:
    return [hit.item_id for hit in await store.search("gallery", VECTORS[row], limit=3, **options)]  # type: ignore[arg-type]


@pytest.mark.usefixtures("small_graphs")
def test_what_is_written_while_the_graph_is_built_is_in_it(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        await store.upsert("gallery", items(0, 2_000))
        engine = store.engine
        assert isinstance(engine, EmbeddedEngine)
        collection = engine._collections["gallery-1"]
        while collection.process is None:
            await asyncio.sleep(0.01)
        assert (await nearest(store, 7))[0] == "7"
        await store.upsert("gallery", [Item("new", VECTORS[2_500], {"n": -1}), *items(2_000, 2_010)])
        assert await store.delete("gallery", ["7", "8"]) == 2
        while collection.optimizing is not None:
            await asyncio.sleep(0.01)
        assert collection.shard.generation == 1
        assert collection.shard.unindexed < 1_000
        assert (await nearest(store, 2_500))[0] == "new"
        assert "7" not in await nearest(store, 7)
        assert (await store.info("gallery")).items == 2_009
        assert await nearest(store, 9, filter=Filter(must=[Match("even", False), Range("n", lte=9)])) != []

    on_store(tmp_path, work)
    assert [path.name for path in (tmp_path / "collections" / "gallery-1").glob("shard-*")] == ["shard-1"]

    async def again(store: GalleryStore) -> None:
        assert (await store.info("gallery")).items == 2_009
        assert (await nearest(store, 2_500))[0] == "new"

    on_store(tmp_path, again)


@pytest.mark.usefixtures("small_graphs")
def test_closing_does_not_wait_for_the_graph(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        await store.upsert("gallery", items(0, 1_500))
        while store.engine._collections["gallery-1"].process is None:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

    on_store(tmp_path, work)

    async def waited(store: GalleryStore) -> None:
        assert (await store.info("gallery")).items == 1_500
        await store.optimize("gallery")
        assert store.engine._collections["gallery-1"].shard.unindexed < 1_000  # type: ignore[attr-defined]

    on_store(tmp_path, waited)


_WRITER = """
import asyncio, sys
import numpy as np
from scot.index.store import GalleryStore, Item

async def run():
    store = GalleryStore.open(path=sys.argv[1])
    await store.ensure("gallery", "enc", 16)
    for start in range(0, 1_000_000, 50):
        rows = range(start, start + 50)
        await store.upsert("gallery", [Item(str(n), np.full(16, n + 1.0, np.float32), {"n": n}) for n in rows])
        print(start + 50, flush=True)

asyncio.run(run())
"""


@pytest.mark.parametrize("acknowledged", [1, 3, 10])
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acknowledged)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()

    async def run() -> None:
        store = GalleryStore.open(path=tmp_path)
        written = int(lines[-1])
        assert (await store.info("gallery")).items >= written
        assert len(await store.get("gallery", [str(n) for n in range(written)])) == written
        await store.close()

    asyncio.run(run())


def test_a_generation_that_was_not_finished_is_removed(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        await store.upsert("gallery", items(0, 10))

    on_store(tmp_path, work)
    unfinished = tmp_path / "collections" / "gallery-1" / "shard-1"
    unfinished.mkdir()
    (unfinished / "half").write_bytes(b"x")
    (tmp_path / "collections" / ".gallery-2.0a1b2c3d.tmp").mkdir()

    async def again(store: GalleryStore) -> None:
        assert await store.list() == ["gallery-1"]
        assert (await store.info("gallery")).items == 10

    on_store(tmp_path, again)
    assert not unfinished.exists()


def test_a_store_that_waits_opens_when_the_other_has_closed(tmp_path: Path) -> None:
    async def run() -> None:
        first = GalleryStore.open(path=tmp_path)
        await first.ensure("gallery", "enc", DIM)
        second = GalleryStore.open(path=tmp_path, wait=True)
        with pytest.raises(Unavailable, match="open in another process"):
            await second.list()
        await first.close()
        assert await second.list() == ["gallery-1"]
        await second.close()

    asyncio.run(run())


def test_stores_of_other_versions_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "old" / "collection").mkdir(parents=True)
    (tmp_path / "old" / "meta.json").write_text("{}")
    with pytest.raises(InvalidInput, match="older version of SCOT: index the pictures again"):
        GalleryStore.open(path=tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "store.json").write_text(json.dumps({"format": 99, "aliases": {}}))
    with pytest.raises(InvalidInput, match="another version of SCOT"):
        GalleryStore.open(path=tmp_path / "new")


def test_names_of_collections(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        for name in ("../up", "a/b", "", "x" * 201, "nul\0"):
            with pytest.raises(InvalidInput, match="not a valid name"):
                await store.engine.create(name, DIM, CollectionConfig(), {})
        await store.engine.create("füße & co.", DIM, CollectionConfig(), {})
        assert "füße & co." in await store.list()
        with pytest.raises(NotFound, match=r"there is no collection '\.\./up'"):
            await store.info("../up")

    on_store(tmp_path, work)
    assert not (tmp_path.parent / "up").exists()


@pytest.mark.usefixtures("small_graphs")
def test_without_room_for_a_copy_no_graph_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(store: GalleryStore) -> None:
        await store.upsert("gallery", items(0, 900))
        await store.upsert("gallery", items(900, 2_000))
        size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=256 * 2**20 + size))
        with pytest.raises(Overloaded, match=r"building the graph needs \d+\.\d GB of free disk, and \d+\.\d are free"):
            await store.optimize("gallery")
        assert (await nearest(store, 1_500))[0] == "1500"
        monkeypatch.undo()
        await store.optimize("gallery")
        assert (await nearest(store, 1_500))[0] == "1500"

    on_store(tmp_path, work)


def test_many_callers_may_need_a_new_collection_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        store = GalleryStore.open(path=tmp_path)

        async def fill(start: int) -> None:
            await store.ensure("fresh", "enc", DIM)
            await store.upsert("fresh", items(start, start + 10))

        await asyncio.gather(*(fill(start) for start in range(0, 80, 10)))
        assert (await store.info("fresh")).items == 80
        await store.close()
        again = GalleryStore.open(path=tmp_path)
        assert {info.items for info in await asyncio.gather(*(again.info("fresh") for _ in range(8)))} == {80}
        await again.close()

    asyncio.run(run())
