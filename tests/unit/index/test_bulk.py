"""``ray_jobs/index.py --new-collection``: filled by workers, continued after a kill, counted, swapped in."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ray_jobs.index import run
from scot.data.captioned import open_source
from scot.data.captioned_writer import write_captioned
from scot.index import aliases, bulk
from scot.index.bulk import LoaderSettings, PartLoader, load_parts
from scot.index.config import ServerConfig
from scot.index.store import GalleryStore
from scot.pool import ThreadPool
from tests.support.qdrant_server import QdrantServer, qdrant_server
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "source"
    shades = [Image.new("RGB", (40, 40), (number * 20, 0, 0)) for number in range(12)]
    write_captioned(folder, [(f"p{n}", image, [f"shade {n}"], {"n": n}) for n, image in enumerate(shades)])
    return folder


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with qdrant_server() as running:
        yield running


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART", 5)


def index(server: QdrantServer, encoder: str, source: Path, *more: str) -> int:
    where = ["--qdrant-url", server.url, "--qdrant-grpc-port", str(server.grpc_port)]
    words = ["--source", str(source), "--encoder", encoder, "--device", "cpu", "--new-collection", *where, *more]
    return run(words)


def ask(server: QdrantServer, work: Callable[[GalleryStore], Awaitable[None]]) -> None:
    async def opened() -> None:
        store = GalleryStore.open(server=ServerConfig(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port))
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(opened())


def sent(server: QdrantServer, method: str) -> int:
    return server.methods().count(method)


@pytest.mark.usefixtures("small_parts")
def test_a_new_collection_is_filled_without_a_graph_counted_and_swapped_in(
    server: QdrantServer, encoder: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(server, encoder, pictures, "--shards", "3", "--report", str(tmp_path / "report")) == 0
    assert "gallery now points at gallery-1\n" in capsys.readouterr().out
    made = server.last("Create")
    assert (made.hnsw_config.m, made.shard_number) == (0, 3)
    assert server.last("Update").hnsw_config.m == 16
    methods = server.methods()
    last_upsert = len(methods) - 1 - methods[::-1].index("Upsert")
    assert last_upsert < methods.index("Count") < methods.index("Update") < methods.index("UpdateAliases")
    assert sent(server, "Upsert") == 3  # parts of 5
    report = json.loads((tmp_path / "report" / "_report.json").read_text())
    assert (report["job"], report["counts"]) == ("indexing", {"images": 12, "unchanged": 0})

    async def work(store: GalleryStore) -> None:
        assert set(await store.get("gallery", [f"p{n}" for n in range(12)])) == {f"p{n}" for n in range(12)}
        assert (await store.info("gallery")).ready

    ask(server, work)


@pytest.mark.usefixtures("small_parts")
def test_a_run_that_was_interrupted_embeds_only_what_is_missing(
    server: QdrantServer,
    encoder: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server goes away for good in the midst of the load: calls to the engine come one at a time.
    upsert, calls = server.engine.upsert, itertools.count()

    async def third(*args: Any, **options: Any) -> Any:
        if next(calls) >= 2:
            raise ValueError("no")
        return await upsert(*args, **options)

    monkeypatch.setattr(server.engine, "upsert", third)
    assert index(server, encoder, pictures) == 1
    assert "the vector store refused the request" in capsys.readouterr().err
    monkeypatch.setattr(server.engine, "upsert", upsert)
    here = sum(len(call.request.points) for call in server.received if call.method == "Upsert")
    server.received.clear()
    assert index(server, encoder, pictures) == 0
    said = capsys.readouterr().out
    assert "continuing with gallery-1" in said
    again = sum(len(call.request.points) for call in server.received if call.method == "Upsert")
    assert again < 12 <= here + again
    assert sent(server, "Create") == 0
    assert "gallery now points at gallery-1\n" in said


def test_a_collection_with_another_count_is_not_swapped_in(
    server: QdrantServer, encoder: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_captioned(tmp_path / "other", [("another", Image.new("RGB", (9, 9), "blue"), ["blue"], {})])
    assert index(server, encoder, pictures) == 0
    with pytest.MonkeyPatch.context() as patch:  # the run that began with another source was killed before the swap
        patch.setattr(aliases, "swap", _killed)
        with pytest.raises(KeyboardInterrupt):
            index_unguarded(server, encoder, tmp_path / "other")
    assert index(server, encoder, pictures) == 1
    assert "collection 'gallery-2' contains 13 items, more than the 12 of these images" in capsys.readouterr().err

    async def work(store: GalleryStore) -> None:
        assert (await store.engine.aliases())["gallery"] == "gallery-1"

    ask(server, work)


async def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def index_unguarded(server: QdrantServer, encoder: str, source: Path) -> None:
    if index(server, encoder, source) == 130:
        raise KeyboardInterrupt


def test_a_collection_without_a_graph_cannot_be_swapped_in(server: QdrantServer, encoder: str, pictures: Path) -> None:
    settings = LoaderSettings(ServerConfig(server.url, server.grpc_port), "gallery-1", encoder, "cpu")
    loader = PartLoader(settings)

    async def begin(store: GalleryStore) -> None:
        from scot.encoders import load_encoder
        from scot.index import rebuild

        await rebuild.begin(store, "gallery", load_encoder(encoder, device="cpu"), images=25_000_000)

    ask(server, begin)
    assert server.last("Create").shard_number == 3
    pool = ThreadPool(loader.load, 2, lambda: None)
    report = load_parts([open_source(str(pictures), captions="optional")], pool)
    pool.close()
    assert (report.new, report.refusals.total) == (12, 0)

    async def swap(store: GalleryStore) -> None:
        with pytest.raises(Exception, match="'gallery-1' is still being indexed"):
            await aliases.swap(store.engine, "gallery", "gallery-1")

    ask(server, swap)


def test_images_that_are_refused_are_counted_and_not_expected(
    server: QdrantServer, encoder: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "some"
    source.mkdir()
    Image.new("RGB", (9, 9), "blue").save(source / "good.png")
    (source / "bad.png").write_bytes(b"\x89PNG no picture")
    assert index(server, encoder, source) == 0
    said = capsys.readouterr().out
    assert "1 new, 0 updated, 0 unchanged" in said
    assert "1 refused" in said
    assert index(server, encoder, source, "--force") == 0
    assert "gallery now points at gallery-2; before: gallery-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--store", "x", "--new-collection"], "--new-collection needs a Qdrant server"),
        (["--qdrant-url", "http://x:1", "--new-collection", "--prune"], "--new-collection has nothing to prune"),
    ],
)
def test_contradicting_flags_are_a_malformed_command(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(run(["--source", ".", *words]))
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
