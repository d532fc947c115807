"""What the gallery needs of Qdrant, and the embedded way to it; :mod:`scot.index.remote` is the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qdrant_client import AsyncQdrantClient

from scot.data.atomic_io import locked
from scot.errors import Conflict, InvalidInput, NotFound, Unavailable

T = TypeVar("T")
Call = Callable[[AsyncQdrantClient], Coroutine[Any, Any, T]]

_LOCK_FILE = ".lock"  # the name the embedded client locks


class Connection(Protocol):
    """One open Qdrant client."""

    embedded: bool
    """Whether it is the engine in this process, which knows no payload indexes and compares every vector."""

    async def call(self, work: Call[T], collection: str = "", *, already_there: bool = False) -> T | Any:
        """Run ``work`` on the client; failures come out as :class:`~scot.errors.ScotError`.

        With ``already_there``, a collection that exists already is no failure.
        """

    async def close(self) -> None:
        """Release what the connection holds."""


def embedded(path: Path) -> Connection:
    """Open Qdrant's embedded engine on a folder, which is created when missing.

    Raises:
        Conflict: another process has it open.
        InvalidInput: the folder cannot be made or read.
    """
    # The embedded client loads every collection before it takes its lock. Look at the lock first, and a store in use is
    # refused at once, not read while it is being written.
    check_free(path)
    try:
        return _Embedded(AsyncQdrantClient(path=str(path), force_disable_check_same_thread=True))
    except OSError as error:
        raise InvalidInput(f"the store at {path} cannot be opened: {error.strerror or error}") from error
    except RuntimeError as error:
        if "already accessed" in str(error):
            raise _in_use(path) from error
        raise


def check_free(path: Path) -> None:
    """Make the embedded store's folder when it is missing, and see that nobody has the store open.

    Raises:
        Conflict: another process has it open.
        InvalidInput: the folder cannot be made or written.
    """
    try:
        with locked(path / _LOCK_FILE, wait=False, what=f"the store at {path}", busy=str(_in_use(path))):
            pass
    except Unavailable as error:
        raise InvalidInput(str(error)) from error


def _in_use(path: Path) -> Conflict:
    return Conflict(f"the store at {path} is open in another process; stop that one first, or use a Qdrant server")


class _Embedded:
    """The embedded engine works inside the call; a thread of its own keeps the event loop free, and the order."""

    embedded = True

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedded-qdrant")

    async def call(self, work: Call[T], collection: str = "", *, already_there: bool = False) -> T | Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _drive, work(self._client))
        except ValueError as error:
            if "not found" in str(error):
                raise NotFound(f"there is no collection {collection!r}") from error
            if "already exists" in str(error) and already_there:
                return None
            raise InvalidInput(f"the store refused the request: {error}") from error

    async def close(self) -> None:
        await self._client.close()
        self._thread.shutdown(wait=True)


def _drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, as none of the embedded client's does, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("the embedded client waited for something")
