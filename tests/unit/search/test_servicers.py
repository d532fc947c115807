"""A Serve proxy's own statuses never reach a caller."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from ray.serve._private.grpc_util import gRPCGenericServer
from ray.serve._private.proxy_request_response import gRPCStreamingType
from ray.serve.exceptions import BackPressureError

from scot.v1 import search_pb2, search_pb2_grpc
from services.calls import INTERNAL_SENTENCE
from services.search.serve_calls import FULL_SENTENCE, UNAVAILABLE_SENTENCE
from services.search.servicers import _admission, add_search

FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
DIED = "The actor died unexpectedly. pid=4711 ip=10.0.0.7 /usr/lib/python/worker.py"


def proxy(code: grpc.StatusCode, details: str) -> Callable[..., Any]:
    """Handlers like those of Serve's proxy, which answer everything so."""

    def factory(service_method: str, streaming_type: gRPCStreamingType) -> Any:
        async def unary(_: Any, context: Any) -> bytes:
            context.set_code(code)
            context.set_details(details)
            return b""

        async def stream(_: Any, context: Any) -> AsyncIterator[bytes]:
            yield search_pb2.ComposeSearchResponse(request_id="1").SerializeToString()
            context.set_code(code)
            context.set_details(details)

        return stream if streaming_type.value.endswith("_stream") else unary

    return factory


async def answers(code: grpc.StatusCode, details: str) -> list[tuple[grpc.StatusCode, str]]:
    """What a caller of a unary method and of a stream gets."""
    server = gRPCGenericServer(proxy(code, details))
    add_search(search_pb2_grpc.SearchServiceServicer(), server)
    port = server.add_insecure_port("localhost:0")
    await server.start()
    got = []
    try:
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)
            call = stub.ComposeSearch(search_pb2.ComposeSearchRequest(), timeout=20)
            got.append((await call.code(), await call.details()))
            stream = stub.ComposeSearchStream(iter([]), timeout=20)
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert [response.request_id async for response in stream] == ["1"]
            got.append((await stream.code(), await stream.details()))
    finally:
        await server.stop(None)
    return got


def test_a_full_queue_is_reported_without_its_numbers() -> None:
    details = BackPressureError(num_queued_requests=32, max_queued_requests=32).message
    assert asyncio.run(answers(FULL, details)) == [(FULL, FULL_SENTENCE)] * 2


def test_what_would_be_refused_is_refused_before_serve_sees_it() -> None:
    """A proxy with room for two: once it has refused a third, it is asked for no more than two until it has room."""
    calls: list[asyncio.Event] = []

    async def two(_: Any, context: Any) -> bytes:
        done = asyncio.Event()
        calls.append(done)
        if sum(not each.is_set() for each in calls) > 2:
            done.set()
            context.set_code(FULL)
            context.set_details(BackPressureError(num_queued_requests=2, max_queued_requests=2).message)
        await done.wait()
        return b""

    async def ask() -> None:
        server = gRPCGenericServer(lambda service_method, streaming_type: two)
        add_search(search_pb2_grpc.SearchServiceServicer(), server)
        port = server.add_insecure_port("localhost:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)

            def call() -> Any:
                return stub.ComposeSearch(search_pb2.ComposeSearchRequest(), timeout=20)

            first = [call(), call()]
            while len(calls) < 2:
                await asyncio.sleep(0.01)
            refused = [await call().code() for _ in range(5)]
            assert set(refused) == {FULL}
            assert len(calls) == 3
            for event in calls:
                event.set()
            assert [await each.code() for each in first] == [grpc.StatusCode.OK] * 2
            again = call()
            while len(calls) < 4:
                await asyncio.sleep(0.01)
            calls[-1].set()
            assert await again.code() is grpc.StatusCode.OK
        await server.stop(None)

    asyncio.run(ask())


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED])
def test_a_replica_that_died_is_unavailable_without_its_address(code: grpc.StatusCode) -> None:
    assert asyncio.run(answers(code, DIED)) == [(grpc.StatusCode.UNAVAILABLE, UNAVAILABLE_SENTENCE)] * 2


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.OK, ""),
        (grpc.StatusCode.INTERNAL, INTERNAL_SENTENCE),
        (grpc.StatusCode.INVALID_ARGUMENT, "limit: must be 1 to 1,000"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "the service is at its limit; try again later"),
    ],
)
def test_what_the_gateway_answers_stays(code: grpc.StatusCode, details: str) -> None:
    assert asyncio.run(answers(code, details)) == [(code, details)] * 2


def test_priority_and_deadline_decide_before_serve_sees_a_call() -> None:
    """A proxy whose one search takes a while: a bulk call beside it is let in, what would be too late is not."""
    going_on, begun = asyncio.Event(), list[str]()

    async def slow(_: Any, context: Any) -> bytes:
        begun.append(dict(context.invocation_metadata())["name"])
        await going_on.wait()
        return b""

    async def ask() -> None:
        server = gRPCGenericServer(lambda service_method, streaming_type: slow)
        add_search(search_pb2_grpc.SearchServiceServicer(), server)
        port = server.add_insecure_port("localhost:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)

            def call(name: str, *, timeout: float = 20, **metadata: str) -> Any:
                sent = [("name", name), *((key.replace("_", "-"), value) for key, value in metadata.items())]
                return stub.ComposeSearch(search_pb2.ComposeSearchRequest(), timeout=timeout, metadata=sent)

            async def is_begun(name: str) -> None:
                while name not in begun:
                    await asyncio.sleep(0.01)

            _admission(server)._alone_s["ComposeSearch"] = 40.0  # as if searches had taken so long
            search, bulk = call("search", timeout=90), call("bulk", timeout=90, x_priority="bulk")
            await is_begun("search")
            await is_begun("bulk")
            hurried = call("hurried", timeout=30)
            assert await hurried.code() is FULL
            assert re.search(
                r"answers in about 40\.00 seconds now, and this call may take (29|30)", await hurried.details()
            )
            unknown = call("unknown", x_priority="urgent")
            assert await unknown.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await unknown.details() == "x-priority: must be interactive or bulk"
            going_on.set()
            assert [await each.code() for each in (search, bulk)] == [grpc.StatusCode.OK] * 2
        await server.stop(None)

    asyncio.run(ask())
    assert sorted(begun) == ["bulk", "search"]
