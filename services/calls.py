"""Where a request enters and leaves: its key, its id, its one line in the log, and errors as gRPC statuses.

Whatever goes wrong inside, a caller sees one of the codes of :data:`scot.errors.GRPC_STATUS` with one sentence, and
nothing of the process, address or stack that it came from.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import grpc
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, gRPCStatusError
from ray.serve.grpc_util import RayServegRPCContext

from scot.errors import Overloaded, ScotError, Unavailable, grpc_status
from scot.keys import Role
from services.access import Caller, Keys
from services.search.tracing import Span, span

logger = logging.getLogger("ray.serve")

AWAY_SENTENCE = "a part of the service is away; try again"
FULL_SENTENCE = "the service is at its limit; try again later"
INTERNAL_SENTENCE = "something went wrong inside the service"
# The caller has gone: told to this process, or by the proxy when the next request of a stream is asked for.
_GIVEN_UP = (asyncio.CancelledError, TaskCancelledError)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered: the caller's ``x-request-id``, or a new one."""
_admit_again: ContextVar[Callable[[], Caller] | None] = ContextVar("admit_again", default=None)


def public_error(error: BaseException) -> tuple[str, str]:
    """The status code's name and the sentence that a caller may see."""
    while isinstance(error, RayTaskError):  # another deployment raised it; its text holds a remote stack
        error = error.cause
    if isinstance(error, BackPressureError):
        error = Overloaded(FULL_SENTENCE)
    elif isinstance(error, (DeploymentUnavailableError, RayError)):  # a replica, a worker or a node that is gone
        error = Unavailable(AWAY_SENTENCE)
    if isinstance(error, ScotError):
        return grpc_status(error), str(error)
    return "INTERNAL", INTERNAL_SENTENCE


def drop_told(record: logging.LogRecord) -> bool:
    """A filter of Serve's log: leave out the stack of a refused stream, which has its line from here already."""
    return not (record.exc_info and isinstance(record.exc_info[1], gRPCStatusError))


def count_request() -> None:
    """Count one request of the stream that is being answered, whose key may have been taken back since it began.

    Raises:
        Overloaded: over the rate of the caller's key.
        Unauthenticated, PermissionDenied: the key is no longer known, or no longer for this.
    """
    if (admit := _admit_again.get()) is not None:
        admit().spend()


def unary(
    method: Callable[[Any, Any], Awaitable[Any]], empty: type, *, role: Role | None = "read"
) -> Callable[..., Any]:
    """A Serve gRPC method around ``method(self, request_or_stream)``; ``empty`` is the response type.

    ``self.metrics`` counts the call. Where ``self.keys`` is set, the caller needs a key of that role; ``None`` leaves
    the method open. A request counts against the rate of its key; those of a stream are the method's to count, by
    :func:`count_request`.
    """

    async def handler(self: Any, request: Any, grpc_context: RayServegRPCContext) -> Any:
        with span(method.__name__) as traced, _Request(self, method.__name__, grpc_context, traced) as call:
            try:
                call.admit(role, counted=not isinstance(request, AsyncIterator))
                return await method(self, request)
            except _GIVEN_UP:
                call.status = "CANCELLED"
                raise
            except Exception as error:
                call.fail(error)
                # With a code set, Serve sends the status alone. Raising instead would lose the trailing metadata and
                # write a stack into the log for every malformed request.
                return empty()

    return _named(handler, method)


def streaming(method: Callable[[Any, Any], AsyncIterator[Any]], *, role: Role | None = "read") -> Callable[..., Any]:
    """The same for ``method(self, request_or_stream)`` that yields responses."""

    async def handler(self: Any, request: Any, grpc_context: RayServegRPCContext) -> AsyncIterator[Any]:
        with (
            span(method.__name__, current=False) as traced,
            _Request(self, method.__name__, grpc_context, traced) as call,
        ):
            try:
                call.admit(role, counted=not isinstance(request, AsyncIterator))
                async for response in method(self, request):
                    yield response
            except (*_GIVEN_UP, GeneratorExit):
                call.status = "CANCELLED"
                raise
            except Exception as error:
                call.fail(error)
                # Serve sends what is set here along with the next response, of which there is none: only raised does
                # the status of a stream arrive, without the trailing metadata.
                raise ScotError(call.message) from None

    return _named(handler, method)


class _Request:
    def __init__(self, gateway: Any, method: str, context: RayServegRPCContext, traced: Span) -> None:
        given = dict(context.invocation_metadata()).get("x-request-id", "")
        self._id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self._gateway, self._method, self._context = gateway, method, context
        self.status, self.message, self._key, self._traced = "OK", "", "", traced

    def __enter__(self) -> _Request:
        self._begun = time.perf_counter()
        request_id.set(self._id)
        self._context.set_trailing_metadata([("x-request-id", self._id)])
        return self

    def admit(self, role: Role | None, *, counted: bool) -> None:
        keys: Keys | None = self._gateway.keys
        if keys is None or role is None:
            return
        admit = partial(keys.admit, str(dict(self._context.invocation_metadata()).get("authorization", "")), role)
        _admit_again.set(admit)
        caller = admit()
        self._key = caller.key.name
        if counted:
            caller.spend()

    def fail(self, error: Exception) -> None:
        self.status, self.message = public_error(error)
        if self.status == "INTERNAL":
            logger.error("request %s failed", self._id, exc_info=error)
        self._context.set_code(grpc.StatusCode[self.status])
        self._context.set_details(self.message)

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._begun
        self._gateway.metrics.request(self._method, self.status, seconds)
        self._traced.note(rpc__method=self._method, rpc__grpc__status_code=self.status, scot__request_id=self._id)
        if self.status not in ("OK", "CANCELLED"):
            self._traced.failed()
        event = {"event": "request", "method": self._method, "status": self.status, "seconds": round(seconds, 6)}
        if self._key:
            event["key"] = self._key
        if self.message:
            event["message"] = self.message
        logger.info(json.dumps({**event, "request_id": self._id}, ensure_ascii=False))


def _named(handler: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    # Not functools.wraps: Serve reads the signature to see whether the method takes a context.
    handler.__name__ = handler.__qualname__ = method.__name__
    handler.__doc__ = inspect.getdoc(method)
    return handler
