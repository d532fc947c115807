"""A search service that is gone, slow, of another version or no gRPC service at all."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
import pytest

from services.web import upstream
from services.web.methods import METHODS, Method
from services.web.problems import Problem
from services.web.upstream import Upstream
from tests.support.http_server import http_server
from tests.support.served_web import Answer, ask, served_web
from tests.support.unknown_names import UnknownNames
from tests.unit.web.test_methods import REQUESTS


@contextmanager
def grpc_service(answer: Any) -> Iterator[str]:
    """A gRPC server that answers every method with ``answer(request_iterator_or_bytes, context)``."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            if "Stream" in details.method:
                return grpc.stream_stream_rpc_method_handler(lambda request, context: iter([answer(request, context)]))
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Everything()] if answer else [])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0)


def ask_all(url: str) -> dict[str, Answer]:
    """The answer of each method; they are called at the same time, since each may wait for its retries."""

    def call(method: Method) -> Answer:
        body = REQUESTS[method.name]
        return ask(url, method.path, {"requests": [body]} if method.client_streaming else body)

    with ThreadPoolExecutor(len(METHODS)) as pool:
        return dict(zip((method.name for method in METHODS), pool.map(call, METHODS), strict=True))


def check_all(url: str, status: int, grpc_status: str, *, hidden: str) -> None:
    answers = ask_all(url)
    assert {name: (each.status, each.json["grpc_status"]) for name, each in answers.items()} == dict.fromkeys(
        answers, (status, grpc_status)
    )
    assert [name for name, each in answers.items() if hidden in each.body.decode()] == []
    assert ask(url, "/v1/pictures/red").status == status
    assert ask(url, "/v1/embeddings", {"input": "a"}).json["error"]["code"] == grpc_status.lower()
    assert ask(url, "/readyz").status == 503
    assert ask(url, "/healthz").status == 200


def test_a_service_that_is_gone() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with served_web(address, timeout_s=5) as url:
            check_all(url, 503, "UNAVAILABLE", hidden="127.0.0.1")
            answer = ask(url, "/v1/list-composers", {})
    assert answer.json["detail"] == "the search service does not answer; try again later"
    assert answer.headers["retry-after"] == "1"


def test_a_service_that_is_slow() -> None:
    stop = threading.Event()
    with grpc_service(lambda request, context: stop.wait(60)) as address, served_web(address, timeout_s=0.3) as url:
        answers = ask_all(url)
        stop.set()
    assert {(each.status, each.json["detail"]) for each in answers.values()} == {
        (504, "the search service did not answer in time")
    }


def test_a_service_of_another_version() -> None:
    with grpc_service(None) as address, served_web(address) as url:
        check_all(url, 501, "UNIMPLEMENTED", hidden="Method not found")


def test_a_stream_that_is_refused_at_once_never_loses_the_reason() -> None:
    with grpc_service(None) as address, served_web(address) as url:
        answers = [ask(url, "/v1/compose-search-stream", {"requests": [{}]}) for _ in range(200)]
    assert Counter((each.status, each.json["grpc_status"]) for each in answers) == {(501, "UNIMPLEMENTED"): 200}


def test_a_service_whose_answers_are_other_messages() -> None:
    with grpc_service(lambda request, context: b"\xff\xff\xff") as address, served_web(address) as url:
        check_all(url, 500, "INTERNAL", hidden="deserializ")


def test_a_service_that_fails_inside() -> None:
    def failing(request: Any, context: Any) -> bytes:
        raise RuntimeError("secret of 10.0.0.1")

    with grpc_service(failing) as address, served_web(address) as url:
        check_all(url, 500, "INTERNAL", hidden="secret")


def test_the_sentence_of_the_gateway_is_passed_on() -> None:
    def full(request: Any, context: Any) -> None:
        context.set_trailing_metadata([("x-request-id", "a")])
        context.abort(grpc.StatusCode.UNAVAILABLE, "the vector store is unavailable")

    with grpc_service(full) as address, served_web(address, timeout_s=5) as url:
        answer = ask(url, "/v1/collection-info", {})
    assert (answer.status, answer.json["detail"]) == (503, "the vector store is unavailable")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_its_own(code: grpc.StatusCode) -> None:
    def refusing(request: Any, context: Any) -> None:
        context.set_trailing_metadata([("x-request-id", "a")])
        context.abort(code, "why")

    with grpc_service(refusing) as address, served_web(address, timeout_s=5) as url:
        answer = ask(url, "/v1/collection-info", {})
    assert (answer.json["grpc_status"], answer.json["detail"]) == (code.name, "why")
    assert answer.status == answer.json["status"] >= 400


def test_what_is_no_grpc_service() -> None:
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with http_server(Page) as page, served_web(page, timeout_s=5) as url:
        answer = ask(url, "/v1/list-composers", {})
    assert (answer.status, answer.json["grpc_status"]) == (503, "UNAVAILABLE")


def test_a_stream_that_breaks_ends_with_an_error() -> None:
    class Breaking(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(self.answer)

        @staticmethod
        def answer(requests: Any, context: Any) -> Iterator[bytes]:
            yield b""
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost 10.0.0.1")

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Breaking()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with served_web(f"127.0.0.1:{port}") as url:
        events = ask(url, "/v1/compose-search-stream", {"requests": [{}]}).events
    server.stop(0)
    assert [name for name, _ in events] == ["message", "error"]
    assert (events[1][1]["status"], events[1][1]["grpc_status"]) == (503, "UNAVAILABLE")
    assert "10.0.0.1" not in str(events)


def test_a_name_that_does_not_exist_yet_is_looked_up_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_LOOK_UP_S", 0.0)
    (method,) = (each for each in METHODS if each.name == "ListComposers")
    asked = []

    async def ask_often() -> None:
        service = Upstream(names.address)
        for _ in range(3):
            with pytest.raises(Problem, match="does not answer"):
                await service.call(method, method.request(), [])
            asked.append(names.asked)
        await service.close()

    with UnknownNames() as names:
        asyncio.run(ask_often())
    assert asked == sorted(set(asked))
