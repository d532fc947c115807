"""Triplets on disk: (image, edit, edited caption), the training data of composers.

The edited caption takes the place of a labelled target image (SCOT, arXiv 2501.08347). A folder of triplets contains
Parquet shards and a ``_manifest.json`` with counts, rejections by reason and hashes (see :mod:`scot.data.shards`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from scot.data import shards
from scot.data.shards import Manifest

KIND = "triplets"

SCHEMA = pa.schema(
    [
        pa.field("triplet_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("edit", pa.string(), nullable=False),
        pa.field("edited_caption", pa.string(), nullable=False),
        pa.field("aspect", pa.string(), nullable=False),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("prompt_version", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("kept", pa.string()),
        pa.field("target_image_id", pa.string()),
    ]
)
"""The columns of a triplet shard."""
_OPTIONAL = ("kept", "target_image_id")  # shards of earlier versions do not have them

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Triplet:
    """One training example: the image ``image_id`` (``caption``), changed by ``edit``, becomes ``edited_caption``.

    ``kept`` is what stays, in the words of the caption. ``target_image_id`` is an image whose caption is the edited
    caption: a second, real target. Both are None where the engine gives none.
    """

    triplet_id: str
    image_id: str
    caption: str
    edit: str
    edited_caption: str
    aspect: str
    generator: str
    prompt_version: str
    seed: int
    kept: str | None = None
    target_image_id: str | None = None

    @classmethod
    def make(
        cls,
        image_id: str,
        caption: str,
        edit: str,
        edited_caption: str,
        *,
        aspect: str,
        generator: str,
        prompt_version: str,
        seed: int,
        kept: str | None = None,
        target_image_id: str | None = None,
    ) -> Triplet:
        """A triplet with its deterministic id."""
        name = triplet_id(image_id, caption, edit, edited_caption, generator=generator, prompt_version=prompt_version)
        return cls(
            *(name, image_id, caption, edit, edited_caption, aspect, generator, prompt_version, seed),
            kept=kept,
            target_image_id=target_image_id,
        )


def reference_of(caption: str) -> str:
    """The ``image_id`` of a reference that has a caption and no image, which ``encode --captions-only`` encodes."""
    return f"caption:{hashlib.sha256(caption.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def triplet_id(
    image_id: str, caption: str, edit: str, edited_caption: str, *, generator: str, prompt_version: str
) -> str:
    """The id of a triplet, a hash of its content: a rerun gives the same ids."""
    content = json.dumps([image_id, caption, edit, edited_caption, generator, prompt_version], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def write_triplets(
    folder: str | Path, triplets: Iterable[Triplet], rejected: Mapping[str, int], shard_size: int = 20_000
) -> Manifest:
    """Write triplets as shards and the manifest; a repeated id is counted as ``duplicate`` and not written.

    ``rejected`` (reason to count) is read after the last triplet, so the caller may count while it yields. The content
    of the folder is replaced atomically.
    """
    duplicates = [0]
    reasons = _Merged(rejected, duplicates)
    return shards.write_shards(folder, KIND, _tables(triplets, duplicates), shard_size=shard_size, rejected=reasons)


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a folder of triplets. Raises NotFound or InvalidInput with the reason."""
    return shards.read_manifest(folder, KIND)


def iterate_triplets(folder: str | Path) -> Iterator[pa.Table]:
    """One table per shard that the manifest names, in order. Raises NotFound, or InvalidInput when damaged."""
    return shards.read_shards(folder, read_manifest(folder), SCHEMA, optional=_OPTIONAL)


def read_triplets(folder: str | Path) -> pa.Table:
    """All triplets of a folder as one table of :data:`SCHEMA`. Raises NotFound, or InvalidInput when damaged."""
    return pa.concat_tables([SCHEMA.empty_table(), *iterate_triplets(folder)])


def _tables(triplets: Iterable[Triplet], duplicates: list[int]) -> Iterator[pa.Table]:
    ids: set[str] = set()
    rows: list[Triplet] = []
    for triplet in triplets:
        if triplet.triplet_id in ids:
            duplicates[0] += 1
            continue
        ids.add(triplet.triplet_id)
        rows.append(triplet)
        if len(rows) == _BATCH:
            yield pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)
            rows = []
    if rows:
        yield pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)


class _Merged(Mapping[str, int]):
    """The rejections of the caller and of the writer, added up when they are read."""

    def __init__(self, rejected: Mapping[str, int], duplicates: list[int]) -> None:
        self._rejected, self._duplicates = rejected, duplicates

    def _counts(self) -> Counter[str]:
        return Counter(dict(self._rejected)) + Counter(duplicate=self._duplicates[0])

    def __getitem__(self, reason: str) -> int:
        return self._counts()[reason]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts())

    def __len__(self) -> int:
        return len(self._counts())
