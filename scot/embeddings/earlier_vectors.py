"""The vectors of a cache that is replaced: what new triplets share with it is not encoded again.

Its shards are read one at a time, when one of their rows is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.key_table import KeyTable
from scot.data.shards import Manifest, read_manifest
from scot.data.storage import Folder
from scot.embeddings import cache
from scot.embeddings.chunks import Chunk
from scot.embeddings.hidden_states import unpack
from scot.errors import InvalidInput, NotFound

Fits = Callable[[Mapping[str, Any]], bool]
"""Whether vectors with this ``extra`` in their manifest are those of this run."""


class EarlierVectors:
    """The vectors of ``images`` or ``texts`` of the finished cache in a folder, and their float16 states.

    Args:
        output: the folder of the cache; there may be none.
        part: ``images`` or ``texts``.
        fits: whether a manifest's vectors are of the same encoder, and of the same sources.
        dim: the width of the vectors.
        states: whether the run stores hidden states.
    """

    def __init__(self, output: str, part: str, fits: Fits, dim: int, *, states: bool) -> None:
        self._part, self._dim, self._states = part, dim, states
        self._numbers = KeyTable()
        self._kinds: dict[str, _Shards] = {}
        for kind in (part, cache.STATES[part]) if states else (part,):
            with contextlib.suppress(NotFound, InvalidInput):
                manifest = read_manifest(f"{output}/{kind}", kind)
                if fits(manifest.extra) and manifest.extra.get("dtype", "float16") == "float16":
                    self._kinds[kind] = _Shards(Folder(f"{output}/{kind}"), manifest)
        if part in self._kinds:
            for keys in self._kinds[part].all_keys():
                self._numbers.add(keys)

    def take(self, chunk: Chunk) -> dict[int, tuple[npt.NDArray[np.float16], npt.NDArray[np.float16] | None]]:
        """The vectors and states that are there, by their places in a chunk."""
        found: dict[int, tuple[npt.NDArray[np.float16], npt.NDArray[np.float16] | None]] = {}
        row_N = self._numbers.find(chunk.keys)
        for place in np.argsort(row_N, kind="stable")[int((row_N < 0).sum()) :].tolist():
            row = int(row_N[place])
            needs_states = self._states and (chunk.part == cache.IMAGES or chunk.edits[place])
            states_LW = self._states_of(row) if needs_states else None
            vector = self._kinds[self._part].cell(row, "vector")
            if vector is not None and len(vector) == self._dim and (states_LW is not None or not needs_states):
                found[place] = np.array(vector, np.float16), states_LW
        return found

    def _states_of(self, row: int) -> npt.NDArray[np.float16] | None:
        shards = self._kinds.get(cache.STATES[self._part])
        data = shards.cell(row, "states") if shards is not None else None
        return unpack(data, int(shards.manifest.extra["width"]), "float16") if shards and data else None


class _Shards:
    """The rows of one manifest's shards, by their numbers."""

    def __init__(self, folder: Folder, manifest: Manifest) -> None:
        self._folder, self.manifest = folder, manifest
        self._ends = np.cumsum([shard.rows for shard in manifest.shards])
        self._table = lru_cache(maxsize=1)(self._read)

    def all_keys(self) -> Iterator[list[str]]:
        """The keys, shard by shard, up to the first that is damaged."""
        for number in range(len(self._ends)):
            table = self._table(number)
            if table is None:
                return
            yield table.column(0).to_pylist()

    def cell(self, row: int, column: str) -> Any:
        """A row's value; None if its shard is missing or damaged, or there is no such row."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        table = self._table(number) if number < len(self._ends) else None
        if table is None or column not in table.column_names:
            return None
        start = int(self._ends[number - 1]) if number else 0
        return table.column(column)[row - start].as_py()

    def _read(self, number: int) -> pa.Table | None:
        shard = self.manifest.shards[number]
        try:
            data = self._folder.read(shard.name)
            if hashlib.sha256(data).hexdigest() != shard.sha256:
                return None
            return pq.read_table(pa.BufferReader(data))
        except (FileNotFoundError, pa.ArrowException):
            return None
