"""Request bodies: whole in memory before they are parsed, within limits of size, time and memory of all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from services.web.problems import Problem, invalid

_CLOSE = {"connection": "close"}  # the rest of such a body is not read


class ClientGone(Exception):
    """The client closed the connection; nobody reads an answer."""


class Bodies:
    """Reads bodies.

    Args:
        max_bytes: of one body.
        max_total: of the bodies of all requests under way.
        timeout_s: in which a body must arrive.
    """

    def __init__(self, max_bytes: int, max_total: int, timeout_s: float) -> None:
        self._max_bytes, self._max_total, self._timeout_s = max_bytes, max_total, timeout_s
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body; it counts as held while the block runs.

        Raises:
            Problem: it is too large (413), too slow (408), compressed (415), or too much is held already (503).
            ClientGone: the client left before the end.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise invalid("send the body without content-encoding", 415, **_CLOSE)
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._fill(body, request)
            except TimeoutError:
                detail = f"the body did not arrive within {self._timeout_s:g} seconds"
                raise Problem("DEADLINE_EXCEEDED", detail, 408, _CLOSE) from None
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) + len(chunk) > self._max_bytes:
                raise self._too_large()
            if self._held + len(chunk) > self._max_total:
                raise Problem("UNAVAILABLE", "too many large requests are under way; try again later", 0, _CLOSE)
            body += chunk
            self._held += len(chunk)

    def _too_large(self) -> Problem:
        return invalid(f"the body has more than {self._max_bytes:,} bytes", 413, **_CLOSE)
