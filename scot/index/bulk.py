"""Index captioned pictures by the thousand: decode in threads, embed in batches, write while the next is embedded."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from PIL import Image

from scot.data.images import decode_image
from scot.data.records import CaptionedImage, Refusals
from scot.encoders.base import Encoder, Frontend, Pixels, Vectors
from scot.errors import ImageRefused
from scot.index.config import CollectionConfig
from scot.index.ids import ITEM_ID_KEY
from scot.index.store import GalleryStore, Item

Progress = Callable[[int, int], None]
"""Called with how many items are stored and how many were refused so far."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures on their way: N records and their vectors ``(N, D)``, and the ``(reason, id)`` of those refused."""

    records: list[CaptionedImage]
    vectors: Vectors
    refused: list[tuple[str, str]]


async def index_captioned(
    store: GalleryStore,
    collection: str,
    images: Iterable[CaptionedImage],
    encoder: Encoder,
    refusals: Refusals,
    *,
    batch_size: int = 128,
    threads: int = 4,
    progress: Progress | None = None,
) -> int:
    """Embed the pictures and store them under their ids, with captions and payload; how many were stored.

    Running it again over the same pictures changes nothing. A picture that cannot be decoded is counted
    in ``refusals``.

    Raises:
        EncoderMismatch: the collection was made with another encoder.
        Unavailable: the vector store cannot be reached.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        # Pictures are decoded one batch ahead, by threads, while the towers embed the last.
        batches = embedded_batches(images, encoder, pool, batch_size=batch_size)
        return await store_batches(store, collection, encoder, batches, refusals, progress=progress)


async def store_batches(
    store: GalleryStore,
    collection: str,
    encoder: Encoder,
    batches: Iterator[Batch],
    refusals: Refusals,
    *,
    layout: CollectionConfig | None = None,
    progress: Progress | None = None,
) -> int:
    """Write embedded batches as they come, each while the next is being made; how many items were stored.

    A collection that is not there is made, laid out by ``layout``.
    """
    await store.ensure(collection, encoder.id, encoder.dim, layout)
    stored, writing = 0, None
    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if writing is not None:
                await writing
            for reason, what in batch.refused:
                refusals.add(reason, what)
            items = [
                Item(record.image_id, vector, payload_of(record))
                for record, vector in zip(batch.records, batch.vectors, strict=True)
            ]
            writing = asyncio.create_task(store.upsert(collection, items))
            stored += len(items)
            if progress is not None:
                progress(stored, refusals.total)
    finally:
        if writing is not None:
            await writing
    return stored


def embedded_batches(
    images: Iterable[CaptionedImage],
    encoder: Encoder,
    pool: ThreadPoolExecutor,
    *,
    batch_size: int,
    embed: Callable[[list[Pixels]], Vectors] | None = None,
) -> Iterator[Batch]:
    """Decode in ``pool`` and embed; every picture of ``images`` is in one batch, as a record or a refusal.

    ``embed`` stands in for the encoder's ``encode_pixels``.
    """
    embed = embed or encoder.encode_pixels
    source = iter(images)
    ahead = [(record, pool.submit(_pixels, encoder, record)) for record in islice(source, batch_size)]
    while ahead:
        current = ahead
        ahead = [(record, pool.submit(_pixels, encoder, record)) for record in islice(source, batch_size)]
        records: list[CaptionedImage] = []
        pixels: list[Pixels] = []
        refused: list[tuple[str, str]] = []
        for record, decoding in current:
            try:
                pixels.append(decoding.result())
                records.append(record)
            except ImageRefused as error:
                refused.append((error.reason, record.image_id))
        yield Batch(records, embed(pixels), refused)


def payload_of(record: CaptionedImage) -> dict[str, Any]:
    """What is kept beside the vector: the payload as JSON, the first caption, and all of them when there are more."""
    payload = {str(key): value for key, value in record.payload.items() if key != ITEM_ID_KEY}
    payload.setdefault("caption", record.captions[0] if record.captions else "")
    if len(record.captions) > 1:
        payload.setdefault("captions", list(record.captions))
    plain: dict[str, Any] = json.loads(json.dumps(_finite(payload), default=str))
    return plain


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON has not, as None; NumPy's numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    match value:
        case dict():
            return {str(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _pixels(frontend: Frontend, record: CaptionedImage) -> Pixels:
    image: Image.Image = decode_image(record.read())
    return frontend.preprocess(image)
