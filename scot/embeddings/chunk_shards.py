"""The shards of chunks: written as chunks are encoded, found again by a run that starts later, published at the end.

A chunk is one shard of ``images/`` or ``texts/``, and one of ``image_states/`` or ``text_states/`` if the cache has
hidden states. A shard's Parquet metadata has the hash of its chunk and its counts, its name a hash of its bytes: a
shard that is there, whole and of the same chunk is never written again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.shards import Manifest, Shard, publish, shard_of, write_shard
from scot.data.storage import Folder
from scot.embeddings import cache
from scot.embeddings.chunks import Chunk
from scot.embeddings.hidden_states import StateType, pack, states_table
from scot.errors import InvalidInput
from scot.progress import SILENT, Progress

_META = b"scot.chunk"
_NAME = re.compile(r"-(\d{5,})-([0-9a-f]{8})\.parquet$")


@dataclass(frozen=True, slots=True)
class Written:
    """A finished chunk: its shards by kind, and what was refused of it."""

    part: str
    number: int
    keys: int
    shards: dict[str, Shard]
    refused: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    places: int = 0
    """Of its hidden states: the sum of their lengths."""
    reused: int = 0
    """The vectors that were taken from an earlier cache."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The vectors of a chunk's images or texts that have one, in order, and their hidden states."""

    keys: list[str]
    vectors_ND: npt.NDArray[np.float16]
    states: list[npt.NDArray[np.float16] | None]


class ChunkShards:
    """The shards of one part of a cache, such as ``images`` with ``image_states``.

    Args:
        output: the folder of the cache.
        part: ``images`` or ``texts``.
        dim: the width of the vectors.
        made_by: what decides the vectors besides the keys: the encoder, the sources, the states.
        states: how hidden states are stored; empty: there are none.
    """

    def __init__(self, output: str, part: str, dim: int, made_by: str, states: StateType | None = None) -> None:
        self.part, self._dim, self._made_by, self._states = part, dim, made_by, states
        self._key = "image_id" if part == cache.IMAGES else "text"
        self.kinds = (part, cache.STATES[part]) if states else (part,)
        self._folders = {kind: Folder(f"{output.rstrip('/')}/{kind}") for kind in self.kinds}

    def write(self, chunk: Chunk, rows: Rows, refused: Counter[str], *, truncated: int = 0, reused: int = 0) -> Written:
        """Write the shards of a chunk; a reader sees each of them whole or not at all.

        Raises:
            Unavailable: the disk is full, or the folder cannot be written; finished chunks stay.
        """
        places = sum(len(states) for states in rows.states if states is not None)
        counts = {"refused": dict(refused), "truncated": truncated, "places": places}
        meta = {_META: json.dumps({"chunk": chunk.hash(self._made_by), **counts}).encode()}
        tables = {self.part: cache.vector_table(self._key, rows.keys, rows.vectors_ND, self._dim)}
        if self._states:
            packed = [pack(states, self._states) for states in rows.states]
            tables[cache.STATES[self.part]] = states_table(cache.STATES[self.part], rows.keys, packed)
        # The vectors last: a chunk whose vectors are there is finished.
        shards = {
            kind: write_shard(self._folders[kind], kind, chunk.number, tables[kind], meta)
            for kind in reversed(self.kinds)
        }
        return Written(self.part, chunk.number, len(chunk.keys), shards, refused, truncated, places, reused)

    def finished(self, progress: Progress = SILENT) -> FinishedChunks:
        """What earlier runs have finished; a damaged shard is reported to ``progress`` and does not count."""
        return FinishedChunks(self._folders, self._made_by, progress)

    def keys(self, written: Sequence[Written]) -> Iterator[list[str]]:
        """The keys of finished chunks, chunk by chunk."""
        for each in written:
            data = self._folders[self.part].read(each.shards[self.part].name)
            yield pq.read_table(pa.BufferReader(data), columns=[self._key]).column(0).to_pylist()

    def rows(self, each: Written) -> tuple[list[str], npt.NDArray[np.float16]]:
        """The keys and vectors of a finished chunk."""
        data = self._folders[self.part].read(each.shards[self.part].name)
        keys, column = (chunked.combine_chunks() for chunked in pq.read_table(pa.BufferReader(data)).columns)
        vectors = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float16)
        return keys.to_pylist(), vectors.reshape(-1, self._dim)

    def publish(self, written: Sequence[Written], extra: dict[str, dict[str, Any]]) -> dict[str, Manifest]:
        """Write the manifests, ``extra`` by kind, and delete every shard that is in none."""
        return {
            kind: publish(self._folders[kind], kind, [each.shards[kind] for each in written], extra=extra[kind])
            for kind in self.kinds
        }


class FinishedChunks:
    """The shards that lie in a part's folders, by the number of their chunk; each is read when it is asked for."""

    def __init__(self, folders: dict[str, Folder], made_by: str, progress: Progress) -> None:
        self._folders, self._made_by, self._progress = folders, made_by, progress
        self._names: dict[str, dict[int, list[str]]] = {}
        for kind, folder in folders.items():
            self._names[kind] = defaultdict(list)
            for name in folder.names():
                if name.startswith(f"{kind}-") and (match := _NAME.search(name)):
                    self._names[kind][int(match[1])].append(name)

    def get(self, chunk: Chunk) -> Written | None:
        """The finished chunk; None if a shard of it is missing, damaged, or of other images or texts."""
        wanted = chunk.hash(self._made_by)
        shards: dict[str, Shard] = {}
        counts: dict[str, Any] = {}
        for kind in self._folders:
            for name in self._names[kind].get(chunk.number, ()):
                if (found := self._read(kind, chunk.number, name)) is not None and found[1].get("chunk") == wanted:
                    shards[kind], counts = found
        if len(shards) < len(self._folders):
            return None
        return Written(
            chunk.part, chunk.number, len(chunk.keys), shards, Counter(counts["refused"]), counts["truncated"],
            counts["places"], shards[chunk.part].rows,
        )  # fmt: skip

    def _read(self, kind: str, number: int, name: str) -> tuple[Shard, dict[str, Any]] | None:
        """A shard and its metadata. None if it is damaged, or a cache of an earlier version that has no metadata."""
        try:
            data = self._folders[kind].read(name)
            # Its hash first: Parquet that is damaged may take the process down.
            if hashlib.sha256(data).hexdigest()[:8] != name[-16:-8]:
                raise InvalidInput("its name has another hash")
            file = pq.ParquetFile(pa.BufferReader(data))
            meta = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}"))
            return shard_of(kind, number, file.metadata.num_rows, data), meta
        except FileNotFoundError:
            return None
        except (InvalidInput, pa.ArrowException, ValueError, OSError):
            self._progress.line(f"the shard {kind}/{name} is damaged: its chunk is encoded again")
            return None
