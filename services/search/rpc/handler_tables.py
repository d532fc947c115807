"""Wrap the handlers of a gRPC service while it is registered.

The one place that uses private parts of Ray Serve and grpc: Serve's proxies make their handlers with
``service_handler_factory``; generated code registers handlers with ``_method_handlers``. A test names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Add = Callable[[Any, Any], None]
"""Generated code that registers a servicer at a server."""
Parsers = Mapping[str, Callable[[bytes], Any]]
"""The parser of requests, by the method's full name."""
Wrap = Callable[[str, str, Any], Any]
"""From the full name of a method, its kind, such as ``unary_stream``, and its behavior to the wrapped behavior."""


def register(
    add: Callable[[Any, Any], None],
    servicer: Any,
    server: Any,
    parsers: Mapping[str, Callable[[bytes], Any]],
    wrap: Wrap,
) -> None:
    """Call ``add(servicer, server)``; every handler gets its method's parser of ``parsers`` and a wrapped behavior."""
    wrapping = _WrappingServer(server, parsers, wrap)
    make = getattr(server, "service_handler_factory", None)
    if make is None:  # a server of grpc.aio, or a caller that only lists the methods
        add(servicer, wrapping)
        return

    def make_wrapped(service_method: str, streaming_type: Any) -> Any:
        return wrap(
            service_method, streaming_type.value, make(service_method=service_method, streaming_type=streaming_type)
        )

    server.service_handler_factory = make_wrapped
    try:
        add(servicer, wrapping)
    finally:
        server.service_handler_factory = make


class _WrappingServer:
    def __init__(self, server: Any, parsers: Parsers, wrap: Wrap) -> None:
        self._server, self._parsers, self._wrap = server, parsers, wrap

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

    def _replaced(self, method: str, handler: Any) -> Any:
        request, response = (
            "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
        )
        kind = f"{request}_{response}"
        wrapped = {kind: self._wrap(method, kind, getattr(handler, kind))}
        return handler._replace(request_deserializer=self._parsers[method], **wrapped)
