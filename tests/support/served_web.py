"""The web service in this process: the real application on uvicorn in a thread, and HTTP requests to it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import uvicorn

from services.web.app import build
from services.web.config import WebConfig
from services.web.protocol import bounded


@contextmanager
def served_web(address: str, **settings: Any) -> Iterator[str]:
    """The web service of a search service at ``address``; its URL."""
    config = WebConfig(address=address, **settings)
    listening = socket.create_server((config.host, 0))
    begun: list[uvicorn.Server] = []
    ready = threading.Event()

    async def serve() -> None:
        protocol = bounded(config.header_timeout_s)
        application = uvicorn.Config(
            build(config), http=protocol, ws="none", lifespan="on", log_config=None, timeout_graceful_shutdown=5
        )
        begun.append(uvicorn.Server(application))
        ready.set()
        await begun[0].serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(30)
    try:
        yield f"http://localhost:{listening.getsockname()[1]}"
    finally:
        begun[0].should_exit = True
        thread.join()


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events as their name and their data."""
        found = []
        for block in self.body.decode().strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((fields.get("event", "message"), json.loads(fields["data"])))
        return found


def connected(url: str) -> socket.socket:
    """A connection to send bytes of one's own."""
    return socket.create_connection(("localhost", int(url.rpartition(":")[2])), timeout=60)


def ask(url: str, path: str, body: Any = None, *, method: str = "", raw: bytes | None = None, **headers: str) -> Answer:
    """Send one request: JSON of ``body``, or the bytes of ``raw``; ``content_type=`` sets the header content-type."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    content = raw if raw is not None else None if body is None else json.dumps(body).encode()
    if content is not None:
        sent.setdefault("content-type", "application/json")
    try:
        connection.request(method or ("GET" if content is None else "POST"), path, content, sent)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()
