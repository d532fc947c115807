"""What Serve's gRPC proxies register: SCOT's services, whose every answer passes here on its way out.

A proxy speaks for itself when a replica dies with a request in its hands: INTERNAL, with the actor's id, process and
address. Callers get UNAVAILABLE and one sentence instead, which :mod:`scot.client` takes as the word to ask again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from scot.v1 import index_pb2_grpc, search_pb2_grpc
from services.search.edge import INTERNAL_SENTENCE

AWAY = "a part of the service is away; try again"
# Who cancels a call does not wait for its answer: a CANCELLED that somebody reads is the proxy's, under load.
_ITS_OWN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
_SPEAKS_OF_ITSELF = {code.value[0] for code in _ITS_OWN}

Register = Callable[[Any, Any], None]


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
    """Let the proxy's handlers of these methods, which it makes while they are registered, be watched."""
    make = getattr(server, "service_handler_factory", None)
    if make is None:  # whoever only asks which methods there are
        add(servicer, server)
        return

    def make_watched(service_method: str, streaming_type: Any) -> Any:
        handler = make(service_method=service_method, streaming_type=streaming_type)
        return _stream(handler) if streaming_type.value.endswith("_stream") else _unary(handler)

    server.service_handler_factory = make_watched
    try:
        add(servicer, server)
    finally:
        server.service_handler_factory = make


def _unary(handler: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def watched(request: Any, context: Any) -> Any:
        response = await handler(request, context)
        _mind(context)
        return response

    return watched


def _stream(handler: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def watched(request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in handler(request, context):
            yield response
        _mind(context)

    return watched


def _mind(context: Any) -> None:
    """Replace what the proxy says of itself; what a Gateway answers (:mod:`services.search.edge`) stays."""
    code = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    if number in _SPEAKS_OF_ITSELF and context.details() != INTERNAL_SENTENCE:
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details(AWAY)
