"""A new collection beside the one that serves: created for its size, filled without a graph, counted, swapped in.

A rerun finds the collection of an interrupted one by its name (:func:`scot.index.aliases.next_collection`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from scot.encoders.base import Encoder
from scot.errors import Conflict, Unavailable
from scot.index import aliases, collections
from scot.index.aliases import AliasChange
from scot.index.config import CollectionConfig, shards_for
from scot.index.store import GalleryStore

_POLL_S = 1.0


async def begin(
    store: GalleryStore,
    alias: str,
    encoder: Encoder,
    *,
    name: str | None = None,
    layout: CollectionConfig | None = None,
    images: int | None = None,
) -> str:
    """Create the next collection of an alias without a graph, or find the one that an earlier run has begun.

    Args:
        store: the open store.
        alias: the alias that :func:`finish` points at the collection.
        encoder: makes the vectors.
        name: the name of the collection; by default the alias with the next number.
        layout: its settings on a server; by default those of the collection that it replaces.
        images: how many it will contain, if that is known: without a number of shards in ``layout``, it decides it.

    Raises:
        Conflict: the alias is the name of a collection, or an alias points to the collection.
        EncoderMismatch: the collection exists, for another encoder.
    """
    engine = store.engine
    known = await engine.aliases()
    if alias in await engine.names():
        raise Conflict(f"{alias!r} is a collection and not an alias, so another collection cannot replace it")
    name = name or aliases.next_collection(alias, known)
    if name in known.values():
        raise Conflict(f"collection {name!r} is in use; name one that no alias points to")
    if layout is None:
        layout = (await store.info(alias)).config if alias in known else CollectionConfig()
    if images is not None and not layout.shards:
        layout = replace(layout, shards=0 if (number := shards_for(images)) == 1 else number)
    await collections.create(engine, name, encoder.id, encoder.dim, layout, graph=False)
    return name


async def finish(
    store: GalleryStore, alias: str, name: str, images: int, *, swap: bool, force: bool = False, wait_s: float = 3_600.0
) -> AliasChange | None:
    """Count the items of a filled collection, let its graph be built, and point the alias at it with ``swap``.

    Raises:
        Conflict: it has not as many items as the sources have usable ``images``.
        Unavailable: its indexes were not built within ``wait_s`` seconds.
        EncoderMismatch: without ``force``, the collection behind the alias is of another encoder.
    """
    items = await store.engine.count(name)
    if items > images:
        raise Conflict(
            f"collection {name!r} contains {items:,} items, more than the {images:,} of these images; drop it first"
        )
    if items < images:
        raise Conflict(f"collection {name!r} contains {items:,} of {images:,} images: run it again")
    await store.engine.build_graph(name, (await store.info(name)).config)
    if not swap:
        return None
    deadline = time.monotonic() + wait_s
    while not (await store.info(name)).ready:
        if time.monotonic() > deadline:
            raise Unavailable(f"the server is still indexing {name!r}; swap later, or raise --wait-s")
        await asyncio.sleep(_POLL_S)
    return await aliases.swap(store.engine, alias, name, force=force)
