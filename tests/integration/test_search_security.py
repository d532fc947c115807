"""The search service with keys and behind TLS, and what it counts: real Ray Serve, over gRPC."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image

from scot import cli
from scot.client import AsyncScotClient, NewItem, ScotClient
from scot.errors import NotFound, Overloaded, PermissionDenied, ScotError, Unauthenticated
from scot.keys import ApiKey, digest_of, new_key
from scot.ports import free_port
from scot.v1 import index_pb2, search_pb2
from services.search.gateway.health import SERVICES
from services.search.rpc.limits import MAX_WATCHES
from tests.support.random_encoder import save_random_encoder
from tests.support.scot_serve import scot_serve
from tests.support.tls import self_signed, tls_proxy

pytestmark = pytest.mark.timeout(600)

READER, WRITER = new_key(), new_key()
LINES = [
    ApiKey(digest_of(READER), "reader").line,
    ApiKey(digest_of(WRITER), "writer", "read-write").line,
    *(ApiKey(digest_of(f"slow{n}"), f"slow{n}", "read-write", rate=1e-6, burst=3.0).line for n in range(3)),
]
METHODS = [
    method
    for file in (search_pb2.DESCRIPTOR, index_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
]


@dataclass(frozen=True)
class Service:
    target: str
    metrics_port: int
    keys: Path

    def client(self, api_key: str | None) -> ScotClient:
        return ScotClient(self.target, api_key=api_key)


def start(*flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "services.search.local", "--threads", "1", *flags]
    environment = os.environ | {"RAY_metrics_report_interval_ms": "500"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    keys, port, metrics_port = folder / "keys.txt", free_port(), free_port()
    write(keys, LINES)
    with scot_serve(
        port,
        *("--data", str(folder / "data"), "--encoder", save_random_encoder(folder / "encoder")),
        *("--metrics-port", str(metrics_port), "--api-keys", str(keys)),
        environment={"RAY_metrics_report_interval_ms": "500"},
    ):
        yield Service(f"localhost:{port}", metrics_port, keys)


def write(keys: Path, lines: list[str]) -> None:
    (keys.parent / "next").write_text("\n".join(lines))
    (keys.parent / "next").replace(keys)


@pytest.fixture(scope="module")
def writer(service: Service) -> Iterator[ScotClient]:
    with service.client(WRITER) as client:
        items = [NewItem(name, Image.new("RGB", (48, 48), name)) for name in ("red", "green", "blue")]
        assert client.upsert([*items, NewItem("broken", b"no picture"), NewItem("gone", vector=np.ones(32))]).upserted
        assert client.delete(["gone"]) == 1
        yield client


@pytest.mark.parametrize("given", [None, "Bearer nobody", f"Basic {READER}", "Bearer"], ids=range(4))
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_without_a_known_key_nothing_answers(service: Service, method: object, given: str | None) -> None:
    error = refused(service, method, [("authorization", given)] if given else [])
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "API key" in str(error.details())
    assert "/" not in str(error.details())


def refused(service: Service, method: object, metadata: list[tuple[str, str]]) -> grpc.RpcError:
    """How an RPC with an empty request ends."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"  # type: ignore[attr-defined]
    request = message_factory.GetMessageClass(method.input_type)()  # type: ignore[attr-defined]
    with grpc.insecure_channel(service.target) as channel:
        call = getattr(channel, kind)(
            f"/{method.containing_service.full_name}/{method.name}",  # type: ignore[attr-defined]
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda answer: answer,
        )
        with pytest.raises(grpc.RpcError) as raised:  # noqa: PT012
            answer = call(iter([request]) if method.client_streaming else request, metadata=metadata, timeout=30)  # type: ignore[attr-defined]
            list(answer)
    return raised.value


def test_health_and_reflection_stay_open(service: Service) -> None:
    with grpc.insecure_channel(service.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health.Check(health_pb2.HealthCheckRequest()).status == serving
        statuses = health.List(health_pb2.HealthListRequest()).statuses
        assert {name: each.status for name, each in statuses.items()} == dict.fromkeys(SERVICES, serving)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == serving
        watch.cancel()
        assert "scot.v1.SearchService" in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_watches_of_health_leave_room_for_callers(service: Service, writer: ScotClient) -> None:
    request = health_pb2.HealthCheckRequest()
    with grpc.insecure_channel(service.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watches = [opened(health) for _ in range(MAX_WATCHES)]
        with pytest.raises(grpc.RpcError) as over:
            next(health.Watch(request))
        assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert writer.search(edits="a").hits
        for watch in watches:
            watch.cancel()
        while not watched(health):  # until the service has seen that they are gone; the test's time limit ends it
            time.sleep(0.2)


def opened(health: health_pb2_grpc.HealthStub) -> Any:
    """A watch that has answered; asked for again while cancelled ones still count."""
    while True:
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=120)
        try:
            next(watch)
        except grpc.RpcError:
            time.sleep(0.2)
        else:
            return watch


def watched(health: health_pb2_grpc.HealthStub) -> bool:
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=30)
    try:
        return bool(next(watch).status == health_pb2.HealthCheckResponse.SERVING)
    except grpc.RpcError:
        return False
    finally:
        watch.cancel()


def test_a_reader_reads_and_writes_nothing(service: Service, writer: ScotClient) -> None:
    with service.client(READER) as reader:
        assert reader.search(edits="a").hits
        assert reader.encode(texts=["a"]).vectors.shape == (1, 32)
        assert reader.composers()
        assert list(reader.get(["red"])) == ["red"]
        assert all(not isinstance(answer, ScotError) for answer in reader.search_many([{"edits": "a"}]))
        before = reader.info().items
        with pytest.raises(PermissionDenied, match="is read; the call needs"):
            reader.upsert([NewItem("new", vector=np.ones(32))])
        with pytest.raises(PermissionDenied):
            reader.delete(["red"])
        stream = next(method for method in METHODS if method.name == "UpsertItemsStream")
        error = refused(service, stream, [("authorization", f"Bearer {READER}")])
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reader.info().items == before


def test_each_key_has_its_rate_and_every_request_of_a_stream_counts(service: Service, writer: ScotClient) -> None:
    with service.client("slow0") as client:
        for _ in range(3):
            client.search(edits="a")
        with pytest.raises(Overloaded, match="try again later"):
            client.search(edits="a")
        assert client.healthy()
    with service.client("slow1") as client:
        answers = list(client.search_many([{"edits": "a"}] * 5))
        assert [isinstance(answer, Overloaded) for answer in answers] == [False] * 3 + [True] * 2
    with grpc.insecure_channel(service.target) as channel:
        stream = channel.stream_unary(
            "/scot.v1.IndexService/UpsertItemsStream",
            request_serializer=index_pb2.UpsertItemsRequest.SerializeToString,
            response_deserializer=index_pb2.UpsertItemsResponse.FromString,
        )
        items = [index_pb2.Item(item_id=f"s{n}", vector=search_pb2.Vector(values=[1.0] * 32)) for n in range(5)]
        requests = iter([index_pb2.UpsertItemsRequest(items=[item]) for item in items])
        with pytest.raises(grpc.RpcError) as over:
            stream(requests, metadata=[("authorization", "Bearer slow2")])
        assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert list(writer.get([item.item_id for item in items])) == ["s0", "s1", "s2"]  # what came before is stored
    assert writer.delete(["s0", "s1", "s2"]) == 3


def test_keys_change_without_a_restart(service: Service, writer: ScotClient) -> None:
    async def ask(key: str) -> None:
        async with AsyncScotClient(service.target, api_key=key) as client:
            await client.info()

    write(service.keys, [*LINES, ApiKey(digest_of("late"), "late").line])
    asyncio.run(ask("late"))
    write(service.keys, ["this is no digest"])
    asyncio.run(ask("late"))
    write(service.keys, LINES)
    with pytest.raises(Unauthenticated, match="not known"):
        asyncio.run(ask("late"))


def test_a_key_that_is_taken_back_is_refused_in_the_streams_it_opened(service: Service, writer: ScotClient) -> None:
    def queries() -> Iterator[dict[str, str]]:
        yield {"edits": "before"}
        taken_back.wait(60)
        yield {"edits": "after"}

    taken_back = threading.Event()
    write(service.keys, [*LINES, ApiKey(digest_of("early"), "early").line])
    with service.client("early") as client:
        answers = client.search_many(queries())
        assert not isinstance(next(answers), ScotError)
        write(service.keys, LINES)
        taken_back.set()
        assert [type(answer) for answer in answers] == [Unauthenticated]


def test_what_it_counts_is_on_the_metrics_endpoint(service: Service, writer: ScotClient) -> None:
    with pytest.raises(NotFound):
        writer.search(item_id="red", edits="a", composer="no-such-composer")
    writer.search(item_id="red", edits="a", composer="sum:0.125")
    writer.search(edits="a", score_threshold=0.999999)
    writer.search(item_id="red", include_reference=True, score_threshold=0.9)
    assert isinstance(next(writer.search_many([{"edits": ""}])), ScotError)
    wanted = {
        'requests_total{code="OK",method="compose_search"}',
        'requests_total{code="NOT_FOUND",method="compose_search"}',
        'requests_total{code="INVALID_ARGUMENT",method="stream_query"}',
        'request_seconds_bucket{le="0.1",method="upsert_items"}',
        *(f'stage_seconds_count{{stage="{stage}"}}' for stage in ("decode", "queue", "compose", "search", "total")),
        *('answers_total{composer="sum"}', 'answers_total{composer="text_only"}'),
        *('threshold_answers_total{found="yes"}', 'threshold_answers_total{found="no"}'),
        *(f'items_total{{outcome="{outcome}"}}' for outcome in ("indexed", "refused", "deleted")),
        'batch_size_bucket{le="1.0"}',
        'store_seconds_count{code="OK",operation="search"}',
        'store_seconds_count{code="OK",operation="upsert"}',
        'collection_items{collection="gallery"}',
    }
    deadline = time.monotonic() + 60
    while missing := wanted - (found := scraped(service.metrics_port)).keys():
        assert time.monotonic() < deadline, (missing, sorted(found))
        time.sleep(0.2)
    assert found['threshold_answers_total{found="no"}'] == 1
    assert found['answers_total{composer="sum"}'] == 1
    assert not [series for series in found if "no-such-composer" in series or "0.125" in series]


def scraped(port: int) -> dict[str, float]:
    """The values of ``ray_scot_search_…``, without that prefix and Serve's own labels."""
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found: dict[str, float] = {}
    for name, labels, value in re.findall(r"^ray_scot_search_(\w+)\{(.*)\} (\S+)$", page, re.M):
        ours = re.findall(r'\b((?:code|method|le|stage|composer|found|outcome|operation|collection)="[^"]*")', labels)
        found[f"{name}{{{','.join(sorted(ours))}}}" if ours else name] = float(value)
    return found


def test_the_commands_take_the_key_from_a_file_or_the_environment(
    service: Service, writer: ScotClient, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(READER)
    searching = ("search", "--edit", "a", "--limit", "1", "--address", service.target)
    assert "the call needs an API key" in said(*searching, code=1)
    assert "text_only" in said(*searching, "--api-key-file", str(tmp_path / "key"))
    assert "text_only" in said(*searching, SCOT_API_KEY=READER)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    (tmp_path / "captions.csv").write_text("image,caption\na.png,a red square\n")
    indexing = ("index", str(tmp_path), "--address", service.target)
    assert "the role of this API key is read" in said(*indexing, code=1, SCOT_API_KEY=READER)
    assert "indexed 1 pictures" in said(*indexing, SCOT_API_KEY=WRITER)


def said(*command: str, code: int = 0, **environment: str) -> str:
    """What a command prints; in this process, which has imported everything already."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert cli.main(command) == code, printed.getvalue()
    return printed.getvalue()


def test_a_proxy_in_front_brings_tls(service: Service, writer: ScotClient, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with tls_proxy(service.target, certificate, key) as address:
        searching = ("search", "--edit", "a", "--limit", "1", "--address", address, "--tls")
        trusted = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate), "SCOT_API_KEY": READER}
        assert "text_only" in said_alone(*searching, **trusted)
        assert "no SCOT service answers" in said_alone(*searching, code=1, SCOT_API_KEY=READER)  # nobody it trusts
        assert "no SCOT service answers" in said_alone(*searching[:-1], code=1, SCOT_API_KEY=READER)  # no TLS at all


def said_alone(*command: str, code: int = 0, **environment: str) -> str:
    """:func:`said` in a process of its own: gRPC reads the roots that it trusts once."""
    whole = [sys.executable, "-m", "scot.cli", *command]
    done = subprocess.run(whole, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("text", [None, "", "not-a-digest name=a"])
def test_without_a_good_keys_file_nothing_starts(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "keys.txt").write_text(text)
    flags = ("--data", str(tmp_path / "data"), "--port", str(free_port()), "--api-keys", str(tmp_path / "keys.txt"))
    process = start(*flags)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert "API keys" in errors
    assert not (tmp_path / "data").exists()
