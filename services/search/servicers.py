"""What Serve's gRPC proxies register: SCOT's services, whose every request and answer passes here.

A request that is no message is refused before it reaches a replica, and so is one too many, where a proxy has met the
service's limit just before. And a proxy speaks for itself when a replica dies with a request in its hands: INTERNAL,
with the actor's id, process and address. Callers get UNAVAILABLE and one sentence instead, which :mod:`scot.client`
takes as the word to ask again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ray.util.metrics import Counter

from scot.v1 import index_pb2, index_pb2_grpc, search_pb2, search_pb2_grpc
from services.calls import AWAY_SENTENCE, FULL_SENTENCE, INTERNAL_SENTENCE
from services.search.rpc.load_shedding import Shedding
from services.search.rpc.malformed_requests import MalformedRequest, reader

# Who cancels a call does not wait for its answer: a CANCELLED that somebody reads is the proxy's, under load.
_ITS_OWN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
_SPEAKS_OF_ITSELF = {code.value[0] for code in _ITS_OWN}
_FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
_BACKPRESSURE = "Request dropped due to backpressure"  # so it says that a queue is full

Register = Callable[[Any, Any], None]

_READERS = {
    f"/{service.full_name}/{method.name}": reader(getattr(file, method.input_type.name))
    for file in (search_pb2, index_pb2, health_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def add_search(servicer: Any, server: Any) -> None:
    """Register scot.v1.SearchService."""
    _register(search_pb2_grpc.add_SearchServiceServicer_to_server, servicer, server)


def add_index(servicer: Any, server: Any) -> None:
    """Register scot.v1.IndexService."""
    _register(index_pb2_grpc.add_IndexServiceServicer_to_server, servicer, server)


def add_health(servicer: Any, server: Any) -> None:
    """Register grpc.health.v1.Health."""
    _register(health_pb2_grpc.add_HealthServicer_to_server, servicer, server)


def _register(add: Register, servicer: Any, server: Any) -> None:
    """Let the handlers of these methods be watched; a proxy makes its own while they are registered."""
    make, watched = getattr(server, "service_handler_factory", None), _Watched(server)
    if make is None:  # a server of grpc.aio, or whoever only asks which methods there are
        add(servicer, watched)
        return

    def make_watched(service_method: str, streaming_type: Any) -> Any:
        made = make(service_method=service_method, streaming_type=streaming_type)
        return watched.behaviour(streaming_type.value, made)

    server.service_handler_factory = make_watched
    try:
        add(servicer, watched)
    finally:
        server.service_handler_factory = make


class _Watched:
    """A server to register at, which gets handlers that read requests as we do and whose behaviour is watched."""

    def __init__(self, server: Any) -> None:
        self._server, self._shedding = server, _shedding(server)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        for handler in handlers:
            handler._method_handlers = {
                method: self._replaced(method, each) for method, each in handler._method_handlers.items()
            }
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        if hasattr(self._server, "add_registered_method_handlers"):
            replaced = {name: self._replaced(f"/{service}/{name}", each) for name, each in handlers.items()}
            self._server.add_registered_method_handlers(service, replaced)

    def behaviour(self, kind: str, made: Any) -> Any:
        """The same behaviour, watched."""
        return _stream(made) if kind.endswith("_stream") else _unary(made, self._shedding)

    def _replaced(self, method: str, handler: Any) -> Any:
        asks, answers = (
            "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
        )
        kind = f"{asks}_{answers}"
        made = {kind: self.behaviour(kind, getattr(handler, kind))}
        return handler._replace(request_deserializer=_READERS[method], **made)


@cache
def _shedding(server: Any) -> Shedding:
    """One for all the services of a server."""
    return Shedding(Counter("scot_search_shed", "Calls that a proxy refused before Serve saw them.").inc)


def _unary(behaviour: Callable[[Any, Any], Awaitable[Any]], shedding: Shedding) -> Callable[[Any, Any], Awaitable[Any]]:
    async def watched(request: Any, context: Any) -> Any:
        requests = _Requests(request)
        await requests.refuse_unreadable(context)
        if shedding.refuses():
            await context.abort(_FULL, FULL_SENTENCE)
        with shedding.passing():
            response = await behaviour(requests.readable, context)
            await requests.refuse_unreadable(context)
            if _mind(context):
                shedding.met_the_limit()
        return response

    return watched


def _stream(behaviour: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def watched(request: Any, context: Any) -> AsyncIterator[Any]:
        requests = _Requests(request)
        await requests.refuse_unreadable(context)
        # Closed when the caller goes: left to the garbage collector, it would go on for a while.
        async with aclosing(behaviour(requests.readable, context)) as responses:
            async for response in responses:
                yield response
        await requests.refuse_unreadable(context)
        _mind(context)

    return watched


class _Requests:
    """What a caller sends: one request, or a stream, which ends for the service where one of it cannot be read."""

    def __init__(self, request: Any) -> None:
        self._unreadable = request if isinstance(request, MalformedRequest) else None
        self.readable = self._until_unreadable(request) if hasattr(request, "__aiter__") else request

    async def refuse_unreadable(self, context: Any) -> None:
        """End the call with INVALID_ARGUMENT when something could not be read."""
        if self._unreadable is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, self._unreadable.sentence)

    async def _until_unreadable(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            if isinstance(request, MalformedRequest):
                self._unreadable = request
                return
            yield request


def _mind(context: Any) -> bool:
    """Replace what the proxy says of itself; what a Gateway answers (:mod:`services.calls`) stays.

    Whether the proxy says that the service is at its limit.
    """
    code = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    if number in _SPEAKS_OF_ITSELF and context.details() != INTERNAL_SENTENCE:
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details(AWAY_SENTENCE)
    full = number == _FULL.value[0] and str(context.details()).startswith(_BACKPRESSURE)
    if full:
        context.set_details(FULL_SENTENCE)
    return full
