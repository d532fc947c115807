"""Traces of a running service, as a real OTLP receiver gets them: real Ray Serve, over gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from scot.client import NewItem, ScotClient
from scot.ports import free_port
from scot.v1 import search_pb2, search_pb2_grpc
from tests.support.bad_images import GOOD_IMAGES
from tests.support.random_encoder import save_random_encoder
from tests.support.scot_serve import scot_serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRACE, PARENT, REFUSED = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "0af7651916cd43dd8448eb211c80319c"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span that is sent to it."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            self.services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace: str) -> dict[str, Any]:
        """The spans of a trace by name."""
        return {span.name: span for span in list(self.spans) if span.trace_id.hex() == trace}

    def whole(self, trace: str) -> bool:
        """Whether every span's parent has come too, up to the caller's."""
        spans = self.of(trace).values()
        return {span.parent_span_id for span in spans} <= {span.span_id for span in spans} | {bytes.fromhex(PARENT)}

    def wait(self, trace: str, *names: str) -> dict[str, Any]:
        """The same, once these have come, with their parents: each process sends its spans by itself."""
        deadline = time.monotonic() + 60
        while not (set(names) <= self.of(trace).keys() and self.whole(trace)):
            assert time.monotonic() < deadline, sorted(self.of(trace))
            time.sleep(0.1)
        return self.of(trace)


@pytest.fixture(scope="module")
def receiver() -> Iterator[tuple[Receiver, int]]:
    server, receiver = grpc.server(ThreadPoolExecutor(4)), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield receiver, port
    server.stop(None)


@pytest.fixture(scope="module")
def target(receiver: tuple[Receiver, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    flags = ("--data", str(folder / "data"), "--encoder", save_random_encoder(folder / "encoder"))
    with scot_serve(port, *flags, environment=environment):
        with ScotClient(f"localhost:{port}") as client:
            client.upsert([NewItem("a", vector=np.ones(32))])
        yield f"localhost:{port}"


def ask(target: str, trace: str, **query: Any) -> str:
    """One query with a traceparent and a request id; the code it ended with."""
    metadata = [("traceparent", f"00-{trace}-{PARENT}-01"), ("x-request-id", f"id-{trace[:4]}")]
    with grpc.insecure_channel(target) as channel:
        try:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            stub.ComposeSearch(search_pb2.ComposeSearchRequest(**query), metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_query_is_one_trace_from_the_caller_to_the_store(target: str, receiver: tuple[Receiver, int]) -> None:
    reference = search_pb2.Reference(image=GOOD_IMAGES["PNG"])
    assert ask(target, TRACE, reference=reference, edits=[search_pb2.Edit(text="a")]) == "OK"
    composer = "replica_handle_request Composer compose"
    spans = receiver[0].wait(TRACE, "compose_search", "decode", "compose", "store search", composer)
    inside = spans["compose_search"].span_id
    assert {spans[name].parent_span_id for name in ("decode", "compose", "store search")} == {inside}
    ancestors = {span.span_id: span.parent_span_id for span in spans.values()}
    above = spans[composer].span_id
    path = []
    while above in ancestors:
        path.append(above := ancestors[above])
    assert inside in path, "the composer's span hangs under the request's"
    assert path[-1].hex() == PARENT, "and that under the caller's"
    found = attributes(spans["compose_search"])
    assert (found["rpc.method"], found["rpc.grpc.status_code"]) == ("compose_search", "OK")
    assert found["scot.request_id"] == f"id-{TRACE[:4]}"
    composed = attributes(spans["compose"])
    assert (composed["scot.composer"], composed["scot.batch"]) == ("sum", 1)
    assert attributes(spans["store search"])["db.system.name"] == "qdrant"
    assert receiver[0].services == {"scot-search"}


def test_a_refused_query_says_so_in_its_trace(target: str, receiver: tuple[Receiver, int]) -> None:
    assert ask(target, REFUSED, limit=2_000, edits=[search_pb2.Edit(text="a")]) == "INVALID_ARGUMENT"
    request = receiver[0].wait(REFUSED, "compose_search")["compose_search"]
    assert attributes(request)["rpc.grpc.status_code"] == "INVALID_ARGUMENT"
    assert request.status.code == 2  # an error
    assert "decode" not in receiver[0].of(REFUSED)


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    imported = (
        "import sys; from services.search import tracing\n"
        "assert tracing.environment() == {}\n"
        "with tracing.span('x') as span: span.note(a=1)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True, env=environment, cwd=Path.cwd()
    )
    assert done.stdout.strip() == "[]"
