"""What is done of an unfinished run: one Parquet file for each chunk of captions, whole or absent.

A part carries its chunk's hash and counts in the file's metadata. A run that starts again finds the parts of chunks
that are done and goes on with the others; when all are there they become the shards of the result, and go.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.shards import Folder
from scot.data.triplets import SCHEMA, Triplet
from scot.edits.chunks import Chunk

_META = b"scot.part"


@dataclass(slots=True)
class Tally:
    """What came of captions: counts, and the tokens a model read and wrote."""

    captions: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"refused": dict(self.refused)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tally:
        """The inverse of :meth:`to_json`. Raises KeyError or TypeError when fields are missing or unknown."""
        return cls(**{**values, "refused": Counter(values["refused"])})

    def add(self, other: Tally) -> None:
        """Count another's as well."""
        self.captions += other.captions
        self.accepted += other.accepted
        self.refused.update(other.refused)
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens


class ChunkResults:
    """The parts of one run in a folder beside its result; ``run`` names the run's settings."""

    def __init__(self, output: str, run: str) -> None:
        self._folder = Folder(f"{output.rstrip('/')}/_parts-{run}")

    def write(self, chunk: Chunk, triplets: Sequence[Triplet], tally: Tally) -> None:
        """Write a chunk's triplets; a reader sees all of them or none."""
        meta = json.dumps({"chunk": chunk.hash, "tally": tally.to_json()}).encode()
        table = pa.Table.from_pylist([asdict(triplet) for triplet in triplets], SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_META: meta}), sink, compression="zstd")
        self._folder.write(_name(chunk.number), sink.getvalue().to_pybytes())

    def tally(self, chunk: Chunk) -> Tally | None:
        """The counts of a chunk that is done, or None: not done, damaged, or of other captions."""
        try:
            metadata = pq.read_schema(pa.BufferReader(self._folder.read(_name(chunk.number)))).metadata or {}
            meta = json.loads(metadata[_META])
            return Tally.from_json(meta["tally"]) if meta["chunk"] == chunk.hash else None
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The triplets of the first ``count`` chunks, in order, a table each."""
        for number in range(count):
            table = pq.read_table(pa.BufferReader(self._folder.read(_name(number))))
            yield table.replace_schema_metadata(None).cast(SCHEMA)

    def remove(self) -> None:
        """Delete all parts."""
        self._folder.delete()


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"
