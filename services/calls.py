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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from scot.errors import ScotError, grpc_status
from scot.keys import ApiKey, Role
from services.access import Caller, Keys

INTERNAL_SENTENCE = "something went wrong inside the service"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request: the caller's ``x-request-id``, or a new one."""
current_key: ContextVar[ApiKey | None] = ContextVar("current_key", default=None)
"""The key of the current request; None where a service or a method needs none."""
_noted: ContextVar[dict[str, Any] | None] = ContextVar("noted", default=None)
_admit_again: ContextVar[Callable[[], Caller] | None] = ContextVar("admit_again", default=None)


async def count_request(request: Any) -> None:
    """Count a request of the current stream, whose key may have been revoked since the stream began.

    Raises:
        Overloaded: the key is over a limit.
        Unauthenticated, PermissionDenied: the key is no longer known, or no longer has the role.
    """
    if (admit := _admit_again.get()) is not None:
        caller = admit()
        current_key.set(caller.key)
        await caller.spend(partial(_size, request))


def note(**fields: str | int) -> None:
    """Add fields to the log line of the current call."""
    if (noted := _noted.get()) is not None:
        noted.update(fields)


@dataclass(slots=True)
class _Call:
    """One call: its key, and how it ended."""

    context: Any
    metadata: dict[str, Any]
    status: str = "OK"
    message: str = ""
    key: str = ""

    async def admit(self, role: Role | None, request: Any) -> None:
        """Check the API key. Raises Unauthenticated, PermissionDenied, Overloaded."""
        keys: Keys | None = self.context.keys
        if keys is None or role is None:
            return
        admit = partial(keys.admit, str(self.metadata.get("authorization", "")), role)
        _admit_again.set(admit)
        caller = admit()
        self.key = caller.key.name
        current_key.set(caller.key)
        if not isinstance(request, AsyncIterator):
            await caller.spend(partial(_size, request))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Makes gRPC methods of plain functions ``method(context, request_or_stream)``.

    The methods belong to a class with an attribute ``context``; ``context.metrics.request(method, code, seconds)``
    counts a call. With ``context.keys`` set, the caller needs a key with the method's role; role ``None`` leaves the
    method open. A unary request counts against the limits of its key; a method counts the requests of a stream itself,
    with :func:`count_request`.
    """

    logger: logging.Logger
    """Gets one JSON line for each call."""
    to_scot_error: Callable[[BaseException], BaseException] = lambda error: error
    """Replaces errors of the framework by this project's."""
    cancelled: tuple[type[BaseException], ...] = (asyncio.CancelledError, GeneratorExit)
    """What a method raises when its caller has cancelled."""
    span: Callable[[str, bool], AbstractContextManager[Any]] = lambda name, current: nullcontext()
    """Begins the trace span of a method by its name; the bool: spans that begin inside are its children."""
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
            with self._call(service.context, method.__name__, grpc_context, current=True) as call:
                await call.admit(role, request)
                return await method(service.context, request)
            # With a code set, the server sends the status alone. An exception would lose the trailing metadata and
            # write a stack into the log for every malformed request.
            return empty()

        return _named(handler, method)

    def streaming(
        self, method: Callable[[Any, Any], AsyncIterator[Any]], *, role: Role | None = "read"
    ) -> Callable[..., Any]:
        """A gRPC method with a stream of responses."""

        async def handler(service: Any, request: Any, grpc_context: Any) -> AsyncIterator[Any]:
            with self._call(service.context, method.__name__, grpc_context, current=False) as call:
                await call.admit(role, request)
                async for response in method(service.context, request):
                    yield response
            if call.status != "OK" and self.raise_in_streams:
                raise ScotError(call.message)

        return _named(handler, method)

    @contextmanager
    def _call(self, context: Any, method: str, grpc_context: Any, *, current: bool) -> Iterator[_Call]:
        """The envelope itself; an exception inside sets the status of the call, and only a cancellation leaves it."""
        begun, call = time.perf_counter(), _Call(context, dict(grpc_context.invocation_metadata()))
        sent = str(call.metadata.get("x-request-id", ""))
        identity = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request_id.set(identity)
        noted: dict[str, Any] = {}
        _noted.set(noted)
        grpc_context.set_trailing_metadata([("x-request-id", identity)])
        with self.span(method, current) as span:
            try:
                yield call
            except self.cancelled:
                call.status = "CANCELLED"
                raise
            except Exception as error:
                call.status, call.message = self.public_error(error)
                if call.status == "INTERNAL":
                    self.logger.error("request %s failed", identity, exc_info=error)
                grpc_context.set_code(grpc.StatusCode[call.status])
                grpc_context.set_details(call.message)
            finally:
                seconds = time.perf_counter() - begun
                context.metrics.request(method, call.status, seconds)
                if span is not None:
                    span.note(rpc__method=method, rpc__grpc__status_code=call.status, scot__request_id=identity)
                    if call.status not in ("OK", "CANCELLED"):
                        span.failed()
                event = {"event": "request", "method": method, "status": call.status, "seconds": round(seconds, 6)}
                optional = {"key": call.key, **noted, "message": call.message}
                event |= {name: value for name, value in optional.items() if value != ""}
                self.logger.info(json.dumps({**event, "request_id": identity}, ensure_ascii=False))


def _size(request: Any) -> int:
    """The bytes of a request; protobuf serializes it to know them."""
    return request.ByteSize() if isinstance(request, Message) else 0  # a malformed one is refused by its method


def _named(handler: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    # Not functools.wraps: Serve reads the signature to see whether the method takes a context.
    handler.__name__ = handler.__qualname__ = method.__name__
    handler.__doc__ = inspect.getdoc(method)
    return handler
