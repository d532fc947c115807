"""An embedding cache of random unit vectors, written a shard at a time: any number of triplets, nothing to learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from scot.data.shards import write_shards
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo

_ROWS = 50_000


def write_cache(folder: Path, triplets: int, dim: int, seed: int = 0) -> None:
    """Five triplets a picture; a hundredth as many edits as triplets, and a tenth as many edited captions."""
    images, edits = max(40, triplets // 5), max(10, triplets // 100)
    texts = edits + images + triplets // 10
    encoder_id = f"synthetic@0-{dim}d"

    def vectors(key: str, count: int, stream: int) -> Iterator[pa.Table]:
        rng = np.random.default_rng([seed, stream])
        for start in range(0, count, _ROWS):
            names = [f"{key}-{n:09d}" for n in range(start, min(count, start + _ROWS))]
            rows = rng.standard_normal((len(names), dim), np.float32)
            yield cache.vector_table(key, names, rows / np.linalg.norm(rows, axis=1, keepdims=True), dim)

    def rows() -> Iterator[pa.Table]:
        rng = np.random.default_rng([seed, 2])
        for start in range(0, triplets, _ROWS):
            number = np.arange(start, min(triplets, start + _ROWS))
            image, drawn = number % images, len(number)
            columns = [image, rng.integers(0, edits, drawn), edits + image, rng.integers(edits, texts, drawn)]
            ids = pa.array([f"triplet-{n:010d}" for n in number])
            yield pa.Table.from_arrays([ids, *map(pa.array, columns)], schema=cache.TRIPLET_SCHEMA)

    parts = [
        cache.write_vectors(
            folder, part, vectors(key, count, n), encoder_id=encoder_id, dim=dim, source="synthetic"
        )
        for n, (part, key, count) in enumerate(((cache.IMAGES, "image_id", images), (cache.TEXTS, "text", texts)))
    ]  # fmt: skip
    where, kind = f"{folder}/{cache.TRIPLETS}", cache.PARTS[cache.TRIPLETS]
    parts.append(write_shards(where, kind, rows(), shard_size=10 * _ROWS).hash)
    counts = {"images": images, "texts": texts, "triplets": triplets}
    cache.write_info(folder, CacheInfo(encoder_id, dim, "synthetic", counts, {}, cache.content_hash(parts)))
