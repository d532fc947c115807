"""What every request passes through: request id, origin, security headers, problem details, metrics, log line."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.bodies import ClientGone
from services.web.calls import CALL, Call
from services.web.metrics import IN_FLIGHT, SECONDS
from services.web.origins import Origins
from services.web.problems import Problem

logger = logging.getLogger("scot.web")

INTERNAL_SENTENCE = "something went wrong inside the web service"
API_CSP = "default-src 'none'; frame-ancestors 'none'"
_SECURITY = (
    (b"content-security-policy", API_CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HTTP_PROBLEMS = {
    404: ("NOT_FOUND", "there is no such address; /docs lists what there is"),
    405: ("UNIMPLEMENTED", "this address does not know the HTTP method"),
}


class Envelope:
    """Middleware around the routes.

    Args:
        app: the routes.
        origins: which web pages may call.
        max_in_flight: requests at a time; more are refused.
        log_all: write a line for each request, and not only for one that fails here or behind.
    """

    def __init__(self, app: ASGIApp, origins: Origins, *, max_in_flight: int, log_all: bool) -> None:
        self._app, self._origins, self._max, self._log_all = app, origins, max_in_flight, log_all
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        headers = Headers(scope=scope)
        call = Call.of(headers)
        scope["app"], scope[CALL] = self, call
        sent = _Sent(send, [*_own_headers(call), *self._origins.headers(headers)])
        begun = time.perf_counter()
        self._in_flight += 1
        IN_FLIGHT.inc()
        problem: Problem | None = None
        try:
            if self._in_flight > self._max:
                raise Problem("RESOURCE_EXHAUSTED", "the web service is at its limit; try again later", 503)
            if not await self._origins.answered(scope, headers, receive, sent):
                call.check()
                await self._app(scope, receive, sent)
        except ClientGone:
            sent.status = 499
        except Exception as error:
            problem = _problem(error)
            if problem.status == 500 and problem.detail == INTERNAL_SENTENCE:
                logger.error("request %s failed", call.request_id, exc_info=error)
            if sent.status:
                raise  # the answer has begun: the connection is closed, so that its reader sees that it broke off
            await problem.response(call.request_id)(scope, receive, sent)
        finally:
            self._in_flight -= 1
            IN_FLIGHT.dec()
            self._report(scope, call, sent.status or 499, problem, time.perf_counter() - begun)

    def _report(self, scope: Scope, call: Call, status: int, problem: Problem | None, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        exemplar = {"trace_id": trace} if (trace := call.sampled_trace) else None
        SECONDS.labels(route or "none", str(status)).observe(seconds, exemplar)
        if status < 500 and (not self._log_all or (route in ("/healthz", "/readyz") and status < 400)):
            return
        event: dict[str, Any] = {"event": "request", "method": scope["method"], "path": route, "status": status}
        if problem is not None:
            event["message"] = problem.detail
        event |= {"seconds": round(seconds, 6), "request_id": call.request_id}
        logger.info(json.dumps(event, ensure_ascii=False))


class _Sent:
    """Sends with the headers of every answer, and remembers the status."""

    def __init__(self, send: Send, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._send, self._headers = send, headers
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message.get("headers", ())}
            more = [pair for pair in self._headers if pair[0] not in given]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)


def _own_headers(call: Call) -> list[tuple[bytes, bytes]]:
    own = [(b"x-request-id", call.request_id.encode()), (b"cache-control", b"no-store"), *_SECURITY]
    if call.traceparent:
        own.append((b"traceparent", call.traceparent.encode()))
    return own


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.status_code in _HTTP_PROBLEMS:
        status, sentence = _HTTP_PROBLEMS[error.status_code]
        return Problem(status, sentence, error.status_code, dict(error.headers or {}))
    return Problem("INTERNAL", INTERNAL_SENTENCE)
