"""The gRPC services that Serve's proxies register; every request and answer passes through here.

A malformed request is refused before it reaches a replica; so is one that the service cannot answer in time. When a
replica dies during a request, a proxy answers INTERNAL with the actor's id, process and address. Callers get
UNAVAILABLE and one sentence instead; :mod:`scot.client` then retries.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import cache
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ray.util.metrics import Counter

from scot.errors import InvalidInput
from scot.v1 import index_pb2, index_pb2_grpc, search_pb2, search_pb2_grpc
from services.calls import INTERNAL_SENTENCE
from services.search.rpc.admission import Admission, Arrival, Refused
from services.search.rpc.handler_tables import register
from services.search.rpc.limits import BULK_INPUTS
from services.search.rpc.malformed_requests import MalformedRequest, reader
from services.search.serve_calls import FULL_SENTENCE, UNAVAILABLE_SENTENCE

# A caller that cancels does not wait for the answer: a CANCELLED that somebody receives is the proxy's, under load.
_PROXY_CODES = {
    code.value[0] for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
}
Unary = Callable[[Any, Any], Awaitable[Any]]
"""The behavior of a method with one response."""
_HEALTH = "/grpc.health.v1.Health/"
_BULK = ("UpsertItems", "DeleteItems")
_FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
_BACKPRESSURE = "Request dropped due to backpressure"  # the proxy's sentence for a full queue

_PARSERS = {
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


def _register(add: Callable[[Any, Any], None], servicer: Any, server: Any) -> None:
    admission = _admission(server)

    def wrap(method: str, kind: str, behavior: Any) -> Any:
        if kind.endswith("_stream"):
            return _stream(behavior)
        unlimited = kind != "unary_unary" or method.startswith(_HEALTH)
        return _unary(behavior) if unlimited else _admitted(method, behavior, admission)

    register(add, servicer, server, _PARSERS, wrap)


@cache
def _admission(server: Any) -> Admission:
    """One for all the services of a server."""
    shed = Counter("scot_search_shed", "Calls that a proxy refused before Serve saw them, by the reason.", ("reason",))
    return Admission(lambda reason: shed.inc(tags={"reason": reason}))


def _unary(behavior: Unary) -> Unary:
    async def wrapped(request: Any, context: Any) -> Any:
        requests = _Requests(request)
        await requests.refuse_malformed(context)
        response = await behavior(requests.valid, context)
        await requests.refuse_malformed(context)
        _replace_proxy_status(context)
        return response

    return wrapped


def _admitted(method: str, behavior: Unary, admission: Admission) -> Unary:
    async def wrapped(request: Any, context: Any) -> Any:
        if isinstance(request, MalformedRequest):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.sentence)
        try:
            arrival = _arrival(method, request, context)
            admission.check(arrival)
        except InvalidInput as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Refused as refused:
            await context.abort(_FULL, str(refused))
        with admission.passing(arrival) as call:
            response = await behavior(request, context)
            if _replace_proxy_status(context):
                admission.serve_is_full()
            call.answered = context.code() in (None, 0, grpc.StatusCode.OK)
        return response

    return wrapped


def _arrival(method: str, request: Any, context: Any) -> Arrival:
    metadata = dict(context.invocation_metadata())
    priority = metadata.get("x-priority", "interactive")
    if priority not in ("interactive", "bulk"):
        raise InvalidInput("x-priority: must be interactive or bulk")
    name = method.rpartition("/")[2]
    if name == "ComposeSearch" and request.HasField("rerank"):
        name = "ComposeSearch, rerank"  # it waits for a judge, which says nothing of how long other searches take
    many = name in _BULK or (name == "Encode" and len(request.inputs) > BULK_INPUTS)
    key = str(metadata.get("authorization", ""))
    return Arrival(name, key, many or priority == "bulk", context.time_remaining())


def _stream(behavior: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def wrapped(request: Any, context: Any) -> AsyncIterator[Any]:
        requests = _Requests(request)
        await requests.refuse_malformed(context)
        # Closed when the caller leaves: the garbage collector would close it later, and it would run until then.
        async with aclosing(behavior(requests.valid, context)) as responses:
            async for response in responses:
                yield response
        await requests.refuse_malformed(context)
        _replace_proxy_status(context)

    return wrapped


class _Requests:
    """One request, or a stream of requests, which ends for the service at the first malformed one."""

    def __init__(self, request: Any) -> None:
        self._malformed = request if isinstance(request, MalformedRequest) else None
        self.valid = self._until_malformed(request) if hasattr(request, "__aiter__") else request

    async def refuse_malformed(self, context: Any) -> None:
        """End the call with INVALID_ARGUMENT if a request was malformed."""
        if self._malformed is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, self._malformed.sentence)

    async def _until_malformed(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            if isinstance(request, MalformedRequest):
                self._malformed = request
                return
            yield request


def _replace_proxy_status(context: Any) -> bool:
    """Replace the proxy's own status; that of a Gateway (:mod:`services.calls`) stays.

    Returns whether the proxy reports that the service is at its limit.
    """
    code = context.code()
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    if number in _PROXY_CODES and context.details() != INTERNAL_SENTENCE:
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details(UNAVAILABLE_SENTENCE)
    full = number == _FULL.value[0] and str(context.details()).startswith(_BACKPRESSURE)
    if full:
        context.set_details(FULL_SENTENCE)
    return full
