"""What is the embedded store's own: files, and one process at a time. test_store_contract.py has what all share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from scot.errors import Conflict
from scot.index.payload import point_id
from scot.index.store import GalleryStore, Item

ITEMS = [Item("a", np.array([1, 0, 0], np.float32), {"kind": "shirt"}), Item("b", np.array([0, 1, 0], np.float32))]


def with_store(path: Path, work: Callable[[GalleryStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = GalleryStore.open(path=path)
        try:
            await store.ensure("gallery", "enc@1-3d", 3)
            await store.upsert("gallery", ITEMS)
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async def nothing(store: GalleryStore) -> None: ...

    async def work(store: GalleryStore) -> None:
        assert (await store.info("gallery")).encoder_id == "enc@1-3d"
        assert [hit.item_id for hit in await store.search("gallery", np.array([1, 0, 0], np.float32))] == ["a", "b"]
        assert await store.list() == ["gallery-1"]

    with_store(tmp_path, nothing)
    with_store(tmp_path, work)


def test_second_process_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    opening = f"from scot.index.store import GalleryStore; GalleryStore.open(path={str(tmp_path)!r})"

    async def work(store: GalleryStore) -> None:
        second = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, check=False)
        assert "Conflict: the store at" in second.stderr
        with pytest.raises(Conflict, match="open in another process"):
            GalleryStore.open(path=tmp_path)

    with_store(tmp_path, work)
    asyncio.run(GalleryStore.open(path=tmp_path).close())


def test_point_ids_never_change() -> None:
    assert point_id("a") == "8313cc59-c1aa-513c-a748-c426d4d01da2"
