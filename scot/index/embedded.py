"""The embedded store: Qdrant's engine in this process, on a folder (:mod:`scot.index.shard` has one collection).

    STORE/.lock                    held while a process has the store open
    STORE/store.json               the format's version, and the aliases
    STORE/collections/NAME/        one collection

The engine builds its graph in one call that holds Python's global lock for as long as it takes. So another process
builds it, on a copy, which then takes the shard's place; searches go on meanwhile, and writes wait only for the copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from scot.data.atomic_io import write_json
from scot.errors import Conflict, InvalidInput, NotFound, ScotError, Unavailable
from scot.index.config import CollectionConfig, SearchParams
from scot.index.engine import Point, Search, Stored
from scot.index.filters import Filter
from scot.index.shard import INDEXED_FROM, MANIFEST, Shard
from scot.index.store_folder import check_room, check_room_for_copy, open_folder

T = TypeVar("T")

logger = logging.getLogger("scot.index")

FORMAT = 2
_STORE = "store.json"
_NAME = re.compile(r'[^<>:"/\\|?*\x00-\x1f]{1,200}')
_QUIET_S = 2.0
"""How long a collection must not have been written before its graph is built in the background."""

_OPTIMIZE = """
import os, sys, qdrant_edge
hasattr(os, "nice") and os.nice(10)
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.flush()
shard.close()
"""


class EmbeddedEngine:
    """An :class:`~scot.index.engine.Engine` on a folder, which is created if it is missing.

    Args:
        path: the folder.
        wait: open the folder with the first call that finds it free; until then calls raise Unavailable. Thus a
            service that replaces another one starts, and serves as soon as the other has ended.

    Raises:
        Conflict: another process has the store open (unless ``wait``).
        InvalidInput: the folder cannot be made or read, or an older version of SCOT wrote it.
    """

    embedded = True

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedded-store")
        self._open: contextlib.ExitStack | None = None
        self._aliases: dict[str, str] = {}
        self._collections: dict[str, _Collection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._making = asyncio.Lock()
        if not wait:
            self._acquire()

    async def create(
        self, name: str, dim: int, config: CollectionConfig, metadata: Mapping[str, Any], *, graph: bool = True
    ) -> None:
        """See :class:`~scot.index.engine.Engine`, as all methods here; a graph is built after a load in any case."""
        await self._ready()
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is not a valid name of a collection")
        folder = self._folder(name)
        async with self._making:  # several callers may need a collection at once: the first one makes it
            if not folder.exists():
                await self._run(Shard.create, folder, dim, config, metadata)

    async def build_graph(self, name: str, config: CollectionConfig) -> None:
        await self._collection(name)

    async def describe(self, name: str) -> Stored:
        shard = (await self._collection(name)).shard
        points = await self._run(lambda: shard.points)
        index = dict(each.rsplit(":", 1) for each in shard.config.payload_index)
        return Stored(points, shard.metadata, index, shard.config.quantization, True)

    async def names(self) -> list[str]:
        await self._ready()
        return sorted(unquote(found.parent.name) for found in self._path.glob(f"collections/*/{MANIFEST}"))

    async def aliases(self) -> dict[str, str]:
        await self._ready()
        return dict(sorted(self._aliases.items()))

    async def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        await self._ready()
        after = {alias: target for alias, target in {**self._aliases, **changes}.items() if target is not None}
        await self._run(self._write_aliases, after)

    async def drop(self, name: str) -> None:
        collection = await self._collection(name)
        async with collection.writing:
            collection.stop()
            del self._collections[name]
            await self._run(collection.shard.close)
            kept = {alias: target for alias, target in self._aliases.items() if target != name}
            await self._run(self._write_aliases, kept)
            await self._run(shutil.rmtree, self._folder(name))

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        check_room(self._path)
        async with self._changing(name, [each.id for each in points]) as shard:
            await self._run(shard.upsert, points)

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        async with self._changing(name, ids) as shard:
            await self._run(shard.delete, ids)

    async def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Point]:
        collection = await self._collection(name)
        return await self._run(lambda: collection.shard.retrieve(ids, vectors=with_vectors))

    async def query(self, name: str, search: Search, params: SearchParams) -> list[Point]:
        collection = await self._collection(name)
        return await self._run(lambda: collection.shard.query(search, params))

    async def count(self, name: str, filter: Filter | None = None) -> int:
        collection = await self._collection(name)
        return await self._run(lambda: collection.shard.count(filter))

    async def facet(
        self, name: str, field: str, kind: str, *, filter: Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        collection = await self._collection(name)
        return await self._run(lambda: collection.shard.facet(field, kind, filter, limit))

    async def scroll(
        self,
        name: str,
        *,
        after: str | None,
        limit: int,
        filter: Filter | None = None,
        keys: Sequence[str] | None = None,
    ) -> tuple[list[Point], str | None]:
        collection = await self._collection(name)
        return await self._run(lambda: collection.shard.scroll(after, limit, filter, keys))

    async def optimize(self, name: str) -> None:
        collection = await self._collection(name)
        if collection.optimizing is not None:
            await asyncio.wait([collection.optimizing])
        if await self._run(lambda: collection.shard.unindexed) >= INDEXED_FROM:
            await self._optimize(collection)

    async def close(self) -> None:
        for collection in self._collections.values():
            collection.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for collection in self._collections.values():
            async with collection.writing:
                await self._run(collection.shard.close)
        self._collections.clear()
        self._thread.shutdown(wait=True)
        if self._open is not None:
            self._open.close()

    @contextlib.asynccontextmanager
    async def _changing(self, name: str, ids: Sequence[str]) -> AsyncIterator[Shard]:
        """The shard of a collection, to be written by one caller at a time."""
        collection = await self._collection(name)
        async with collection.writing:
            yield collection.shard
            if collection.changed is not None:
                collection.changed.update(ids)
            collection.written = time.monotonic()
        if collection.optimizing is None and await self._run(lambda: collection.shard.unindexed) >= INDEXED_FROM:
            collection.optimizing = task = asyncio.create_task(self._optimize_later(collection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _optimize_later(self, collection: _Collection) -> None:
        try:
            # A load in progress would be followed for ever; and it is compared one by one, which is quick enough.
            while not collection.stopped and time.monotonic() - collection.written < _QUIET_S:
                await asyncio.sleep(_QUIET_S / 4)
            if not collection.stopped:
                await self._optimize(collection)
        except ScotError as error:
            logger.error("the graph of %s is not built: %s", collection.shard.folder.name, error)
        finally:
            collection.optimizing = None

    async def _optimize(self, collection: _Collection) -> None:
        """Let another process build the graph on a copy, and put that in the shard's place."""
        async with collection.writing:
            check_room_for_copy(self._path, collection.shard.folder)
            copied = await asyncio.get_running_loop().run_in_executor(None, collection.shard.copy)
            collection.changed = set()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _OPTIMIZE, str(copied), stderr=asyncio.subprocess.PIPE
            )
            collection.process = process
            _, said = await process.communicate()
            collection.process = None
            if process.returncode or collection.stopped:
                await asyncio.to_thread(shutil.rmtree, copied, ignore_errors=True)
            if process.returncode and not collection.stopped:
                raise Unavailable(f"the engine failed: {said.decode(errors='replace').strip().rpartition(chr(10))[2]}")
            if not collection.stopped:
                async with collection.writing:
                    await self._run(collection.shard.adopt, sorted(collection.changed))
        finally:
            collection.changed = None

    async def _collection(self, name: str) -> _Collection:
        await self._ready()
        name = self._aliases.get(name, name)
        if name in self._collections:
            return self._collections[name]
        async with self._making:  # the engine opens a shard once
            if name not in self._collections:
                folder = self._folder(name)
                if not (folder / MANIFEST).is_file():
                    raise NotFound(f"there is no collection {name!r}")
                self._collections[name] = _Collection(await self._run(Shard, folder))
            return self._collections[name]

    async def _ready(self) -> None:
        if self._open is None:
            try:
                self._acquire()
            except Conflict as error:
                raise Unavailable("the vector store is still open in another process") from error

    def _acquire(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(open_folder(self._path))
            if (self._path / "meta.json").exists() and (self._path / "collection").is_dir():
                raise InvalidInput(
                    f"the store at {self._path} was written by an older version of SCOT: index the pictures again, "
                    "into another folder"
                )
            file = self._path / _STORE
            if file.exists():
                values = json.loads(file.read_text(encoding="utf-8"))
                if values["format"] != FORMAT:
                    raise InvalidInput(f"the store at {self._path} was written by another version of SCOT")
                self._aliases = dict(values["aliases"])
            else:
                self._write_aliases({})
            (self._path / "collections").mkdir(exist_ok=True)
            self._open = stack.pop_all()

    def _write_aliases(self, aliases: Mapping[str, str]) -> None:
        write_json(self._path / _STORE, {"format": FORMAT, "aliases": dict(aliases)})
        self._aliases = dict(aliases)

    def _folder(self, name: str) -> Path:
        return self._path / "collections" / quote(name, safe=" ")

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run on the one thread that uses the engine, in the order of the calls."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except OSError as error:
            raise Unavailable(f"the vector store failed: {error.strerror or error}") from error
        except Exception as error:
            if type(error) is not Exception:  # which is all that the engine raises
                raise
            logger.error("the vector store failed: %s", error)
            raise Unavailable("the vector store failed") from error


class _Collection:
    """An open collection and what happens to it."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.writing = asyncio.Lock()
        self.written = 0.0
        """When it was last written, by the monotonic clock."""
        self.changed: set[str] | None = None
        """The ids of the points written since the copy that is being optimized."""
        self.optimizing: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.stopped = False

    def stop(self) -> None:
        """Give up building the graph."""
        self.stopped = True
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
