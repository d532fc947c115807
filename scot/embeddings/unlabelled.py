"""An embedding cache of images alone: what a gallery without captions says about where its images lie."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice

import numpy as np

from scot.data.captioned import open_source
from scot.data.records import CaptionedImage, Refusals
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo
from scot.embeddings.images import embed_images
from scot.encoders.base import Encoder
from scot.errors import InvalidInput, NotFound
from scot.progress import SILENT, Progress

MOST = 2_000
"""Images that are encoded at most, evenly over the source: their mean and covariance do not need more."""


def encode_unlabelled(
    source: str, output: str, encoder: Encoder, *, most: int = MOST, progress: Progress = SILENT
) -> CacheInfo:
    """Write an embedding cache with images of ``source`` and without texts and triplets; an equal one is kept.

    Args:
        source: a folder of images, or any other source of images (:func:`scot.data.captioned.open_source`).
        output: the folder of the cache.
        encoder: the frozen encoder.
        most: the number of images, taken evenly over the source.
        progress: shows how many are encoded.

    Raises:
        NotFound, InvalidInput: the source cannot be read, or has no usable image.
    """
    opened = open_source(source, captions="optional")
    progress.line(f"reading {opened}")
    total = opened.count() or most
    chosen = islice(opened.read(Refusals()), 0, None, max(1, total // most))
    records = list(islice(chosen, most))
    ids = [record.image_id for record in records]
    wanted = hashlib.sha256("\n".join([source, encoder.id, *ids]).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    try:
        info = cache.read_info(output)
        if info.source == wanted and cache.check_cache(output, encoder.id):
            return info
    except (NotFound, InvalidInput):
        pass
    keys: list[str] = []
    parts = [np.zeros((0, encoder.dim), np.float32)]
    refused: Counter[str] = Counter()
    with progress.task("encoding", len(records), "images") as task:
        for batch in embed_images(records, CaptionedImage.load, encoder, fetch=CaptionedImage.fetched):
            keys += [record.image_id for record in batch.sources]
            parts.append(batch.vectors)
            refused.update(f"image_{error.reason}" for _, error in batch.refused)
            task.advance(len(batch.sources) + len(batch.refused))
    if not keys:
        raise InvalidInput(f"none of the {len(records):,} images of {source} can be used")
    dim = encoder.dim
    tables = {cache.IMAGES: ("image_id", keys, np.concatenate(parts)), cache.TEXTS: ("text", [], parts[0])}
    hashes = [
        cache.write_vectors(
            output, part, [cache.vector_table(*table, dim)], encoder_id=encoder.id, dim=dim, source=wanted
        )
        for part, table in tables.items()
    ]
    hashes.append(cache.write_triplet_rows(output, [cache.TRIPLET_SCHEMA.empty_table()]))
    counts = {"images": len(keys), "texts": 0, "triplets": 0}
    info = CacheInfo(encoder.id, dim, wanted, counts, dict(refused), cache.content_hash(hashes))
    cache.write_info(output, info)
    return info
