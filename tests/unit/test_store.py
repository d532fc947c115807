"""The gallery store: what goes in comes out, filters hold, and nothing is mixed up."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound, Unavailable
from scot.index.filters import Exists, Filter, Match, Range
from scot.index.ids import ITEM_ID_KEY, point_id
from scot.index.store import GalleryStore, Item

ITEMS = [
    Item("a", np.array([1, 0, 0], np.float32), {"kind": "shirt", "price": 10, "tags": ["new", "red"]}),
    Item("b", np.array([0.9, 0.1, 0], np.float32), {"kind": "shirt", "price": 20.5}),
    Item("c", np.array([0, 1, 0], np.float32), {"kind": "dress", "price": 30, "sold": True}),
    Item("d/ü 4", np.array([0, 0, 1], np.float32), {}),
]
NEAR_A = np.array([1, 0, 0], np.float32)


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


async def found(store: GalleryStore, **options: object) -> list[str]:
    return [hit.item_id for hit in await store.search("gallery", NEAR_A, **options)]  # type: ignore[arg-type]


def test_items_come_back_as_they_went_in(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        got = await store.get("gallery", ["d/ü 4", "missing", "a"], with_vectors=True)
        assert list(got) == ["d/ü 4", "a"]
        assert got["a"].payload == ITEMS[0].payload
        np.testing.assert_allclose(got["a"].vector, ITEMS[0].vector)
        hits = await store.search("gallery", NEAR_A, with_vectors=True)
        assert hits[0].score == pytest.approx(1.0)
        assert ITEM_ID_KEY not in hits[0].payload
        assert (await store.info("gallery")).items == len(ITEMS)
        assert await store.list() == ["gallery"]

    with_store(tmp_path, work)


def test_search_pages_excludes_and_cuts(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        assert (await found(store))[:2] == ["a", "b"]
        assert await found(store, limit=1, offset=1) == ["b"]
        assert (await found(store, exclude_ids=["a"]))[0] == "b"
        assert await found(store, score_threshold=0.5) == ["a", "b"]

    with_store(tmp_path, work)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(must=[Match("kind", "shirt")]), {"a", "b"}),
        (Filter(must=[Match("tags", "red")]), {"a"}),
        (Filter(must=[Match("price", 10)]), {"a"}),
        (Filter(must=[Match("sold", True)]), {"c"}),
        (Filter(must=[Range("price", gt=10, lte=30)]), {"b", "c"}),
        (Filter(should=[Match("kind", "dress"), Match("price", 10)]), {"a", "c"}),
        (Filter(must_not=[Match("kind", "shirt")]), {"c", "d/ü 4"}),
        (Filter(must=[Exists("price")]), {"a", "b", "c"}),
        (Filter(must=[Exists("price", exists=False)]), {"d/ü 4"}),
        (Filter(must=[Match("kind", "shirt")], must_not=[Range("price", lt=15)]), {"b"}),
    ],
)
def test_filters(tmp_path: Path, wanted: Filter, expected: set[str]) -> None:
    async def work(store: GalleryStore) -> None:
        assert set(await found(store, filter=wanted)) == expected

    with_store(tmp_path, work)


def test_upsert_replaces_and_delete_counts(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        await store.upsert("gallery", [Item("a", ITEMS[2].vector, {"kind": "hat"})])
        assert (await store.get("gallery", ["a"]))["a"].payload == {"kind": "hat"}
        assert (await store.info("gallery")).items == len(ITEMS)
        assert await store.delete("gallery", ["a", "b", "nobody"]) == 2
        assert (await store.info("gallery")).items == len(ITEMS) - 2

    with_store(tmp_path, work)


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async def nothing(store: GalleryStore) -> None: ...

    async def work(store: GalleryStore) -> None:
        assert (await store.info("gallery")).encoder_id == "enc@1-3d"
        assert await found(store, limit=1) == ["a"]

    with_store(tmp_path, nothing)
    with_store(tmp_path, work)


@pytest.mark.parametrize(("encoder", "dim"), [("other@2-3d", 3), ("enc@1-3d", 4)])
def test_another_encoder_is_refused_by_name(tmp_path: Path, encoder: str, dim: int) -> None:
    async def work(store: GalleryStore) -> None:
        for refuse in (store.ensure, store.check):
            with pytest.raises(EncoderMismatch, match=rf"enc@1-3d.*dimension 3.*{encoder}.*dimension {dim}"):
                await refuse("gallery", encoder, dim)

    with_store(tmp_path, work)


def test_unknown_collection_and_reserved_key(tmp_path: Path) -> None:
    async def work(store: GalleryStore) -> None:
        with pytest.raises(NotFound, match="'nowhere'"):
            await store.search("nowhere", NEAR_A)
        with pytest.raises(NotFound, match="'nowhere'"):
            await store.info("nowhere")
        with pytest.raises(InvalidInput, match="reserved"):
            await store.upsert("gallery", [Item("x", NEAR_A, {ITEM_ID_KEY: "y"})])

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


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_unreachable_server(prefer_grpc: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        async def work() -> None:
            store = GalleryStore.open(url=url, prefer_grpc=prefer_grpc, timeout_s=2)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await store.info("gallery")
            await store.close()

        asyncio.run(work())


def test_point_ids_never_change() -> None:
    assert point_id("a") == "8313cc59-c1aa-513c-a748-c426d4d01da2"
