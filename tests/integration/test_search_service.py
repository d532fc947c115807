"""The search service as people run it: real Ray Serve, a real encoder, the embedded store, over gRPC and HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image

from scot.client import (
    AsyncScotClient,
    Edit,
    Filter,
    Match,
    MatchAny,
    NewItem,
    Range,
    Reference,
    ScotClient,
    SearchResult,
    Turn,
)
from scot.composers import Registry, load_composer, save_composer
from scot.composers.architectures import build
from scot.encoders import load_encoder
from scot.encoders.clip import ClipEncoder
from scot.errors import EncoderMismatch, InvalidInput, NotFound, ScotError, Unavailable
from scot.ports import free_port
from scot.v1 import index_pb2, search_pb2, search_pb2_grpc
from tests.support.random_encoder import save_random_encoder
from tests.support.served_web import ask

pytestmark = pytest.mark.timeout(600)

COLOURS = ["red", "green", "blue", "yellow", "white", "black", "purple", "orange"]


@dataclass(frozen=True)
class Service:
    port: int
    data: Path
    encoder: str
    process: subprocess.Popen[str]
    url: str
    """Of the web service beside it."""

    @property
    def target(self) -> str:
        return f"localhost:{self.port}"


def start(data: Path, encoder: str, port: int, *flags: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "services.search.local", "--data", str(data), "--encoder", encoder]
    command += ["--port", str(port), "--threads", "1", *flags]
    # In a session of its own, by which everything it ever starts can be found, whoever the parent is by then.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def picture(colour: str, *, stripes: bool = False) -> Image.Image:
    image = Image.new("RGB", (48, 48), colour)
    if stripes:
        for row in range(0, 48, 8):
            image.paste("gray", (0, row, 48, row + 4))
    return image


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    picture(colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("random") / "encoder")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, encoder: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    data = folder / "data"
    loaded = load_encoder(encoder, device="cpu")
    publish(data / "composers", folder / "ours", loaded.id, loaded.dim)
    publish(data / "composers", folder / "foreign", "another@0-32d", loaded.dim, version="foreign", release=False)
    port, web_port = free_port(), free_port()
    # As if Ray's dashboard, which it starts though it is not wanted, failed: nothing may depend on it or tell of it.
    no_dashboard = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0"}
    process = start(data, encoder, port, "--web", "--web-port", str(web_port), **no_dashboard)
    assert process.stdout is not None
    first = process.stdout.readline()
    if f"listens on localhost:{port}" not in first:
        process.kill()
        pytest.fail(f"did not start: {first} {process.communicate()[1]}")
    url = f"http://localhost:{web_port}"
    assert (
        process.stdout.readline() == f"SCOT's web service listens on {url} for localhost:{port}; /docs describes it\n"
    )
    yield Service(port, data, encoder, process, url)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def publish(
    registry: Path, artifact: Path, encoder_id: str, dim: int, *, version: str = "v1", release: bool = True
) -> None:
    torch.manual_seed(0)
    module = build("combiner", {"dim": dim, "projection": 16, "hidden": 16})
    save_composer(artifact, module, encoder_id=encoder_id, dim=dim, metrics={"recall@1": 0.5})
    Registry(registry).publish(artifact, version=version, release=release)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[ScotClient]:
    with ScotClient(service.target) as client:
        items = [NewItem(name, picture(name), payload={"colour": name, "n": n}) for n, name in enumerate(COLOURS)]
        assert client.upsert(items).upserted == len(COLOURS)
        yield client


def composed_here(service: Service, image_1D: np.ndarray, text_1D: np.ndarray, encoder: ClipEncoder) -> np.ndarray:
    composer = load_composer(service.data / "composers" / "v1", encoder_id=encoder.id, dim=encoder.dim)
    row: np.ndarray = composer.compose(torch.from_numpy(image_1D), torch.from_numpy(text_1D)).numpy()[0]
    return row


def ids(result: SearchResult) -> list[str]:
    return [hit.item_id for hit in result.hits]


def test_a_picture_finds_itself(client: ScotClient) -> None:
    result = client.search(image=picture("red"), limit=3, with_vectors=True)
    assert ids(result)[0] == "red"
    assert result.hits[0].score == pytest.approx(1.0, abs=1e-4)
    assert result.hits[0].payload == {"colour": "red", "n": 0}
    assert result.composer == "image_only"
    assert result.request_id
    assert result.query_vector is not None
    np.testing.assert_allclose(np.linalg.norm(result.query_vector), 1.0, atol=1e-5)


def test_every_release_is_applied(service: Service) -> None:
    released = service.data / "composers" / "released.json"
    for _ in range(2):
        again = released.with_suffix(".again")
        again.write_bytes(released.read_bytes())
        again.replace(released)  # as the registry replaces it
        assert service.process.stdout is not None
        assert service.process.stdout.readline() == "composer v1 answers now\n"


def test_an_edit_goes_through_the_released_composer(client: ScotClient, service: Service) -> None:
    result = client.search(image=png("red"), edits="make it green", with_vectors=True)
    assert result.composer == "v1"
    encoder = load_encoder(service.encoder, device="cpu")
    assert result.encoder == encoder.id
    image_1D, text_1D = encoder.encode_images([picture("red")]), encoder.encode_texts(["make it green"])
    query = composed_here(service, image_1D, text_1D, encoder)
    np.testing.assert_allclose(result.query_vector, query, atol=1e-4)


def test_edits_are_joined_weighted_and_turned_around(client: ScotClient) -> None:
    def query(*edits: str | Edit) -> np.ndarray:
        vector = client.search(image=picture("red"), edits=edits, composer="sum", with_vectors=True).query_vector
        assert vector is not None
        return vector

    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    start, full = query(), query("bigger and rounder")
    np.testing.assert_allclose(query("bigger", "rounder"), full, atol=1e-5)
    half = query(Edit("bigger and rounder", weight=0.5))
    np.testing.assert_allclose(half, unit(0.5 * start + 0.5 * full), atol=1e-5)
    away = query(Edit("bigger and rounder", negative=True))
    np.testing.assert_allclose(away, unit(start - (full - start)), atol=1e-5)


def test_an_indexed_reference_is_left_out_unless_wanted(client: ScotClient) -> None:
    assert "blue" not in ids(client.search(item_id="blue", edits="brighter"))
    assert ids(client.search(item_id="blue", include_reference=True))[0] == "blue"


def test_a_conversation_and_its_facets(client: ScotClient) -> None:
    turns = [Turn([Reference(image=picture("red")), Reference(item_id="blue", weight=-0.25)], "brighter")]
    found = client.search(turns=turns, edits="larger", like=["green"], dislike=["black"], with_vectors=True)
    assert found.composer == "v1"
    assert not {"blue", "black"} & set(ids(found))
    again = client.search(turns=turns, edits="larger", like=["green"], dislike=["black"], with_vectors=True)
    np.testing.assert_array_equal(again.query_vector, found.query_vector)
    grouped = client.search(turns=turns, group_by="colour", limit=3)
    assert [group.value for group in grouped.groups] == ids(grouped)
    facets = client.facets(["colour"], filter=Filter(must=[MatchAny("n", [0, 1])]))
    assert facets.total == 2
    assert {each.value for each in facets.values["colour"]} == set(COLOURS[:2])


def test_text_alone_and_vectors(client: ScotClient) -> None:
    encoded = client.encode(images=[picture("green")], texts=["a green square"])
    assert encoded.vectors.shape == (2, 32)
    assert client.search(edits="a green square").composer == "text_only"
    assert ids(client.search(vector=encoded.vectors[0] * 7))[0] == "green"
    long = client.search(edits="very " * 50 + "green")
    assert long.text_truncated


def test_filters_limit_and_offset(client: ScotClient) -> None:
    wanted = Filter(must=[Range("n", gte=2)], must_not=[Match("colour", "blue")])
    found = client.search(image=picture("red"), filter=wanted, limit=100)
    assert set(ids(found)) == set(COLOURS[3:])
    everything = ids(client.search(image=picture("red"), limit=8))
    assert ids(client.search(image=picture("red"), limit=2, offset=3)) == everything[3:5]


def test_items_are_stored_fetched_and_deleted(client: ScotClient) -> None:
    items = [
        NewItem("plain", picture("red", stripes=True), payload={"deep": {"list": [1, 2.5, None]}}),
        NewItem("broken", b"not a picture"),
        NewItem("vector", vector=np.ones(32)),
        NewItem("short", vector=np.ones(3)),
        NewItem("zero", vector=np.zeros(32)),
        NewItem("plain", picture("blue")),
        NewItem("", picture("blue")),
    ]
    result = client.upsert(items, collection="other")
    assert result.upserted == 2
    assert [refused.item_id for refused in result.refused] == ["broken", "short", "zero", "plain", ""]
    assert all(refused.error for refused in result.refused)
    got = client.get(["vector", "nobody", "plain"], collection="other", with_vectors=True)
    assert list(got) == ["vector", "plain"]
    assert got["plain"].payload == {"deep": {"list": [1, 2.5, None]}}
    assert client.info(collection="other").items == 2
    assert client.delete(["plain", "vector", "nobody"], collection="other") == 2
    assert client.info(collection="other").items == 0


def test_composers_are_listed(client: ScotClient) -> None:
    composers = {composer.name: composer for composer in client.composers()}
    assert {"v1", "foreign", "sum", "slerp", "text_only", "image_only"} == composers.keys()
    assert composers["v1"].released
    assert composers["v1"].metrics == {"recall@1": 0.5}


@pytest.mark.parametrize(
    ("error", "names", "query"),
    [
        (InvalidInput, "edits", {}),
        (InvalidInput, r"edits\[0\].text", {"edits": "  "}),
        (InvalidInput, r"edits\[1\].text", {"edits": ["a", "x" * 2_001]}),
        (InvalidInput, "edits", {"edits": ["a"] * 9}),
        (InvalidInput, r"edits\[0\].weight", {"edits": [Edit("a", weight=1.5)]}),
        (InvalidInput, r"edits\[0\].weight", {"edits": [Edit("a", weight=float("nan"))]}),
        (InvalidInput, r"edits\[0\].negative", {"edits": [Edit("a", negative=True)]}),
        (InvalidInput, "limit", {"edits": "a", "limit": 10**9}),
        (InvalidInput, "limit", {"edits": "a", "limit": 0}),
        (InvalidInput, "offset", {"edits": "a", "offset": 10**9}),
        (InvalidInput, "score_threshold", {"edits": "a", "score_threshold": float("nan")}),
        (InvalidInput, "reference.image", {"image": b""}),
        (InvalidInput, "reference.image", {"image": b"GIF89a not really"}),
        (InvalidInput, "reference.image", {"image": b"\x89PNG" + bytes(21_000_000)}),
        (InvalidInput, "no image file", {"image": "missing.png"}),
        (InvalidInput, "reference.vector", {"vector": [1.0] * 31}),
        (InvalidInput, "reference.vector", {"vector": [0.0] * 32}),
        (InvalidInput, "reference.vector", {"vector": [float("inf")] * 32}),
        (InvalidInput, "reference.item_id", {"item_id": "x" * 513}),
        (InvalidInput, "collection", {"edits": "a", "collection": "../other"}),
        (InvalidInput, "composer", {"edits": "a", "composer": "../v1"}),
        (InvalidInput, r"filter.must\[0\].range", {"edits": "a", "filter": Filter(must=[Range("n")])}),
        (InvalidInput, r"filter.must\[0\].field", {"edits": "a", "filter": Filter(must=[Match("", "x")])}),
        (NotFound, "'nobody'", {"item_id": "nobody"}),
        (NotFound, "'v99'", {"item_id": "red", "edits": "a", "composer": "v99"}),
        (NotFound, "'nowhere'", {"edits": "a", "collection": "nowhere"}),
        (EncoderMismatch, "another@0-32d", {"item_id": "red", "edits": "a", "composer": "foreign"}),
    ],
)
def test_bad_queries(client: ScotClient, error: type[ScotError], names: str, query: dict[str, object]) -> None:
    with pytest.raises(error, match=names) as raised:
        client.search(**query)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert "/tmp" not in str(raised.value)
    assert ids(client.search(image=picture("red"), limit=1)) == ["red"]  # and nobody else notices


def test_bad_requests_that_our_client_would_not_send(service: Service, client: ScotClient) -> None:
    with grpc.insecure_channel(service.target) as channel:
        search = search_pb2_grpc.SearchServiceStub(channel)
        call = search.ComposeSearch.with_call
        request = search_pb2.ComposeSearchRequest(edits=[search_pb2.Edit(text="a")])
        response, details = call(request, metadata=[("x-request-id", "abc-1")])
        assert len(response.hits) == len(COLOURS)  # a limit of 0 is 10
        assert response.request_id == "abc-1"
        assert dict(details.trailing_metadata())["x-request-id"] == "abc-1"
        with pytest.raises(grpc.RpcError) as refused:
            call(
                search_pb2.ComposeSearchRequest(reference=search_pb2.Reference()), metadata=[("x-request-id", "abc-2")]
            )
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details().startswith("reference:")
        assert dict(refused.value.trailing_metadata())["x-request-id"] == "abc-2"
        for count in (0, 65):
            with pytest.raises(grpc.RpcError, match="inputs") as refused:
                search.Encode(search_pb2.EncodeRequest(inputs=[search_pb2.EncodeInput(text="a")] * count))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidInput, match="items"):
        client.upsert([])
    with pytest.raises(InvalidInput, match="items"):
        client.upsert([NewItem(str(n), vector=np.ones(32)) for n in range(257)])
    with pytest.raises(InvalidInput, match="item_ids"):
        client.get([])


def test_streams_answer_in_order_and_survive_a_bad_query(service: Service, client: ScotClient) -> None:
    queries = [{"image": picture(colour), "limit": 1} for colour in COLOURS]
    queries.insert(3, {"edits": ""})
    answers = list(client.search_many(queries))  # type: ignore[arg-type]
    assert isinstance(answers.pop(3), InvalidInput)
    assert [ids(answer)[0] for answer in answers if isinstance(answer, SearchResult)] == COLOURS
    with grpc.insecure_channel(service.target) as channel:
        stream = channel.stream_unary(
            "/scot.v1.IndexService/UpsertItemsStream",
            request_serializer=index_pb2.UpsertItemsRequest.SerializeToString,
            response_deserializer=index_pb2.UpsertItemsResponse.FromString,
        )
        items = [index_pb2.Item(item_id=f"s{n}", vector=search_pb2.Vector(values=[n, *[1] * 31])) for n in range(6)]
        items[4].image = b"broken"
        requests = [index_pb2.UpsertItemsRequest(collection="stream", items=[item]) for item in items]
        total = stream(iter(requests))
    assert (total.upserted, total.refused) == (5, 1)
    assert [result.item_id for result in total.results] == ["s4"]


def test_the_async_client_does_the_same(service: Service, client: ScotClient) -> None:
    async def work() -> None:
        async with AsyncScotClient(service.target) as aclient:
            assert await aclient.healthy()
            results = await asyncio.gather(*(aclient.search(image=picture(each), limit=1) for each in COLOURS))
            assert [ids(result)[0] for result in results] == COLOURS
            with pytest.raises(InvalidInput, match="edits"):
                await aclient.search()
            many = [answer async for answer in aclient.search_many([{"item_id": "red"}, {"edits": ""}])]
            assert isinstance(many[1], InvalidInput)

    asyncio.run(work())


def test_a_plain_reflection_client_gets_the_same_answer(service: Service, client: ScotClient) -> None:
    with grpc.insecure_channel(service.target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"scot.v1.SearchService", "scot.v1.IndexService", "grpc.health.v1.Health"} <= set(
            database.get_services()
        )
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("scot.v1.SearchService").FindMethodByName("ComposeSearch")
        request_type = message_factory.GetMessageClass(method.input_type)
        response_type = message_factory.GetMessageClass(method.output_type)
        request = request_type()
        request.reference.image = png("purple")  # type: ignore[attr-defined]
        request.limit = 2  # type: ignore[attr-defined]
        call = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        response = call(request)
    assert [hit.item_id for hit in response.hits] == ids(client.search(image=picture("purple"), limit=2))  # type: ignore[attr-defined]


def test_health_check_and_watch(service: Service) -> None:
    with grpc.insecure_channel(service.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        for name in ("", "scot.v1.SearchService", "scot.v1.IndexService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == serving
        with pytest.raises(grpc.RpcError) as unknown:
            health.Check(health_pb2.HealthCheckRequest(service="nothing"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == serving
        watch.cancel()


def test_the_web_service_beside_it_answers(service: Service) -> None:
    url = service.url
    item = {"itemId": "shown", "image": base64.b64encode(png("red")).decode()}
    assert ask(url, "/v1/upsert-items", {"collection": "shown", "items": [item]}).json["upserted"] == "1"
    query = {"collection": "shown", "edits": [{"text": "red"}]}
    found = ask(url, "/v1/compose-search", query, x_request_id="mine")
    assert [hit["itemId"] for hit in found.json["hits"]] == ["shown"]
    assert found.json["requestId"] == found.headers["x-request-id"] == "mine"
    refused = ask(url, "/v1/compose-search", {"edits": [{"text": ""}]})
    assert (refused.status, refused.json["detail"]) == (400, "edits[0].text: must not be empty")
    first, second, end = ask(url, "/v1/compose-search-stream", {"requests": [query, {}]}).events
    assert (len(first[1]["hits"]), second[1]["error"]["status"], end[0]) == (1, "INVALID_ARGUMENT", "end")
    assert ask(url, "/v1/pictures/shown?collection=shown").headers["content-type"] == "image/webp"
    assert ask(url, "/readyz").status == 200


def test_a_second_service_is_refused_before_it_starts(service: Service) -> None:
    for port, sentence in ((service.port, f"port {service.port} is in use"), (free_port(), "open in another process")):
        second = start(service.data, service.encoder, port)
        output, errors = second.communicate(timeout=60)
        assert second.returncode == 1
        assert output == ""
        assert sentence in errors.splitlines()[-1]


def test_ctrl_c_stops_everything_and_loses_nothing(service: Service, client: ScotClient) -> None:
    assert len(members(service.process.pid)) > 3
    client.upsert([NewItem("last", vector=np.arange(32.0))])
    os.killpg(service.process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    output, errors = service.process.communicate(timeout=120)
    assert service.process.returncode == 0
    assert members(service.process.pid) == {}
    assert output == ""  # after the lines that it listens
    assert errors.splitlines() == [f"starting SCOT with encoder {service.encoder} …"]
    with pytest.raises(Unavailable, match="no SCOT service answers"):
        client.search(edits="a")
    with pytest.raises(ConnectionRefusedError):
        ask(service.url, "/healthz")
    assert not client.healthy()

    from scot.index.store import GalleryStore

    async def stored() -> list[str]:
        store = GalleryStore.open(path=service.data / "qdrant")
        try:
            return list(await store.get("gallery", ["last", "red"]))
        finally:
            await store.close()

    assert asyncio.run(stored()) == ["last", "red"]


@pytest.mark.parametrize(
    ("number", "when"),
    [(signal.SIGINT, "gcs_server"), pytest.param(signal.SIGTERM, "ray::Serve", marks=pytest.mark.slow)],
)
def test_a_signal_during_the_start_leaves_nothing(
    encoder: str, tmp_path: Path, number: signal.Signals, when: str
) -> None:
    process = start(tmp_path, encoder, free_port())
    while not any(when in command for command in members(process.pid).values()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert members(process.pid) == {}
    assert output == ""
    assert errors.splitlines() == [f"starting SCOT with encoder {encoder} …"]


@pytest.mark.slow
def test_a_composer_of_another_encoder_is_refused_at_the_start(encoder: str, tmp_path: Path) -> None:
    publish(tmp_path / "composers", tmp_path / "foreign", "another@0-32d", 32, version="foreign")
    process = start(tmp_path, encoder, free_port())
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert members(process.pid) == {}
    assert output == ""
    assert "composer 'foreign' was trained on encoder 'another@0-32d'" in errors.splitlines()[-1]
    assert len(errors.splitlines()) == 2


def members(session: int) -> dict[int, str]:
    """The running processes of a session and their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
            if fields and int(fields[3]) == session and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found
