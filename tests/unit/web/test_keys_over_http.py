"""Keys, roles and rates over HTTP are those of the gateway; request ids and trace context are passed on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from scot.keys import ApiKey, digest_of
from scot.v1 import search_pb2, search_pb2_grpc
from services.search.settings import from_args
from services.web.methods import METHODS
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here
from tests.support.served_web import ask, served_web
from tests.unit.web.test_methods import REQUESTS

WRITES = {"UpsertItems", "DeleteItems"}
KEYS = {
    "reader": ApiKey(digest_of("reader"), "reader"),
    "writer": ApiKey(digest_of("writer"), "writer", "read-write"),
    "slow": ApiKey(digest_of("slow"), "slow", "read", 0.001, 1),
}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.write_text("".join(f"{key.line}\n" for key in KEYS.values()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def locked(keys_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web service before a search service that needs keys."""
    folder = tmp_path_factory.mktemp("locked")
    settings = {"encoder": save_random_encoder(folder / "encoder"), "store": str(folder / "qdrant"), "threads": 1}
    with (
        served_here(from_args({**settings, "thumbnails": str(folder / "t"), "api_keys": str(keys_file)})) as address,
        served_web(address) as url,
    ):
        yield url


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_needs_the_role_that_grpc_needs(locked: str, method: Any) -> None:
    body = REQUESTS[method.name]
    body = {"requests": [body]} if method.client_streaming else body
    missing = ask(locked, method.path, body)
    assert (missing.status, missing.json["grpc_status"]) == (401, "UNAUTHENTICATED")
    assert missing.headers["www-authenticate"] == "Bearer"
    for forged in ("Bearer reader2", "Bearer ", "Basic reader", "reader", "Bearer reader, Bearer writer", "Bearer ä"):
        assert ask(locked, method.path, body, authorization=forged).status == 401
    allowed = ask(locked, method.path, body, authorization="Bearer writer")
    read = ask(locked, method.path, body, authorization="Bearer reader")
    assert allowed.status == 200
    assert (read.status, "role" in read.body.decode()) == ((403, True) if method.name in WRITES else (200, False))


@pytest.mark.parametrize("path", ["/v1/pictures/red", "/v1/pictures?item_id=red"])
def test_pictures_need_a_key(locked: str, path: str) -> None:
    assert ask(locked, path).status == 401
    assert ask(locked, path, authorization="Bearer reader").status == 404


def test_embeddings_need_a_key(locked: str) -> None:
    refused = ask(locked, "/v1/embeddings", {"input": "red"})
    assert (refused.status, refused.json["error"]["code"]) == (401, "unauthenticated")
    assert ask(locked, "/v1/embeddings", {"input": "red"}, authorization="Bearer reader").status == 200


def test_a_key_has_its_rate(locked: str) -> None:
    answers = [ask(locked, "/v1/list-composers", {}, authorization="Bearer slow") for _ in range(3)]
    assert [each.status for each in answers] == [200, 429, 429]
    assert answers[1].json["detail"].startswith("this API key may make 0.001 requests a second")
    assert answers[1].headers["retry-after"] == "1"
    queries = {"requests": [REQUESTS["ComposeSearch"]] * 2}
    stream = ask(locked, "/v1/compose-search-stream", queries, authorization="Bearer slow")
    assert [data["error"]["status"] for _, data in stream.events[:-1]] == ["RESOURCE_EXHAUSTED"] * 2


def test_health_and_the_description_need_no_key(locked: str) -> None:
    assert [ask(locked, path).status for path in ("/healthz", "/openapi.json", "/docs")] == [200] * 3


def test_two_keys_are_not_one(locked: str) -> None:
    """HTTP joins repeated headers; gRPC would take the last one."""
    raw = b"{}"
    assert (
        ask(locked, "/v1/list-composers", raw=raw, Authorization="Bearer bad", authorization="Bearer bad").status == 401
    )


class Recorder(search_pb2_grpc.SearchServiceServicer):
    """A search service that answers nothing and keeps the metadata of its calls."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    def ListComposers(self, request: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        return search_pb2.ListComposersResponse()


@pytest.fixture(scope="module")
def recorder() -> Iterator[tuple[str, Recorder]]:
    from concurrent.futures import ThreadPoolExecutor

    server, servicer = grpc.server(ThreadPoolExecutor(1)), Recorder()
    search_pb2_grpc.add_SearchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with served_web(f"127.0.0.1:{port}") as url:
        yield url, servicer
    server.stop(0)


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_request_id_and_trace_context_are_passed_on_and_back(recorder: tuple[str, Recorder]) -> None:
    url, servicer = recorder
    sent = {"x_request_id": "mine-1", "traceparent": PARENT, "tracestate": "a=b", "baggage": "c=d", "cookie": "secret"}
    answer = ask(url, "/v1/list-composers", {}, authorization="Bearer KEY", **sent)
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("mine-1", PARENT)
    passed = {name: servicer.metadata.get(name) for name in ("x-request-id", "traceparent", "tracestate", "baggage")}
    assert passed == {"x-request-id": "mine-1", "traceparent": PARENT, "tracestate": "a=b", "baggage": "c=d"}
    assert servicer.metadata["authorization"] == "Bearer KEY"
    assert "cookie" not in servicer.metadata


@pytest.mark.parametrize("identity", ["", "a b", "x" * 65, "<script>", "é"])
def test_a_malformed_request_id_is_replaced(recorder: tuple[str, Recorder], identity: str) -> None:
    url, servicer = recorder
    answer = ask(url, "/v1/list-composers", {}, x_request_id=identity)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert servicer.metadata["x-request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("parent", ["", "00-0-0-00", PARENT.upper(), PARENT.replace("4bf9", "zzzz"), "ff" + PARENT[2:]])
def test_a_malformed_trace_context_is_left_out(recorder: tuple[str, Recorder], parent: str) -> None:
    url, servicer = recorder
    answer = ask(url, "/v1/list-composers", {}, traceparent=parent, tracestate="a=b")
    assert answer.status == 200
    assert not {"traceparent", "tracestate"} & (servicer.metadata.keys() | answer.headers.keys())


def test_a_problem_has_the_request_id(recorder: tuple[str, Recorder]) -> None:
    answer = ask(recorder[0], "/v1/nothing", x_request_id="mine-2")
    assert answer.json["request_id"] == answer.headers["x-request-id"] == "mine-2"
