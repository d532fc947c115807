"""The gallery's vectors and payloads in Qdrant, embedded in this process or on a server, behind one class.

A collection stores the id of the encoder that made its vectors; no other encoder can search or write it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scot.errors import EncoderMismatch, InvalidInput, NotFound
from scot.index import collections
from scot.index.collections import CollectionInfo
from scot.index.config import CollectionConfig, SearchParams, ServerConfig
from scot.index.embedded import EmbeddedEngine
from scot.index.engine import Engine, Mmr, Point, Search, Vector
from scot.index.facets import Facets, Value, count_values
from scot.index.filters import Exists, Filter, Match
from scot.index.groups import group_points
from scot.index.origin import Origin
from scot.index.payload import ITEM_ID_KEY, ORIGIN_KEY, SOURCE_FIELD, point_id, reserved_key
from scot.index.ranking import ranked
from scot.index.thumbnails import Thumbnails

_CACHED_S = 10.0  # for how long the encoder and the configuration of a collection are cached


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the gallery. ``vector`` is ``(D,)``, or None in an answer without vectors."""

    item_id: str
    vector: Vector | None
    payload: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One result of a search; ``score`` is the cosine similarity to the query, in [-1, 1]."""

    item_id: str
    score: float
    payload: Mapping[str, Any]
    vector: Vector | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """The results whose payload field has ``value``, best first."""

    value: Value
    items: Sequence[ScoredItem]


class GalleryStore:
    """Collections of unit vectors with payloads, searched by cosine.

    Every method raises :class:`~scot.errors.Unavailable` if the server cannot be reached, and every method with a
    collection raises :class:`~scot.errors.NotFound` if it does not exist.
    """

    def __init__(
        self, engine: Engine, params: SearchParams | None = None, thumbnails: Thumbnails | None = None
    ) -> None:
        self.engine, self.thumbnails, self._params = engine, thumbnails, params or SearchParams()
        self._infos: dict[str, tuple[float, CollectionInfo]] = {}

    @classmethod
    def open(
        cls,
        *,
        path: str | Path | None = None,
        server: ServerConfig | None = None,
        params: SearchParams | None = None,
        thumbnails: str | Path | None = None,
        wait: bool = False,
    ) -> GalleryStore:
        """Open the embedded store in the folder ``path``, or connect to a Qdrant server.

        ``thumbnails`` is the folder or URL of the items' thumbnails (:class:`~scot.index.thumbnails.Thumbnails`).

        Raises:
            InvalidInput: neither or both of ``path`` and the server's ``qdrant_url`` are given, or one is malformed.
            Conflict: another process has the embedded store open.
        """
        url = server.qdrant_url if server is not None else None
        if (path is None) == (url is None):
            raise InvalidInput("the store needs either a folder or the address of a Qdrant server (qdrant_url)")
        images = None if thumbnails is None else Thumbnails(thumbnails)
        if path is not None:
            return cls(EmbeddedEngine(Path(path), wait=wait), params, images)
        assert server is not None
        from scot.index.remote import connect  # qdrant_client takes seconds to import

        return cls(connect(server), params, images)

    async def ensure(self, collection: str, encoder_id: str, dim: int, config: CollectionConfig | None = None) -> None:
        """Create the collection for an encoder, or check that it was created for the same one.

        A new collection is ``COLLECTION-1`` behind the alias ``COLLECTION``, so that another can replace it later.

        Raises:
            EncoderMismatch: the collection holds vectors of another encoder or dimension.
            Conflict: ``config`` has a weight of captions that is not the collection's.
        """
        try:
            await self.check(collection, encoder_id, dim)
            collections.check_caption_weight(await self.cached_info(collection), config)
        except NotFound:
            first = f"{collection}-1"
            await collections.create(self.engine, first, encoder_id, dim, config or CollectionConfig())
            # The alias comes last, so that no search finds a collection without its payload indexes.
            if collection not in await self.engine.aliases():
                await collections.point(self.engine, {collection: first})
            # If two processes create it at once, the first decides the encoder: check what exists now.
            await self.check(collection, encoder_id, dim)

    async def check(self, collection: str, encoder_id: str, dim: int) -> None:
        """Check that an encoder made the collection's vectors.

        Raises:
            EncoderMismatch: the collection holds vectors of another encoder or dimension.
        """
        info = await self.cached_info(collection)
        if (info.encoder_id, info.dim) != (encoder_id, dim):
            raise EncoderMismatch(
                f"collection {collection!r} was made with encoder {info.encoder_id!r} (dimension {info.dim}), "
                f"not {encoder_id!r} (dimension {dim})"
            )

    async def cached_info(self, collection: str) -> CollectionInfo:
        """What :meth:`info` said at most ten seconds ago: for the encoder and the configuration, not the size."""
        known = self._infos.get(collection)
        if known is None or time.monotonic() - known[0] > _CACHED_S:
            known = self._infos[collection] = (time.monotonic(), await self.info(collection))
        return known[1]

    async def upsert(self, collection: str, items: Sequence[Item]) -> None:
        """Insert items, or replace those with the same ids; searches see them when it returns.

        Raises:
            InvalidInput: a vector is missing or a payload uses SCOT's reserved key.
        """
        points = [_point(item) for item in items]
        if points:
            with self._known(collection):
                await self.engine.upsert(collection, points)

    async def delete(self, collection: str, item_ids: Sequence[str]) -> int:
        """Delete items with their thumbnails; how many of them were there."""
        there = await self.get(collection, item_ids)
        if there:
            await self.engine.delete(collection, [point_id(item_id) for item_id in there])
        if self.thumbnails is not None:
            await asyncio.to_thread(self.thumbnails.delete, collection, item_ids)
        return len(there)

    async def get(self, collection: str, item_ids: Sequence[str], *, with_vectors: bool = False) -> dict[str, Item]:
        """The items of ``item_ids`` that exist, in that order."""
        ids = [point_id(item_id) for item_id in dict.fromkeys(item_ids)]
        if not ids:
            return {}
        with self._known(collection):
            found = await self.engine.retrieve(collection, ids, with_vectors=with_vectors)
        items = {point.id: _item(point) for point in found}
        return {items[each].item_id: items[each] for each in ids if each in items}

    async def pictures(self, collection: str, item_ids: Sequence[str]) -> dict[str, bytes]:
        """The thumbnails, as WebP, of those items of ``item_ids`` that exist and have one."""
        there = await self.get(collection, item_ids)
        return {} if self.thumbnails is None else await asyncio.to_thread(self.thumbnails.read, collection, there)

    async def scroll(
        self, collection: str, *, source: str = "", after: str | None = None, limit: int = 1000
    ) -> tuple[list[Item], str | None]:
        """Up to ``limit`` items by their ids and origins alone, and where the next page begins; None at the end.

        Args:
            source: only items with this source in their origin; empty for all items.
            after: where to begin: what the call before returned.
        """
        wanted = Filter(must=[Match(SOURCE_FIELD, source)]) if source else None
        with self._known(collection):
            found, following = await self.engine.scroll(
                collection, after=after, limit=limit, filter=wanted, keys=[ITEM_ID_KEY, ORIGIN_KEY]
            )
        return [_item(point) for point in found], following

    async def search(
        self,
        collection: str,
        vector: Vector,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Filter | None = None,
        score_threshold: float | None = None,
        exclude_ids: Sequence[str] = (),
        with_vectors: bool = False,
        mmr: Mmr | None = None,
    ) -> list[ScoredItem]:
        """The items nearest to ``vector``, a ``(D,)`` query, best first, without those named in ``exclude_ids``.

        Equal scores are in the order of :meth:`scroll`, so that pages neither lose nor repeat an item
        (:mod:`scot.index.ranking`). With ``mmr`` they are in the order in which it chooses them.
        """
        excluded = [point_id(item_id) for item_id in exclude_ids]
        search = Search(vector, limit, offset, filter, excluded, score_threshold, with_vectors, mmr)
        with self._known(collection):
            found = await ranked(self.engine, collection, search, self._params)
        return [_scored(point) for point in found]

    async def search_groups(
        self,
        collection: str,
        vector: Vector,
        field: str,
        *,
        size: int = 1,
        limit: int = 10,
        offset: int = 0,
        filter: Filter | None = None,
        score_threshold: float | None = None,
        exclude_ids: Sequence[str] = (),
        with_vectors: bool = False,
    ) -> list[ItemGroup]:
        """The ``size`` best items of each value of a payload field, for the ``limit`` values with the best items.

        Raises:
            InvalidInput: no item of the collection has the field.
        """
        excluded = [point_id(item_id) for item_id in exclude_ids]

        async def fetch(filter: Filter, at: int, most: int) -> list[Point]:
            search = Search(vector, most, at, filter, excluded, score_threshold, with_vectors)
            return await ranked(self.engine, collection, search, self._params)

        with self._known(collection):
            found = await group_points(fetch, field, filter=filter, groups=limit, offset=offset, size=size)
            if not found and not await self.engine.count(collection, Filter(must=[Exists(field)])):
                raise InvalidInput(f"group_by.field: no item of collection {collection!r} has the field {field!r}")
        return [ItemGroup(group.value, [_scored(point) for point in group.points]) for group in found]

    async def facets(
        self, collection: str, fields: Sequence[str], *, filter: Filter | None = None, limit: int = 10
    ) -> Facets:
        """See :func:`~scot.index.facets.count_values`."""
        with self._known(collection):
            return await count_values(self.engine, collection, fields, filter=filter, limit=limit)

    async def info(self, collection: str) -> CollectionInfo:
        """The size of a collection, and the encoder it was created for.

        Raises:
            EncoderMismatch: SCOT did not create it, so the encoder of its vectors is unknown.
        """
        return await collections.describe(self.engine, collection)

    async def list(self) -> list[str]:
        """The names of all collections, sorted."""
        return await self.engine.names()

    async def optimize(self, collection: str) -> None:
        """Wait until the indexes of all items are built."""
        await self.engine.optimize(collection)

    @contextmanager
    def _known(self, collection: str) -> Iterator[None]:
        """Forget the encoder of a collection that is gone."""
        try:
            yield
        except NotFound:
            self._infos.pop(collection, None)
            raise

    async def close(self) -> None:
        """Release the connection, or the embedded store's lock, so that another process may open it."""
        await self.engine.close()


def _point(item: Item) -> Point:
    if item.vector is None:
        raise InvalidInput(f"item {item.item_id!r} has no vector")
    if reserved := reserved_key(item.payload):
        raise InvalidInput(f"item {item.item_id!r}: the payload key {reserved!r} is reserved")
    payload = {**item.payload, ITEM_ID_KEY: item.item_id}
    if item.origin is not None:
        payload[ORIGIN_KEY] = item.origin.to_json()
    return Point(point_id(item.item_id), item.vector, payload)


def _item(point: Point) -> Item:
    payload = dict(point.payload)
    item_id = str(payload.pop(ITEM_ID_KEY, ""))
    return Item(item_id, point.vector, payload, Origin.from_json(payload.pop(ORIGIN_KEY, None)))


def _scored(point: Point) -> ScoredItem:
    item = _item(point)
    return ScoredItem(item.item_id, point.score, item.payload, item.vector, item.origin)
