"""The unit of encoding, of resuming and of files: a chunk of images or of texts.

The same triplets and sources always give the same chunks, whatever happened before; each chunk's vectors are one shard
of the cache (:mod:`scot.embeddings.chunk_shards`). Nothing here holds more than a chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from scot.data.key_table import KeyTable
from scot.data.records import CaptionedImage
from scot.embeddings.cache import IMAGES, TEXTS

CHUNK = 512
"""Images or texts of a chunk, unless hidden states or images inside tables and tars make it too large."""
_STATES_BYTES = 2**26  # of the hidden states of a chunk
_IMAGES_BYTES = 2**25  # of a chunk's image files, where they come with the records
_LOOKED_UP = 64  # records that are looked up at a time


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some images or texts, in order. Of texts, ``edits`` says which have hidden states, if any have."""

    part: str
    number: int
    keys: tuple[str, ...]
    images: tuple[CaptionedImage, ...] = ()
    edits: tuple[bool, ...] = ()

    def hash(self, made_by: str) -> str:
        """A hash of the keys, and of what decides their vectors."""
        content = json.dumps([made_by, self.part, self.number, self.keys, self.edits], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def chunk_rows(size: int, states_bytes: int) -> int:
    """The rows of a chunk whose rows have ``states_bytes`` of hidden states."""
    return max(1, min(size, _STATES_BYTES // max(1, states_bytes)))


def image_chunks(records: Iterable[CaptionedImage], wanted: KeyTable, size: int) -> Iterator[Chunk]:
    """The wanted images, in the order of their sources."""
    remaining = iter(records)
    images: list[CaptionedImage] = []
    number = loaded = 0
    while batch := list(islice(remaining, _LOOKED_UP)):
        found = wanted.find([record.image_id for record in batch])
        for record in (record for record, at in zip(batch, found, strict=True) if at >= 0):
            image = record.image
            if isinstance(image, Path):  # a worker of Ray may run in another folder
                image = image.absolute()
            images.append(replace(record, image=image))
            loaded += len(image) if isinstance(image, bytes) else 0
            if len(images) >= size or loaded >= _IMAGES_BYTES:
                yield Chunk(IMAGES, number, tuple(each.image_id for each in images), tuple(images))
                images, loaded, number = [], 0, number + 1
    if images:
        yield Chunk(IMAGES, number, tuple(each.image_id for each in images), tuple(images))


def text_chunks(
    texts: Iterable[Sequence[str]], numbers: KeyTable, edits: KeyTable | None, size: int
) -> Iterator[Chunk]:
    """Each text once, in the order in which ``numbers`` first met them; ``edits`` are those with hidden states."""
    waiting: list[str] = []
    number = met = 0

    def chunk(keys: list[str]) -> Chunk:
        marks = tuple(map(bool, edits.find(keys) >= 0)) if edits is not None else ()
        return Chunk(TEXTS, number, tuple(keys), edits=marks)

    for some in texts:
        for text, at in zip(some, numbers.find(some).tolist(), strict=True):
            if at != met:  # it was met before: numbers are in the order of first arrival
                continue
            met += 1
            waiting.append(text)
            if len(waiting) == size:
                yield chunk(waiting)
                waiting, number = [], number + 1
    if waiting:
        yield chunk(waiting)
