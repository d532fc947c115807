"""Server mode over real gRPC: what is sent, keys and TLS, deadlines, retries, and a server that is away."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from scot.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    ScotError,
    Unavailable,
)
from scot.index import collections
from scot.index.circuit_breaker import CircuitBreaker
from scot.index.config import CollectionConfig, SearchParams, ServerConfig
from scot.index.store import GalleryStore, Item
from scot.ports import free_port
from tests.support.qdrant_server import NO_SPACE, QdrantServer, hang, qdrant_server, refuse
from tests.support.tls import self_signed

VECTOR = np.array([1, 0, 0], np.float32)
AWAY = refuse(grpc.StatusCode.UNAVAILABLE)


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with qdrant_server() as running:
        yield running


def opened(server: QdrantServer, *, search_params: SearchParams | None = None, **settings: object) -> GalleryStore:
    config = ServerConfig(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port, **settings)  # type: ignore[arg-type]
    return GalleryStore.open(server=config, params=search_params)


@pytest.mark.parametrize(
    ("quantization", "sent"),
    [("none", None), ("int8", "scalar"), ("turbo", "turboquant"), ("product", "product"), ("binary", "binary")],
)
def test_a_collection_is_laid_out_before_its_first_item(
    server: QdrantServer, quantization: str, sent: str | None
) -> None:
    async def work() -> None:
        store = opened(server)
        layout = CollectionConfig(("kind:keyword", "a:b:float"), quantization, 24, 200, "cold", 3, 2, strict=True)  # type: ignore[arg-type]
        await store.ensure("gallery", "enc", 3, layout)
        await store.ensure("gallery", "enc", 3, layout)
        await store.upsert("gallery", [Item("a", VECTOR)])
        await store.close()

    asyncio.run(work())
    made = server.last("Create")
    assert (made.hnsw_config.m, made.hnsw_config.ef_construct) == (24, 200)
    assert (made.shard_number, made.replication_factor) == (3, 2)
    assert made.vectors_config.params.memory == 1  # cold
    assert made.quantization_config.WhichOneof("quantization") == sent
    assert made.strict_mode_config.enabled
    assert not made.strict_mode_config.unindexed_filtering_retrieve
    methods = server.methods()
    indexes = [
        (call.request.field_name, call.request.field_type)
        for call in server.received
        if call.method == "CreateFieldIndex"
    ]
    assert indexes == [("kind", 0), ("a:b", 2), ("_scot_origin.source", 0)]
    assert methods.index("CreateFieldIndex") < methods.index("UpdateAliases") < methods.index("Upsert")
    assert methods.count("Create") == 1


@pytest.mark.parametrize(("chosen", "ef"), [(None, 1_024), (SearchParams(4.5, 300), 300), (SearchParams(hnsw_ef=0), 0)])
def test_every_search_compares_again_by_full_vectors(
    server: QdrantServer, chosen: SearchParams | None, ef: int
) -> None:
    async def work() -> None:
        store = opened(server, search_params=chosen)
        await store.ensure("gallery", "enc", 3)
        await store.search("gallery", VECTOR)
        await store.close()

    asyncio.run(work())
    params = server.last("Query").params
    assert params.quantization.rescore
    assert params.quantization.oversampling == (chosen.oversampling if chosen else 3.0)
    assert params.hnsw_ef == ef


def test_key_and_certificate(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pair, (other, _) = self_signed(tmp_path), self_signed(tmp_path / "other")
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"{name} key\n")

    async def ask(server: QdrantServer, ca: Path | None, key: str | None) -> None:
        file = tmp_path / key if key else None
        store = opened(server, qdrant_ca=ca, qdrant_api_key_file=file, qdrant_timeout_s=5.0)
        try:
            await store.ensure("gallery", "enc", 3)
            await store.search("gallery", VECTOR)
        finally:
            await store.close()

    with qdrant_server(api_key="right key", tls=pair) as server:
        asyncio.run(ask(server, pair[0], "right"))
        assert {call.metadata["api-key"] for call in server.received} == {"right key"}
        for key in ("wrong", None):
            with pytest.raises(Unavailable, match="refused SCOT's API key"):
                asyncio.run(ask(server, pair[0], key))
        before = len(server.received)
        for ca in (other, None):
            with pytest.raises(Unavailable, match="cannot be reached"):
                asyncio.run(ask(server, ca, "right"))
        assert len(server.received) == before


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_QDRANT_API_KEY", "a key")
    with qdrant_server(api_key="a key") as server:

        async def work() -> None:
            store = opened(server)
            assert await store.list() == []
            await store.close()

        asyncio.run(work())


def test_what_may_run_twice_is_tried_again(server: QdrantServer) -> None:
    async def work() -> None:
        store = opened(server)
        await store.ensure("gallery", "enc", 3)
        for method, call in (
            ("Upsert", store.upsert("gallery", [Item("a", VECTOR)])),
            ("Query", store.search("gallery", VECTOR)),
            ("List", store.list()),
        ):
            before = server.methods().count(method)
            server.faults.extend([AWAY, AWAY])
            assert await call in (None, ["gallery-1"]) or method == "Query"
            assert server.methods().count(method) == before + 3
        assert list(await store.get("gallery", ["a"])) == ["a"]
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.INTERNAL, f"Service internal error: {NO_SPACE}"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Insufficient storage: 10.0.0.7 has reached its quota"),
    ],
)
def test_a_full_store_says_so(server: QdrantServer, code: grpc.StatusCode, details: str) -> None:
    async def work() -> None:
        store = opened(server)
        await store.ensure("gallery", "enc", 3)
        for _ in range(4):  # answers, so the circuit stays closed
            server.faults.append(refuse(code, details))
            with pytest.raises(Overloaded, match="no room left"):
                await store.upsert("gallery", [Item("a", np.ones(3, np.float32), {})])
        assert await store.get("gallery", ["a"]) == {}
        await store.close()

    asyncio.run(work())


def test_what_may_not_run_twice_is_not(server: QdrantServer) -> None:
    async def work() -> None:
        store = opened(server)
        await store.ensure("gallery", "enc", 3)
        lost = [lambda context: None] * 2 + [AWAY]  # the names and the aliases are read first
        server.faults.extend(lost)
        with pytest.raises(Unavailable):
            await collections.point(store.engine, {"other": "gallery-1"})
        assert server.methods().count("UpdateAliases") == 2
        assert not server.faults
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound, "no collection 'gallery'"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded, "overloaded"),
        (grpc.StatusCode.UNAUTHENTICATED, Unavailable, "API key"),
        (grpc.StatusCode.PERMISSION_DENIED, Unavailable, "API key"),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "refused the request"),
        (grpc.StatusCode.ALREADY_EXISTS, Conflict, "'gallery' already"),
        (grpc.StatusCode.INTERNAL, Unavailable, "failed"),
    ],
)
def test_refusals_are_told_in_our_words(
    server: QdrantServer, code: grpc.StatusCode, error: type[ScotError], sentence: str
) -> None:
    async def work() -> None:
        store = opened(server)
        for _ in range(4):  # answers, so the circuit stays closed
            server.faults.append(refuse(code, "shard 3 at 10.0.0.7:6335, /qdrant/storage"))
            with pytest.raises(error, match=sentence) as raised:
                await store.info("gallery")
            assert "10.0.0.7" not in str(raised.value)
        server.faults.append(refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "10.0.0.7", [("retry-after", "3")]))
        with pytest.raises(Overloaded, match="try again later"):
            await store.info("gallery")
        assert server.methods() == ["Get"] * 5
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        (
            'Bad request: Index required but not found for "colour" of one of the following types: [keyword, uuid]. '
            "Help: Create an index for this key or use a different filter.",
            r"filter: the field 'colour' has no index \(keyword, uuid\) in collection 'gallery'",
        ),
        ('Index required but not found for "a.b"', "filter: the field 'a.b' has no index in collection 'gallery'"),
    ],
)
def test_strict_mode_names_the_field(server: QdrantServer, details: str, sentence: str) -> None:
    async def work() -> None:
        store = opened(server)
        server.faults.append(refuse(grpc.StatusCode.INVALID_ARGUMENT, details))
        with pytest.raises(InvalidInput, match=sentence):
            await store.search("gallery", VECTOR)
        await store.close()

    asyncio.run(work())


def test_a_server_that_hangs_is_left_alone_until_it_answers(server: QdrantServer) -> None:
    released = threading.Event()

    async def work() -> None:
        store = opened(server, qdrant_timeout_s=0.3)
        server.always = hang(released)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match="in time"):
                await store.list()
        for _ in range(20):
            with pytest.raises(Unavailable, match="cannot be reached"):
                await store.list()
        assert server.methods().count("List") == 3
        released.set()
        assert await answered(store) == []
        await store.close()

    try:
        asyncio.run(work())
    finally:
        released.set()


def test_a_listener_that_never_speaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def work() -> None:
            config = ServerConfig(
                qdrant_url="http://127.0.0.1", qdrant_grpc_port=silent.getsockname()[1], qdrant_timeout_s=0.3
            )
            store = GalleryStore.open(server=config)
            for _ in range(3):
                with pytest.raises((DeadlineExceeded, Unavailable)):
                    await store.list()
            with pytest.raises(Unavailable):
                await store.list()
            await store.close()

        asyncio.run(work())


def test_a_server_that_goes_and_comes_back() -> None:
    port, state = free_port(), QdrantServer()

    async def work() -> None:
        config = ServerConfig(qdrant_url="http://127.0.0.1:6333", qdrant_grpc_port=port)
        store = GalleryStore.open(server=config)
        for times in range(2):
            for _ in range(4):
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await store.info("gallery")
            with qdrant_server(port=port, state=state):
                assert await answered(store) == ["gallery-1"] * times
                await store.ensure("gallery", "enc", 3)
                await store.upsert("gallery", [Item("a", VECTOR)])
        await store.close()

    asyncio.run(work())


def test_a_collection_that_was_lost_is_made_again(server: QdrantServer) -> None:
    async def work() -> None:
        store = opened(server)
        await store.ensure("gallery", "enc", 3)
        await store.engine.drop("gallery-1")
        with pytest.raises(NotFound):
            await store.upsert("gallery", [Item("a", VECTOR)])
        await store.ensure("gallery", "enc", 3)
        await store.upsert("gallery", [Item("a", VECTOR)])
        await store.close()

    asyncio.run(work())


async def answered(store: GalleryStore) -> list[str]:
    """The first answer; until then the store may only be away. The test's time limit ends it."""
    while True:
        try:
            return await store.list()
        except Unavailable:
            await asyncio.sleep(0.02)


def test_one_caller_at_a_time_asks_for_a_sign_of_life() -> None:
    asked: list[asyncio.Future[None]] = []

    async def probe() -> None:
        asked.append(asyncio.get_running_loop().create_future())
        await asked[-1]

    async def refused(circuit: CircuitBreaker, callers: int) -> None:
        for outcome in await asyncio.gather(*(circuit.enter() for _ in range(callers)), return_exceptions=True):
            assert isinstance(outcome, Unavailable)

    async def until(circuit: CircuitBreaker, probes: int) -> asyncio.Task[None]:
        """A caller whose probe is out."""
        while True:
            task = asyncio.create_task(circuit.enter())
            await asyncio.sleep(0.005)
            if len(asked) == probes:
                return task
            with pytest.raises(Unavailable):
                await task

    async def work() -> None:
        circuit = CircuitBreaker(probe, threshold=2, first_pause_s=0.01, longest_pause_s=0.02)
        circuit.failed()
        circuit.succeeded()
        circuit.failed()
        await circuit.enter()
        circuit.failed()
        assert circuit.is_open
        first = await until(circuit, 1)
        await refused(circuit, 10)
        asked[0].set_exception(OSError("nobody"))
        with pytest.raises(Unavailable):
            await first
        second = await until(circuit, 2)
        second.cancel()  # a caller that gives up leaves the probe to the next one
        await asyncio.gather(second, return_exceptions=True)
        third = await until(circuit, 3)
        asked[2].set_result(None)
        await third
        assert not circuit.is_open
        circuit.failed()  # it lives, but does not answer
        assert circuit.is_open
        await refused(CircuitBreaker(probe, threshold=0, first_pause_s=60), 0)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"qdrant_url": "qdrant:6333"}, "not an address like"),
        ({"qdrant_url": "http://"}, "not an address like"),
        ({"qdrant_url": "http://user:secret@host:6333"}, "not an address like"),
        ({"qdrant_url": "http://host:6333/prefix"}, "not an address like"),
        ({"qdrant_grpc_port": 0}, "between 1 and 65,535"),
        ({"qdrant_timeout_s": 0.0}, "above 0"),
        ({"qdrant_url": "http://host", "qdrant_ca": Path("ca.pem")}, "https"),
    ],
)
def test_settings_of_a_server_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        ServerConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["qdrant_ca", "qdrant_api_key_file"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    config = ServerConfig(qdrant_url="https://host:6333", **{name: Path("nowhere.pem")})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"nowhere\.pem cannot be read"):
        GalleryStore.open(server=config)


@pytest.mark.parametrize(
    ("made", "settings", "sentence"),
    [
        (CollectionConfig, {"payload_index": ("price",)}, "'price' is not FIELD:KIND"),
        (CollectionConfig, {"payload_index": ("price:money",)}, "keyword, integer, float, bool"),
        (CollectionConfig, {"payload_index": ("a:bool", "a:float")}, "twice"),
        (CollectionConfig, {"hnsw_m": 1}, "hnsw_m"),
        (CollectionConfig, {"replication_factor": 0}, "replication_factor"),
        (SearchParams, {"oversampling": 1.5}, "between 2 and 100"),
        (SearchParams, {"hnsw_ef": -1}, "hnsw_ef"),
    ],
)
def test_layouts_that_cannot_be(made: type, settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        made(**settings)
