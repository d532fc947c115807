"""What a request brings for the gRPC call: its key, its request id and its trace context."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from services.web.problems import Problem

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)  # as services.calls accepts it
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_PRINTABLE = re.compile(r"[ -~]{1,8192}")
CALL = "scot.call"
"""The key of a request's scope that holds its :class:`Call`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as gRPC metadata."""

    request_id: str
    metadata: tuple[tuple[str, str], ...]
    traceparent: str
    named: bool
    """Whether the caller gave a request id or a trace context, to find the call by."""

    @property
    def authorization(self) -> str:
        """The header with the key; empty if there is none."""
        return dict(self.metadata).get("authorization", "")

    @property
    def sampled_trace(self) -> str:
        """The trace id, if the caller's trace is sampled; else empty."""
        if not self.traceparent:
            return ""
        _, trace, _, flags = self.traceparent.split("-", 4)[:4]
        return trace if int(flags, 16) & 1 else ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Call:
        """Of a request's headers. What is malformed of the request id and the trace context is left out."""
        sent = headers.get("x-request-id", "")
        has_id = _REQUEST_ID.fullmatch(sent) is not None
        request_id = sent if has_id else uuid.uuid4().hex
        metadata = [("x-request-id", request_id)]
        traceparent = headers.get("traceparent", "")
        if _TRACEPARENT.fullmatch(traceparent):
            names = ("traceparent", "tracestate", "baggage")
            metadata += [(name, headers[name]) for name in names if _PRINTABLE.fullmatch(headers.get(name, ""))]
        else:
            traceparent = ""
        if authorization := headers.get("authorization", ""):
            metadata.append(("authorization", authorization))
        return cls(request_id, tuple(metadata), traceparent, named=has_id or bool(traceparent))

    def check(self) -> None:
        """Raises Problem: the key has characters that no key has, and that gRPC cannot send."""
        if not all(_PRINTABLE.fullmatch(value) for _, value in self.metadata):
            raise Problem("UNAUTHENTICATED", "this API key is not known")
