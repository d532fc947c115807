"""Captions in chunks: the unit of work, of progress and of resuming; and the results of a run's finished chunks.

The same source always gives the same chunks. The result of a chunk is one Parquet file, which is complete or absent;
its metadata holds the chunk's hash and counts. A run that starts again finds the finished chunks and continues with
the others. When all chunks are finished, their files become the shards of the result and are deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.captioned import Source, read_sources
from scot.data.records import CaptionedImage, Refusals
from scot.data.storage import Folder
from scot.data.triplets import SCHEMA, Triplet

_META = b"scot.part"
_MOST_EXAMPLES, _MOST_CHARS = 3, 80


@dataclass(frozen=True, slots=True)
class Chunk:
    """Captions of whole images, in parallel with the images' ids (and with the images, if they are needed)."""

    number: int
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    images: tuple[CaptionedImage, ...] = ()

    @property
    def hash(self) -> str:
        """A hash of the ids and captions."""
        content = json.dumps([self.image_ids, self.captions], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_chunks(
    sources: Sequence[Source], refusals: Refusals, *, size: int, with_images: bool = False
) -> Iterator[Chunk]:
    """Read captioned images lazily into chunks of about ``size`` captions; an image's captions stay together.

    Raises InvalidInput when a source breaks off.
    """
    ids: list[str] = []
    captions: list[str] = []
    images: list[CaptionedImage] = []
    number = 0
    for record in read_sources(sources, refusals):
        for caption in dict.fromkeys(record.captions):
            ids.append(record.image_id)
            captions.append(caption)
            if with_images:
                images.append(record)
        if len(ids) >= size:
            yield Chunk(number, tuple(ids), tuple(captions), tuple(images))
            number += 1
            ids, captions, images = [], [], []
    if ids:
        yield Chunk(number, tuple(ids), tuple(captions), tuple(images))


@dataclass(slots=True)
class Tally:
    """The counts of some captions, and the tokens that a model read and wrote for them."""

    captions: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    edited: int = 0
    """Captions with an edit."""
    short: int = 0
    """Captions with an edit, but fewer than asked."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """For each reason, a few captions of which something was refused."""

    def refuse(self, caption: str, reasons: Counter[str]) -> None:
        """Count what was refused of a caption."""
        self.refused.update(reasons)
        for reason in reasons:
            self._show(reason, [caption[:_MOST_CHARS]])

    def _show(self, reason: str, captions: Sequence[str]) -> None:
        shown = self.examples.setdefault(reason, [])
        shown += [caption for caption in captions if caption not in shown][: _MOST_EXAMPLES - len(shown)]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"refused": dict(self.refused)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tally:
        """The inverse of :meth:`to_json`. Raises KeyError or TypeError when fields are missing or unknown."""
        return cls(**{**values, "refused": Counter(values["refused"])})

    def add(self, other: Tally) -> None:
        """Add the counts of another tally to these."""
        self.captions += other.captions
        self.accepted += other.accepted
        self.refused.update(other.refused)
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.edited += other.edited
        self.short += other.short
        for reason, captions in other.examples.items():
            self._show(reason, captions)


class ChunkResults:
    """The finished chunks of one run, in a folder inside its output; ``run`` identifies the run's settings."""

    def __init__(self, output: str, run: str) -> None:
        self.folder = Folder(f"{output.rstrip('/')}/_parts-{run}")

    def write(self, chunk: Chunk, triplets: Sequence[Triplet], tally: Tally) -> None:
        """Write a chunk's triplets; a reader sees all of them or none."""
        meta = json.dumps({"chunk": chunk.hash, "tally": tally.to_json()}).encode()
        table = pa.Table.from_pylist([asdict(triplet) for triplet in triplets], SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_META: meta}), sink, compression="zstd")
        self.folder.write(_name(chunk.number), sink.getvalue().to_pybytes())

    def tally(self, chunk: Chunk) -> Tally | None:
        """The counts of a finished chunk; None if its file is missing, damaged, or of other captions."""
        try:
            metadata = pq.read_schema(pa.BufferReader(self.folder.read(_name(chunk.number)))).metadata or {}
            meta = json.loads(metadata[_META])
            return Tally.from_json(meta["tally"]) if meta["chunk"] == chunk.hash else None
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The triplets of the first ``count`` chunks, in order, one table for each chunk."""
        for number in range(count):
            table = pq.read_table(pa.BufferReader(self.folder.read(_name(number))))
            yield table.replace_schema_metadata(None).cast(SCHEMA)

    def remove(self) -> None:
        """Delete all results."""
        self.folder.delete()


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"
