"""uvicorn's HTTP protocol with limits of the headers' time and size, which uvicorn does not have.

The one place that uses methods of uvicorn's protocol; a test names them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10
_HEAD = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are slow or large; the first request of a connection has its time too."""

    header_timeout_s = 10.0
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: Any) -> None:
        """A new connection."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of a connection."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        """The end of a request's headers."""
        self._cancel()
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The end of a request."""
        super().on_message_complete()
        self._in_headers, self._header_bytes = True, 0

    def _begin(self) -> None:
        self._cancel()
        self._timer = self.loop.call_later(self.header_timeout_s, self._refuse, b"408 Request Timeout")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: bytes) -> None:
        self._cancel()
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:  # else it would stand inside another answer
                self.transport.write(_HEAD % status)
            self.transport.close()


def bounded(timeout_s: float) -> type[BoundedProtocol]:
    """The protocol with this time for headers, in seconds."""
    return type("Protocol", (BoundedProtocol,), {"header_timeout_s": timeout_s})
