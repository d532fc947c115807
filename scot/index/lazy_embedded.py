"""The embedded store of a process that may start while the one before it still has the store open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scot.errors import Conflict, Unavailable
from scot.index.embedded import Call, Connection, T, embedded


class LazyEmbedded:
    """Opens the embedded engine on a folder with the first call that finds it free; until then calls are Unavailable.

    So a service that takes over from another (an upgrade) starts, says that it is not serving, and serves as soon as
    the other has ended.
    """

    embedded = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: Connection | None = None

    async def call(self, work: Call[T], collection: str = "", *, already_there: bool = False) -> T | Any:
        """As :class:`~scot.index.embedded.Connection`.

        Raises:
            Unavailable: another process still has the store open.
        """
        if self._opened is None:
            try:
                self._opened = embedded(self._path)
            except Conflict as error:
                raise Unavailable("the vector store is still open in another process") from error
        return await self._opened.call(work, collection, already_there=already_there)

    async def close(self) -> None:
        """Let go of the store, if it was opened."""
        if self._opened is not None:
            await self._opened.close()
