"""Index captioned images in bulk: one batch is stored while the next one is embedded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from scot.data.records import CaptionedImage, Refusals
from scot.embeddings.images import EmbeddedBatch, embed_images
from scot.encoders.base import Encoder
from scot.index.config import CollectionConfig
from scot.index.payload import payload_of
from scot.index.store import GalleryStore, Item
from scot.progress import Task

Batch = EmbeddedBatch[CaptionedImage]


async def index_captioned(
    store: GalleryStore,
    collection: str,
    images: Iterable[CaptionedImage],
    encoder: Encoder,
    refusals: Refusals,
    *,
    batch_size: int = 128,
    threads: int = 4,
    layout: CollectionConfig | None = None,
    task: Task | None = None,
) -> int:
    """Embed images and store them under their ids, with captions and payload; returns the number stored.

    A second run over the same images changes nothing. An image that cannot be decoded is counted in ``refusals``. A
    collection that does not exist is created with ``layout``.

    Raises:
        EncoderMismatch: the collection was made with another encoder.
        Unavailable: the vector store is unavailable.
    """
    batches = embed_images(images, CaptionedImage.load, encoder, batch_size=batch_size, threads=threads)
    return await store_batches(store, collection, encoder, batches, refusals, layout=layout, task=task)


async def store_batches(
    store: GalleryStore,
    collection: str,
    encoder: Encoder,
    batches: Iterator[Batch],
    refusals: Refusals,
    *,
    layout: CollectionConfig | None = None,
    task: Task | None = None,
) -> int:
    """Store embedded batches, each while the next one is embedded; returns the number of items stored.

    A collection that does not exist is created with ``layout``.
    """
    await store.ensure(collection, encoder.id, encoder.dim, layout)
    stored, writing = 0, None
    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if writing is not None:
                await writing
            for record, error in batch.refused:
                refusals.add(error.reason, record.image_id)
            items = [
                Item(record.image_id, vector, payload_of(record))
                for record, vector in zip(batch.sources, batch.vectors, strict=True)
            ]
            writing = asyncio.create_task(store.upsert(collection, items))
            stored += len(items)
            if task is not None:
                task.advance(len(items) + len(batch.refused), f"{refusals.total:,} refused")
    finally:
        if writing is not None:
            await writing
    return stored
