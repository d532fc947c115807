"""``scot collections``: list, create, swap, roll back and drop the collections of a store, without the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import tyro

from scot.commands.columns import print_columns
from scot.encoders import load_encoder
from scot.errors import Conflict, EncoderMismatch, NotFound
from scot.index import aliases
from scot.index.config import CollectionConfig
from scot.index.remote import ServerConfig
from scot.index.store import GalleryStore

T = TypeVar("T")


@dataclass(frozen=True)
class StorePlace:
    """Which store."""

    store: Path = Path("scot-data/qdrant")
    """Folder of an embedded store that no service has open; not used with --qdrant-url."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """The Qdrant server, when it is one."""

    @asynccontextmanager
    async def opened(self, *, create: bool = False) -> AsyncIterator[GalleryStore]:
        """The store, closed afterwards. Raises NotFound when there is no folder and none is to be made."""
        server = self.qdrant.qdrant_url is not None
        if not (server or create or self.store.is_dir()):
            raise NotFound(f"there is no store at {self.store}; name its folder with --store, or use --qdrant-url")
        store = GalleryStore.open(path=None if server else self.store, server=self.qdrant)
        try:
            yield store
        finally:
            await store.close()


@dataclass(frozen=True)
class ListConfig:
    """List the collections of a store: items, encoder, indexes, and the aliases that point to them.

    Example: scot collections list --store scot-data/qdrant
    """

    place: StorePlace = field(default_factory=StorePlace)
    """Where the collections are."""


@dataclass(frozen=True)
class CreateConfig:
    """Create a collection before anything is stored: NAME-1 behind the alias NAME, which a service is told to use.

    Example: scot collections create gallery --qdrant-url http://qdrant:6333 --payload-index kind:keyword price:float
    """

    name: tyro.conf.Positional[str]
    """The alias."""
    encoder: str = "tiny"
    """Which encoder will make the vectors: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    place: StorePlace = field(default_factory=StorePlace)
    """Where the collection will be."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """How it is laid out on a server."""


@dataclass(frozen=True)
class SwapConfig:
    """Let an alias mean another collection from one request to the next; what it meant before is remembered.

    Example: scot collections swap gallery gallery-2 --qdrant-url http://qdrant:6333
    """

    alias: tyro.conf.Positional[str]
    """The alias."""
    collection: tyro.conf.Positional[str]
    """The collection."""
    force: bool = False
    """Also if it is empty, still being indexed, or of another encoder."""
    place: StorePlace = field(default_factory=StorePlace)
    """Where the collection is."""


@dataclass(frozen=True)
class RollbackConfig:
    """Let an alias mean again what it meant before the last swap; done again, it undoes itself.

    Example: scot collections rollback gallery --qdrant-url http://qdrant:6333
    """

    alias: tyro.conf.Positional[str]
    """The alias."""
    place: StorePlace = field(default_factory=StorePlace)
    """Where its collections are."""


@dataclass(frozen=True)
class DropConfig:
    """Delete a collection that no alias points to, with all that is in it.

    Example: scot collections drop gallery-1 --qdrant-url http://qdrant:6333
    """

    collection: tyro.conf.Positional[str]
    """The collection."""
    force: bool = False
    """Also if a rollback would go back to it."""
    place: StorePlace = field(default_factory=StorePlace)
    """Where the collection is."""


def list_collections(config: ListConfig) -> int:
    """Print one line a collection, also of those that SCOT did not make. Raises NotFound when there is none."""

    async def rows(store: GalleryStore) -> list[tuple[str, ...]]:
        names = await store.engine.names()
        known = await store.engine.aliases()
        return [await _cells(store, name, [alias for alias, at in known.items() if at == name]) for name in names]

    found = _in(config.place, rows)
    if not found:
        raise NotFound("the store holds no collection yet; `scot collections create NAME` makes one")
    print_columns([_TITLES, *found])
    return 0


def create(config: CreateConfig) -> int:
    """Make a collection and say so. Raises Conflict when the name is taken, InvalidInput for an unknown encoder."""

    async def work(store: GalleryStore) -> None:
        taken = [*await store.engine.aliases(), *await store.engine.names()]
        if config.name in taken:
            raise Conflict(f"there is {config.name!r} already; `scot collections reindex` builds another behind it")
        encoder = load_encoder(config.encoder, device="cpu")
        await store.ensure(config.name, encoder.id, encoder.dim, config.layout)
        print(f"created {config.name}-1 behind the alias {config.name}, for the encoder {encoder.id}")

    _in(config.place, work, create=True)
    return 0


def swap(config: SwapConfig) -> int:
    """Swap and say what was before. Raises NotFound, Conflict, EncoderMismatch as :func:`scot.index.aliases.swap`."""
    done = _in(
        config.place, lambda store: aliases.swap(store.engine, config.alias, config.collection, force=config.force)
    )
    print(said(done))
    return 0


def rollback(config: RollbackConfig) -> int:
    """Go back and say so. Raises NotFound when there is nothing to go back to."""
    done = _in(config.place, lambda store: aliases.rollback(store.engine, config.alias))
    print(said(done))
    return 0


def drop(config: DropConfig) -> int:
    """Delete and say so. Raises NotFound, or Conflict when an alias points to it."""
    _in(config.place, lambda store: aliases.drop(store.engine, config.collection, force=config.force))
    print(f"dropped {config.collection}")
    return 0


def said(done: aliases.Move) -> str:
    """A move of an alias in a sentence."""
    if done.before == done.now:
        return f"{done.alias} means {done.now} already"
    return f"{done.alias} now means {done.now}{f'; before: {done.before}' if done.before else ''}"


def _in(place: StorePlace, work: Callable[[GalleryStore], Awaitable[T]], *, create: bool = False) -> T:
    async def run() -> T:
        async with place.opened(create=create) as store:
            return await work(store)

    return asyncio.run(run())


_TITLES = ("collection", "aliases", "items", "encoder", "payload indexes", "quantisation", "state")


async def _cells(store: GalleryStore, name: str, known: list[str]) -> tuple[str, ...]:
    try:
        info = await store.info(name)
    except EncoderMismatch as error:
        return (name, " ".join(known), "", "", "", "", str(error))
    indexes = " ".join(f"{field}:{kind}" for field, kind in sorted(info.payload_index.items()))
    state = "ready" if info.ready else "indexing"
    return (name, " ".join(known), f"{info.items:,}", info.encoder_id, indexes, info.quantization, state)
