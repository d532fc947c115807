"""``scot collections``: list, create, swap, roll back and drop the collections of a store, without the service.

Only ``list --served`` asks a service, which may have the store open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tyro

from scot.commands.columns import print_columns
from scot.commands.service import ServicePlace
from scot.encoders import load_encoder
from scot.errors import Conflict, EncoderMismatch, NotFound
from scot.index import aliases
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.store import GalleryStore
from scot.index.thumbnails import Thumbnails
from scot.results import print_json, print_outcome

T = TypeVar("T")


@dataclass(frozen=True)
class StorePlace:
    """The vector store."""

    store: Path = Path("scot-data/qdrant")
    """Folder of an embedded store that no service has open; ignored with --qdrant-url."""
    thumbnails: str = ""
    """Folder or URL of the thumbnails; by default the folder thumbnails beside --store, and none with --qdrant-url."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """The Qdrant server, if the store is one."""

    @asynccontextmanager
    async def opened(self, *, create: bool = False) -> AsyncIterator[GalleryStore]:
        """The open store. Raises NotFound when there is no folder, unless ``create``."""
        server = self.qdrant.qdrant_url is not None
        if not (server or create or self.store.is_dir()):
            raise NotFound(f"there is no store at {self.store}; name its folder with --store, or use --qdrant-url")
        thumbnails = self.thumbnails or (None if server else Thumbnails.beside(self.store))
        store = GalleryStore.open(path=None if server else self.store, server=self.qdrant, thumbnails=thumbnails)
        try:
            yield store
        finally:
            await store.close()


@dataclass(frozen=True)
class ListConfig:
    """List the collections of a store: items, encoder, indexes, and the aliases that point to them.

    Example: scot collections list --store scot-data/qdrant
    """

    served: bool = False
    """List the collections that queries of the running service can name, instead of opening the store."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store."""


@dataclass(frozen=True)
class CreateConfig:
    """Create the empty collection NAME-1 behind the alias NAME, which a service then uses as its collection.

    Example: scot collections create gallery --qdrant-url http://qdrant:6333 --payload-index kind:keyword price:float
    """

    name: tyro.conf.Positional[str]
    """The alias."""
    encoder: str = "tiny"
    """The encoder of its vectors: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """Its settings on a server."""


@dataclass(frozen=True)
class SwapConfig:
    """Point an alias at another collection, from one request to the next; the previous collection is recorded.

    Example: scot collections swap gallery gallery-2 --qdrant-url http://qdrant:6333
    """

    alias: tyro.conf.Positional[str]
    """The alias."""
    collection: tyro.conf.Positional[str]
    """The collection."""
    force: bool = False
    """Swap even if it is empty, not indexed yet, or of another encoder."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store."""


@dataclass(frozen=True)
class RollbackConfig:
    """Point an alias at its previous collection; a second rollback undoes the first.

    Example: scot collections rollback gallery --qdrant-url http://qdrant:6333
    """

    alias: tyro.conf.Positional[str]
    """The alias."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store."""


@dataclass(frozen=True)
class DropConfig:
    """Delete a collection that no alias points to, with all its items and the thumbnails under its name.

    Example: scot collections drop gallery-1 --qdrant-url http://qdrant:6333
    """

    collection: tyro.conf.Positional[str]
    """The collection."""
    force: bool = False
    """Delete it even if it is the target of a rollback."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store."""


def list_collections(config: ListConfig) -> int:
    """Print one line per collection, of a store SCOT's or not. Raises NotFound when there is none."""
    if config.served:
        return _list_served(config)

    async def rows(store: GalleryStore) -> list[tuple[str, ...]]:
        names = await store.engine.names()
        known = await store.engine.aliases()
        return [await _cells(store, name, [alias for alias, at in known.items() if at == name]) for name in names]

    found = _in(config.place, rows)
    if config.json:
        print_json({"collections": [_object(row) for row in found]})
        return 0
    if not found:
        raise NotFound("the store has no collection yet; `scot collections create NAME` makes one")
    print_columns([_TITLES, *found])
    return 0


def _list_served(config: ListConfig) -> int:
    with config.service.client() as client:
        found = client.collections()
    if config.json:
        print_json({"collections": [asdict(each) for each in found]})
        return 0
    if not found:
        raise NotFound("the service has no collection yet; `scot index` makes one")
    rows = [
        (each.collection, f"{each.items:,}", each.encoder, str(each.dim), f"{each.caption_weight:g}") for each in found
    ]
    print_columns([("collection", "items", "encoder", "dimension", "caption weight"), *rows])
    return 0


def create(config: CreateConfig) -> int:
    """Create the collection. Raises Conflict when the name is taken, InvalidInput for an unknown encoder."""

    async def work(store: GalleryStore) -> str:
        taken = [*await store.engine.aliases(), *await store.engine.names()]
        if config.name in taken:
            raise Conflict(
                f"{config.name!r} already exists; `scot collections reindex` builds another collection behind it"
            )
        encoder = load_encoder(config.encoder, device="cpu")
        await store.ensure(config.name, encoder.id, encoder.dim, config.layout)
        return encoder.id

    encoder_id = _in(config.place, work, create=True)
    print_outcome(
        config.json,
        {"collection": f"{config.name}-1", "alias": config.name, "encoder": encoder_id},
        f"created {config.name}-1 behind the alias {config.name}, for the encoder {encoder_id}",
    )
    return 0


def swap(config: SwapConfig) -> int:
    """Swap, and print the previous collection. Raises what :func:`scot.index.aliases.swap` raises."""
    done = _in(
        config.place, lambda store: aliases.swap(store.engine, config.alias, config.collection, force=config.force)
    )
    print_outcome(config.json, asdict(done), sentence(done))
    return 0


def rollback(config: RollbackConfig) -> int:
    """Roll back. Raises NotFound when there is no previous collection."""
    done = _in(config.place, lambda store: aliases.rollback(store.engine, config.alias))
    print_outcome(config.json, asdict(done), sentence(done))
    return 0


def drop(config: DropConfig) -> int:
    """Delete the collection. Raises NotFound, or Conflict when an alias points to it."""

    async def work(store: GalleryStore) -> None:
        await aliases.drop(store.engine, config.collection, force=config.force)
        if store.thumbnails is not None:
            store.thumbnails.drop(config.collection)

    _in(config.place, work)
    print_outcome(config.json, {"dropped": config.collection}, f"dropped {config.collection}")
    return 0


def sentence(done: aliases.AliasChange) -> str:
    """A swap or rollback in a sentence."""
    if done.before == done.now:
        return f"{done.alias} already points at {done.now}"
    return f"{done.alias} now points at {done.now}{f'; before: {done.before}' if done.before else ''}"


def _in(place: StorePlace, work: Callable[[GalleryStore], Awaitable[T]], *, create: bool = False) -> T:
    async def run() -> T:
        async with place.opened(create=create) as store:
            return await work(store)

    return asyncio.run(run())


_TITLES = ("collection", "aliases", "items", "encoder", "caption weight", "payload indexes", "quantisation", "state")


def _object(row: tuple[str, ...]) -> dict[str, Any]:
    """A row as JSON; of another's collection only its name, its aliases and the reason are known."""
    name, known, items, encoder, captions, indexes, quantization, state = row
    return {
        "collection": name,
        "aliases": known.split(),
        "items": int(items.replace(",", "")) if items else None,
        "encoder": encoder or None,
        "caption_weight": float(captions) if captions else None,
        "payload_indexes": indexes.split(),
        "quantization": quantization or None,
        "state": state,
    }


async def _cells(store: GalleryStore, name: str, known: list[str]) -> tuple[str, ...]:
    try:
        info = await store.info(name)
    except EncoderMismatch as error:
        return (name, " ".join(known), "", "", "", "", "", str(error))
    indexes = " ".join(f"{field}:{kind}" for field, kind in sorted(info.payload_index.items()))
    state = "ready" if info.ready else "indexing"
    weight = f"{info.config.caption_weight:g}"
    return (name, " ".join(known), f"{info.items:,}", info.encoder_id, weight, indexes, info.quantization, state)
