"""The stores that the same tests run against: embedded, over gRPC, and a real Qdrant server when there is one.

``SCOT_TEST_QDRANT_URL`` is its address (``SCOT_TEST_QDRANT_GRPC_PORT`` its gRPC port, by default 6334) and
``SCOT_TEST_QDRANT_API_KEY_FILE`` or ``SCOT_TEST_QDRANT_API_KEY`` its key, ``SCOT_TEST_QDRANT_CA`` who signed its
certificate; tests leave nothing behind there.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scot.index.config import ServerConfig
from scot.index.store import GalleryStore
from tests.support.qdrant_server import qdrant_server

SERVER_URL = os.environ.get("SCOT_TEST_QDRANT_URL")
KINDS = ("embedded", "grpc", *(["server"] if SERVER_URL else []))


@dataclass(frozen=True)
class Place:
    """Where a test's store is; every name of the test begins with ``prefix``."""

    open: Callable[[], GalleryStore]
    prefix: str

    @property
    def gallery(self) -> str:
        """The collection that most tests use."""
        return f"{self.prefix}gallery"

    def run(self, work: Callable[[GalleryStore], Awaitable[None]]) -> None:
        """Open the store, do the work, close it."""

        async def opened() -> None:
            store = self.open()
            try:
                await work(store)
            finally:
                await store.close()

        asyncio.run(opened())


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """A place of one of :data:`KINDS`, empty and left empty."""
    here = Place(lambda: GalleryStore.open(path=folder), f"t{uuid.uuid4().hex[:12]}-")
    if kind == "embedded":
        yield here
        return
    if kind == "grpc":
        with qdrant_server() as server:
            config = ServerConfig(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port)
            yield Place(lambda: GalleryStore.open(server=config), here.prefix)
        return
    there = Place(lambda: GalleryStore.open(server=real_server(folder)), here.prefix)
    try:
        yield there
    finally:
        there.run(lambda store: _drop_all(store, there.prefix))


def real_server(folder: Path) -> ServerConfig:
    """The server of the environment."""
    key = os.environ.get("SCOT_TEST_QDRANT_API_KEY_FILE")
    file = Path(key) if key else None
    if file is None and (text := os.environ.get("SCOT_TEST_QDRANT_API_KEY")):
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "key"
        file.write_text(text)
    port = int(os.environ.get("SCOT_TEST_QDRANT_GRPC_PORT", "6334"))
    ca = Path(os.environ["SCOT_TEST_QDRANT_CA"]) if "SCOT_TEST_QDRANT_CA" in os.environ else None
    return ServerConfig(SERVER_URL, port, qdrant_api_key_file=file, qdrant_ca=ca, qdrant_timeout_s=30.0)


async def _drop_all(store: GalleryStore, prefix: str) -> None:
    for name in await store.list():
        if name.startswith(prefix):
            await store.engine.drop(name)
