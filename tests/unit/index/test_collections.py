"""``scot collections`` on an embedded store and on a server: build beside, swap, go back, drop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from scot.cli import main
from scot.data.captioned_writer import write_captioned
from scot.index import collections
from scot.index.aliases import next_collection
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.store import GalleryStore, Item
from tests.support.qdrant_server import QdrantServer, qdrant_server, refuse
from tests.support.random_encoder import save_random_encoder

VECTOR = np.ones(32, np.float32) / np.sqrt(np.float32(32))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    records = [
        (f"p{number}", Image.new("RGB", (40, 40), (number * 40, 0, 0)), [f"shade {number}"], {"n": number})
        for number in range(5)
    ]
    write_captioned(folder / "few", records[:2])
    write_captioned(folder / "many", records)
    return folder


@pytest.fixture(params=["embedded", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Flags that say where the collections are."""
    if request.param == "embedded":
        yield ["--store", str(tmp_path / "store")]
        return
    with qdrant_server() as server:
        yield flags_of(server)


def flags_of(server: QdrantServer) -> list[str]:
    return ["--qdrant-url", server.url, "--qdrant-grpc-port", str(server.grpc_port)]


def opened(where: list[str]) -> GalleryStore:
    if where[0] == "--store":
        return GalleryStore.open(path=where[1])
    return GalleryStore.open(server=ServerConfig(qdrant_url=where[1], qdrant_grpc_port=int(where[3])))


def items(where: list[str], collection: str) -> int:
    """How many items a search of all of them finds."""

    async def work() -> int:
        store = opened(where)
        try:
            return len(await store.search(collection, VECTOR, limit=100))
        finally:
            await store.close()

    return asyncio.run(work())


def scot(*arguments: str) -> int:
    return main(["collections", *arguments])


def test_a_new_collection_takes_over_and_gives_back(
    where: list[str], encoder: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = str(pictures / "few"), str(pictures / "many")
    build = ["--encoder", encoder, "--device", "cpu", "--batch-size", "2", *where]
    assert scot("create", "gallery", "--encoder", encoder, *where) == 0
    assert scot("reindex", few, "--swap", *build) == 0
    assert "gallery now points at gallery-2; before: gallery-1" in capsys.readouterr().out
    assert items(where, "gallery") == 2

    assert scot("reindex", many, *build) == 0
    assert "scot collections swap gallery gallery-3" in capsys.readouterr().out
    assert (items(where, "gallery"), items(where, "gallery-3")) == (2, 5)
    assert scot("swap", "gallery", "gallery-3", *where) == 0
    assert scot("swap", "gallery", "gallery-3", *where) == 0
    assert "gallery already points at gallery-3" in capsys.readouterr().out
    assert items(where, "gallery") == 5

    assert scot("rollback", "gallery", *where) == 0
    assert items(where, "gallery") == 2
    assert scot("rollback", "gallery", *where) == 0
    assert items(where, "gallery") == 5

    assert scot("list", *where) == 0
    lines = capsys.readouterr().out.splitlines()
    known = [["gallery-1", "0"], ["gallery-2", "gallery.previous"], ["gallery-3", "gallery"]]
    assert [line.split()[:2] for line in lines[-3:]] == known

    for collection, sentence in (
        ("gallery-3", "the alias 'gallery' points to 'gallery-3'"),
        ("gallery-2", "rollback of 'gallery' restores"),
        ("gallery", "'gallery' is an alias of 'gallery-3'"),
        ("gallery-9", "no collection 'gallery-9'"),
    ):
        assert scot("drop", collection, *where) == 1
        assert sentence in capsys.readouterr().err
    assert scot("drop", "gallery-1", *where) == 0
    assert scot("drop", "gallery-2", "--force", *where) == 0
    assert scot("rollback", "gallery", *where) == 1
    assert "the alias 'gallery' has no previous collection" in capsys.readouterr().err
    assert items(where, "gallery") == 5


def test_an_interrupted_reindex_goes_on(
    where: list[str], encoder: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["--encoder", encoder, "--device", "cpu", *where]
    assert scot("reindex", str(pictures / "few"), *build) == 0
    assert scot("reindex", str(pictures / "many"), "--swap", *build) == 0
    told = capsys.readouterr().out
    assert "continuing with gallery-1, which contains 2 items" in told
    assert "gallery now points at gallery-1\n" in told
    # What another source left behind is not served unnoticed.
    assert scot("reindex", str(pictures / "many"), *build) == 0
    assert scot("reindex", str(pictures / "few"), "--swap", *build) == 1
    assert "'gallery-2' contains 5 items, more than the 2 of these images" in capsys.readouterr().err


def test_swaps_that_would_break_the_service_are_refused(
    where: list[str], encoder: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def prepare() -> None:
        store = opened(where)
        await store.ensure("gallery", "enc", 32)
        await store.upsert("gallery", [Item("a", VECTOR)])
        await collections.create(store.engine, "plain", "enc", 32, CollectionConfig())
        await collections.create(store.engine, "other", "another", 32, CollectionConfig())
        await store.upsert("other", [Item("a", VECTOR)])
        await store.close()

    asyncio.run(prepare())
    for arguments, sentence in (
        (["gallery", "nowhere"], "no collection 'nowhere'"),
        (["gallery", "plain"], "'plain' is empty"),
        (["gallery", "other"], "encoder 'another'"),
        (["gallery", "gallery"], "is an alias"),
        (["plain", "other"], "'plain' is a collection"),
        (["gallery.previous", "other"], "must not end with '.previous'"),
    ):
        assert scot("swap", *arguments, *where) == 1
        assert sentence in capsys.readouterr().err
    assert items(where, "gallery") == 1
    assert scot("swap", "gallery", "plain", "--force", *where) == 0
    assert items(where, "gallery") == 0
    assert scot("rollback", "nobody", *where) == 1
    assert scot("create", "gallery", *where) == 1
    assert scot("create", "plain", *where) == 1
    assert "'plain' already exists" in capsys.readouterr().err
    assert scot("reindex", str(pictures / "few"), "--alias", "plain", "--encoder", encoder, *where) == 1
    assert "'plain' is a collection and not an alias" in capsys.readouterr().err
    assert scot("reindex", str(pictures / "few"), "--collection", "plain", "--encoder", encoder, *where) == 1
    assert "'plain' is in use" in capsys.readouterr().err


def test_a_reindex_keeps_the_layout_unless_it_is_told_another(encoder: str, pictures: Path) -> None:
    with qdrant_server() as server:
        where = flags_of(server)
        build = [str(pictures / "few"), "--encoder", encoder, "--device", "cpu", "--swap", *where]
        layout = ["--payload-index", "n:integer", "caption:keyword", "--quantization", "int8", "--hnsw-m", "24"]
        assert scot("create", "gallery", "--encoder", encoder, *where, *layout) == 0
        assert scot("reindex", *build) == 0
        made = server.last("Create")
        assert (made.collection_name, made.hnsw_config.m) == ("gallery-2", 0)  # the graph is built after the load
        assert server.last("Update").hnsw_config.m == 24
        assert made.quantization_config.WhichOneof("quantization") == "scalar"
        fields = [call.request.field_name for call in server.received if call.method == "CreateFieldIndex"]
        assert fields == ["n", "caption", "_scot_origin.source"] * 2
        assert scot("reindex", *build, "--quantization", "binary") == 0
        assert server.last("Create").quantization_config.WhichOneof("quantization") == "binary"


def test_a_collection_that_scot_did_not_make_is_listed(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        store = opened(where)
        await store.ensure("gallery", "enc", 3)
        await collections.create(store.engine, "gallery-2", "enc", 3, CollectionConfig())
        await store.engine.create("theirs", 4, CollectionConfig(), {})
        found = await collections.describe_all(store.engine)
        assert [(each.name, each.items, each.encoder_id, each.dim) for each in found] == [
            ("gallery", 0, "enc", 3),  # an alias stands for its collection, and what is not SCOT's is left out
            ("gallery-2", 0, "enc", 3),
        ]
        await store.engine.drop("gallery-2")
        await store.close()

    asyncio.run(work())
    assert scot("list", *where) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "does not name the encoder" in lines[-1]
    assert lines[-2].split()[:4] == ["gallery-1", "gallery", "0", "enc"]


def test_what_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert scot("reindex", nowhere, "--store", nowhere) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not Path(nowhere).exists()
    assert scot("list", "--store", nowhere) == 1
    assert "there is no store at" in capsys.readouterr().err
    assert not Path(nowhere).exists()
    with qdrant_server() as server:
        assert scot("list", *flags_of(server)) == 1
        assert "no collection yet" in capsys.readouterr().err

        server.faults.append(refuse(grpc.StatusCode.UNAUTHENTICATED))
        assert scot("drop", "gallery-1", *flags_of(server)) == 1
        assert "refused SCOT's API key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "gallery-1"),
        ({"gallery": "gallery-1"}, "gallery-2"),
        ({"gallery": "gallery-9", "gallery.previous": "gallery-8"}, "gallery-10"),
        ({"gallery": "gallery-1", "gallery.previous": "gallery-2"}, "gallery-3"),
        ({"gallery": "something"}, "gallery-1"),
        ({"gallery": "gallery-x", "other": "gallery-1"}, "gallery-2"),
    ],
)
def test_the_name_of_the_next_collection(known: dict[str, str], expected: str) -> None:
    assert next_collection("gallery", known) == expected


@pytest.mark.parametrize("kept", [None, "x", {"hnsw_m": 1}, {"payload_index": 3}, {"of_a_later_version": 1}])
def test_a_layout_that_cannot_be_read_is_the_default(kept: object) -> None:
    assert CollectionConfig.from_json(kept) == CollectionConfig()
    known = CollectionConfig(("a:bool",), "turbo", strict=True)
    assert CollectionConfig.from_json(known.to_json()) == known
