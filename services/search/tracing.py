"""OpenTelemetry traces, when ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector that speaks OTLP over gRPC.

Ray Serve creates the spans of its proxies and replicas and passes the context from one deployment to the next. This
module exports them and adds the gateway's own spans. Without the endpoint, nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from scot.errors import InvalidInput, install_hint

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc"


def wanted() -> bool:
    """Whether to send traces; the variables are OpenTelemetry's own, and its exporter reads them too."""
    return any(os.environ.get(name) for name in _ENDPOINTS)


def environment() -> Mapping[str, str]:
    """The variables that Ray Serve's processes need before they start; a variable that is set already stays.

    Raises:
        InvalidInput: an endpoint is set, but the exporter is not installed.
    """
    if not wanted():
        return {}
    try:
        found = importlib.util.find_spec(_EXPORTER)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise InvalidInput(f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need: {install_hint('otel')}")
    ours = {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": f"{__name__}:exporters",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "1.0",
        "OTEL_SERVICE_NAME": "scot-search",
    }
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def exporters() -> list[Any]:
    """Span processors; Ray Serve calls this in each of its processes."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return [BatchSpanProcessor(OTLPSpanExporter())]


class Span:
    """A running span, or nothing when traces are off."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def note(self, **attributes: str | float) -> None:
        """Set attributes; ``__`` in a name stands for a dot."""
        if self._span is not None:
            self._span.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})

    def failed(self) -> None:
        """Mark the span as failed."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


@contextmanager
def span(name: str, *, current: bool = True, **attributes: str | float) -> Iterator[Span]:
    """A span of the block; with ``current``, spans that begin inside are its children.

    The steps of a stream may run in different contexts, so the span of a stream is not current.
    """
    if not wanted():
        yield Span()
        return
    from opentelemetry import trace

    begun = trace.get_tracer("scot.search").start_span(name)
    made = Span(begun)
    made.note(**attributes)
    try:
        with trace.use_span(begun, record_exception=False) if current else nullcontext():
            yield made
    finally:
        begun.end()
