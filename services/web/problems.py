"""Errors as problem details (RFC 9457), with the gRPC status beside the HTTP one.

What gRPC itself says of a failed connection names addresses; a caller gets one of the sentences here instead.
"""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from starlette.responses import Response

HTTP_STATUS: Mapping[str, int] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
"""The HTTP status of each gRPC status, as https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto."""
MEDIA_TYPE = "application/problem+json"
_TITLES = {499: "Client Closed Request"}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"www-authenticate": "Bearer"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
_MAX_DETAIL = 500  # characters: a sentence may quote the value that it refuses
OTHER_VERSION = "the search service is of another version: it does not know this method or cannot be understood"
_OURS: Mapping[str, tuple[str, str]] = {
    "CANCELLED": ("RESOURCE_EXHAUSTED", "the service is at its limit and dropped the call; try again later"),
    "DEADLINE_EXCEEDED": ("DEADLINE_EXCEEDED", "the search service did not answer in time"),
    "UNAVAILABLE": ("UNAVAILABLE", "the search service does not answer; try again later"),
    "UNIMPLEMENTED": ("UNIMPLEMENTED", OTHER_VERSION),
    "INTERNAL": ("INTERNAL", OTHER_VERSION),
    "UNKNOWN": ("INTERNAL", OTHER_VERSION),
}
"""What replaces the words of gRPC itself, by its status: our status and sentence."""


@dataclass(eq=False)
class Problem(Exception):
    """A request that fails: its gRPC status, one sentence, and the HTTP status where the table has another."""

    grpc_status: str
    detail: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.status = self.status or HTTP_STATUS[self.grpc_status]
        if len(self.detail) > _MAX_DETAIL:
            self.detail = f"{self.detail[: _MAX_DETAIL - 1]}…"

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem details object."""
        return {
            "type": "about:blank",
            "title": _TITLES.get(self.status) or http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "grpc_status": self.grpc_status,
            "request_id": request_id,
            **self.extensions,
        }

    def response(self, request_id: str) -> Response:
        """The HTTP response."""
        headers = {**_HEADERS.get(self.status, {}), **self.headers}
        content = json.dumps(self.document(request_id), ensure_ascii=False).encode("utf-8", "replace")
        return Response(content, self.status, headers, MEDIA_TYPE)


def invalid(detail: str, status: int = 0, **headers: str) -> Problem:
    """A malformed request."""
    return Problem("INVALID_ARGUMENT", detail, status, headers)


def from_rpc(error: grpc.aio.AioRpcError) -> Problem:
    """The problem of a failed gRPC call.

    The gateway sends ``x-request-id`` with every answer; without it the sentence may be gRPC's own.
    """
    status = error.code().name
    from_gateway = any(name == "x-request-id" for name, _ in error.trailing_metadata() or ())
    if not from_gateway and status in _OURS:
        return Problem(*_OURS[status])
    return Problem(status, error.details() or status)
