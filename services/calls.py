"""The envelope of every call of every service: API key, request id, gRPC status, log line, metrics and span.

Whatever fails inside, a caller gets one of the codes of :data:`scot.errors.GRPC_STATUS` with one sentence, and nothing
about the process, the address or the stack. Nothing here needs Ray: what Ray Serve adds is in
:mod:`services.search.serve_calls`.
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
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc

from scot.errors import ScotError, grpc_status
from scot.keys import Role
from services.access import Caller, Keys

INTERNAL_SENTENCE = "something went wrong inside the service"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request: the caller's ``x-request-id``, or a new one."""
_admit_again: ContextVar[Callable[[], Caller] | None] = ContextVar("admit_again", default=None)


class CallMetrics(Protocol):
    """Counts calls."""

    def request(self, method: str, code: str, seconds: float) -> None:
        """Count one call, by its gRPC code."""


class CallContext(Protocol):
    """What the envelope needs of a service's context; the methods of the service get the same object."""

    @property
    def keys(self) -> Keys | None:
        """The API keys; None: the service needs no key."""

    @property
    def metrics(self) -> CallMetrics:
        """Where calls are counted."""


class CallSpan(Protocol):
    """The trace span of a call."""

    def note(self, **attributes: str | float) -> None:
        """Set attributes; ``__`` in a name stands for a dot."""

    def failed(self) -> None:
        """Mark the call as failed."""


def count_request() -> None:
    """Count one request of the current stream, whose key may have been revoked since the stream began.

    Raises:
        Overloaded: the key is over its rate.
        Unauthenticated, PermissionDenied: the key is no longer known, or no longer has the role.
    """
    if (admit := _admit_again.get()) is not None:
        admit().spend()


@dataclass(frozen=True, slots=True)
class Envelope:
    """Makes gRPC methods of plain functions ``method(context, request_or_stream)``.

    The methods belong to a class whose attribute ``context`` is a :class:`CallContext`. With ``context.keys`` set, the
    caller needs a key with the method's role; role ``None`` leaves the method open. A unary request counts against the
    rate of its key; a method counts the requests of a stream itself, with :func:`count_request`.
    """

    logger: logging.Logger
    """Gets one JSON line for each call."""
    to_scot_error: Callable[[BaseException], BaseException] = lambda error: error
    """Replaces errors of the framework by this project's."""
    cancelled: tuple[type[BaseException], ...] = (asyncio.CancelledError,)
    """What a method raises when its caller has cancelled."""
    span: Callable[[str, bool], AbstractContextManager[CallSpan]] | None = None
    """Begins the span of a method by its name; the bool: spans that begin inside are its children."""
    raise_in_streams: bool = False
    """Whether the server needs an exception to end a stream with the status that was set (Ray Serve does)."""

    def public_error(self, error: BaseException) -> tuple[str, str]:
        """The name of the status code and the sentence that a caller may see."""
        error = self.to_scot_error(error)
        if isinstance(error, ScotError):
            return grpc_status(error), str(error)
        return "INTERNAL", INTERNAL_SENTENCE

    def unary(
        self, method: Callable[[Any, Any], Awaitable[Any]], empty: type, *, role: Role | None = "read"
    ) -> Callable[..., Any]:
        """A gRPC method with one response; ``empty`` is the response type."""

        async def handler(service: Any, request: Any, grpc_context: Any) -> Any:
            with self._span(method, True) as span, _Call(self, service.context, method, grpc_context, span) as call:
                try:
                    call.admit(role, counted=not isinstance(request, AsyncIterator))
                    return await method(service.context, request)
                except self.cancelled:
                    call.status = "CANCELLED"
                    raise
                except Exception as error:
                    call.fail(error)
                    # With a code set, the server sends the status alone. An exception would lose the trailing metadata
                    # and write a stack into the log for every malformed request.
                    return empty()

        return _named(handler, method)

    def streaming(
        self, method: Callable[[Any, Any], AsyncIterator[Any]], *, role: Role | None = "read"
    ) -> Callable[..., Any]:
        """A gRPC method with a stream of responses."""
        cancelled: tuple[type[BaseException], ...] = (*self.cancelled, GeneratorExit)

        async def handler(service: Any, request: Any, grpc_context: Any) -> AsyncIterator[Any]:
            with self._span(method, False) as span, _Call(self, service.context, method, grpc_context, span) as call:
                try:
                    call.admit(role, counted=not isinstance(request, AsyncIterator))
                    async for response in method(service.context, request):
                        yield response
                except cancelled:
                    call.status = "CANCELLED"
                    raise
                except Exception as error:
                    call.fail(error)
                    if self.raise_in_streams:
                        raise ScotError(call.message) from None

        return _named(handler, method)

    def _span(self, method: Callable[..., Any], current: bool) -> AbstractContextManager[CallSpan | None]:
        return nullcontext() if self.span is None else self.span(method.__name__, current)


class _Call:
    """One call: from its metadata to its status, log line and metrics."""

    def __init__(
        self,
        envelope: Envelope,
        context: CallContext,
        method: Callable[..., Any],
        grpc_context: Any,
        span: CallSpan | None,
    ) -> None:
        self._envelope, self._context, self._method = envelope, context, method.__name__
        self._grpc, self._span = grpc_context, span
        self._metadata = dict(grpc_context.invocation_metadata())
        sent = str(self._metadata.get("x-request-id", ""))
        self._id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        self.status, self.message, self._key = "OK", "", ""

    def __enter__(self) -> _Call:
        self._begun = time.perf_counter()
        request_id.set(self._id)
        self._grpc.set_trailing_metadata([("x-request-id", self._id)])
        return self

    def admit(self, role: Role | None, *, counted: bool) -> None:
        """Check the API key. Raises Unauthenticated, PermissionDenied, Overloaded."""
        if self._context.keys is None or role is None:
            return
        admit = partial(self._context.keys.admit, str(self._metadata.get("authorization", "")), role)
        _admit_again.set(admit)
        caller = admit()
        self._key = caller.key.name
        if counted:
            caller.spend()

    def fail(self, error: Exception) -> None:
        """Set the status of a call that failed."""
        self.status, self.message = self._envelope.public_error(error)
        if self.status == "INTERNAL":
            self._envelope.logger.error("request %s failed", self._id, exc_info=error)
        self._grpc.set_code(grpc.StatusCode[self.status])
        self._grpc.set_details(self.message)

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._begun
        self._context.metrics.request(self._method, self.status, seconds)
        if self._span is not None:
            self._span.note(rpc__method=self._method, rpc__grpc__status_code=self.status, scot__request_id=self._id)
            if self.status not in ("OK", "CANCELLED"):
                self._span.failed()
        event = {"event": "request", "method": self._method, "status": self.status, "seconds": round(seconds, 6)}
        if self._key:
            event["key"] = self._key
        if self.message:
            event["message"] = self.message
        self._envelope.logger.info(json.dumps({**event, "request_id": self._id}, ensure_ascii=False))


def _named(handler: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    # Not functools.wraps: Serve reads the signature to see whether the method takes a context.
    handler.__name__ = handler.__qualname__ = method.__name__
    handler.__doc__ = inspect.getdoc(method)
    return handler
