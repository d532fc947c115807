"""A collection in an open store, to be filled: each batch is stored while the next one is embedded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from PIL import Image

from scot.embeddings.images import EmbeddedBatch, embed_images
from scot.encoders.base import Encoder
from scot.errors import NotFound
from scot.index.captions import with_captions
from scot.index.config import CollectionConfig
from scot.index.origin import Origin
from scot.index.store import GalleryStore, Item
from scot.index.sync import Outcome
from scot.index.sync_plan import Pending
from scot.index.thumbnails import Thumbnails

Batches: TypeAlias = Iterator[EmbeddedBatch[Pending]]


def load_image(thumbnails: Thumbnails | None, collection: str, picture: Pending) -> Image.Image:
    """The decoded image of an item, whose thumbnail is stored, if there is a place for thumbnails.

    Raises:
        ImageRefused: the image cannot be read or decoded.
        Unavailable: the thumbnail cannot be written.
    """
    image = picture.load()
    if thumbnails is not None:
        thumbnails.write(collection, picture.item_id, image)
    return image


class StoreGallery:
    """A :class:`~scot.index.sync.Gallery` in a store.

    Args:
        store: the open store. If it has a place for thumbnails, each image that is embedded gets one there.
        collection: the collection; if it is missing, it is created with ``layout``.
        encoder: embeds the pictures.
        batch_size: pictures embedded and stored at once.
        threads: threads that decode pictures.
        layout: the settings of a collection that is created.
        thumbnails_of: the collection by which the service asks for the thumbnails; by default ``collection``.
        embed: embeds pictures elsewhere, such as on Ray workers, with the same encoder; it makes the thumbnails, and
            puts captions into the vectors with the weight that it is given (:mod:`scot.index.captions`).
    """

    def __init__(
        self,
        store: GalleryStore,
        collection: str,
        encoder: Encoder,
        *,
        batch_size: int = 128,
        threads: int = 4,
        layout: CollectionConfig | None = None,
        thumbnails_of: str = "",
        embed: Callable[[Iterator[Pending], float], Batches] | None = None,
    ) -> None:
        self._store, self._collection, self._encoder, self._layout = store, collection, encoder, layout
        self._thumbnails_of = thumbnails_of or collection
        self._embed = embed or partial(self._embed_here, batch_size, threads)
        self._exists = False
        self._caption_weight = 0.0

    async def prepare(self, *, dry_run: bool) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        encoder = self._encoder
        try:
            await self._store.check(self._collection, encoder.id, encoder.dim)
        except NotFound:
            if dry_run:
                return
        await self._store.ensure(self._collection, encoder.id, encoder.dim, self._layout)
        self._caption_weight = (await self._store.cached_info(self._collection)).config.caption_weight
        self._exists = True

    @property
    def captions_in_vectors(self) -> bool:
        """See :class:`~scot.index.sync.Gallery`."""
        return self._caption_weight > 0

    async def items_of(self, source: str) -> dict[str, Origin]:
        """See :class:`~scot.index.sync.Gallery`."""
        items: dict[str, Origin] = {}
        after: str | None = None
        while self._exists:
            page, after = await self._store.scroll(self._collection, source=source, after=after, limit=5_000)
            items.update((item.item_id, item.origin) for item in page if item.origin is not None)
            if after is None:
                break
        return items

    async def origins(self, item_ids: Sequence[str]) -> dict[str, Origin | None]:
        """See :class:`~scot.index.sync.Gallery`."""
        if not self._exists:
            return {}
        return {item.item_id: item.origin for item in (await self._store.get(self._collection, item_ids)).values()}

    def incomplete(self, item_id: str) -> bool:
        """See :class:`~scot.index.sync.Gallery`: an item without a thumbnail."""
        thumbnails = self._store.thumbnails
        return thumbnails is not None and thumbnails.missing(self._thumbnails_of, item_id)

    async def store(self, pictures: Iterator[Pending], done: Callable[[Outcome], None]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        batches, writing = self._embed(pictures, self._caption_weight), None
        try:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(batch, done))
        finally:
            if writing is not None:
                await writing

    async def update(self, pictures: Sequence[Pending]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        ids = [picture.item_id for picture in pictures]
        stored = await self._store.get(self._collection, ids, with_vectors=True)
        there = [(stored[picture.item_id].vector, picture) for picture in pictures if picture.item_id in stored]
        items = [Item(picture.item_id, vector, picture.payload, picture.origin) for vector, picture in there]
        await self._store.upsert(self._collection, items)

    async def delete(self, item_ids: Sequence[str]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        await self._store.delete(self._collection, item_ids)

    def _embed_here(self, batch_size: int, threads: int, pictures: Iterator[Pending], caption_weight: float) -> Batches:
        """Embed pictures, and their captions into the vectors, in this process."""
        batches = embed_images(
            pictures,
            partial(load_image, self._store.thumbnails, self._thumbnails_of),
            self._encoder,
            batch_size=batch_size,
            threads=threads,
            fetch=Pending.fetched,
        )
        return (with_captions(batch, self._encoder, caption_weight) for batch in batches)

    async def _write(self, batch: EmbeddedBatch[Pending], done: Callable[[Outcome], None]) -> None:
        before = await self.origins([picture.item_id for picture in batch.sources if picture.is_new])
        items = [
            Item(picture.item_id, vector, picture.payload, picture.origin)
            for picture, vector in zip(batch.sources, batch.vectors, strict=True)
        ]
        await self._store.upsert(self._collection, items)
        refused = [(picture, error.reason, "") for picture, error in batch.refused]
        done(Outcome(batch.sources, refused, before))
