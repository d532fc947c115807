"""The optional part of an embedding cache: the last hidden states of its images and edits.

::

    image_states/    image_id, states        a row for each row of images/, in the same order
    text_states/     text, states            a row for each row of texts/, in the same order; empty if it is not an edit

``states`` are the float16 bytes of ``(L, W)``; the manifest has W and the sum of L over the rows. A row is as large as
L · W/D vectors, so a cache has them only on request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from scot.composers.base import States
from scot.data.shards import Manifest, read_shards, write_shards
from scot.errors import InvalidInput

_SHARD_SIZE = 4_096
_KEYS = {"image_states": "image_id", "text_states": "text"}


@dataclass(frozen=True, slots=True)
class StateTable:
    """The states of R images or texts, concatenated: those of row r start at ``start_R[r]``.

    ``values_TW`` is float16, ``start_R`` int64 ``(R + 1,)``; both may be memory-mapped.
    """

    values_TW: torch.Tensor
    start_R: torch.Tensor

    @property
    def width(self) -> int:
        """W."""
        return self.values_TW.shape[1]

    def rows(self, rows_B: torch.Tensor) -> States:
        """The states of some rows, padded to the longest."""
        start_B = self.start_R[rows_B]
        length_B = self.start_R[rows_B + 1] - start_B
        place_L = torch.arange(int(length_B.max()) if len(length_B) else 0)
        mask_BL = place_L < length_B[:, None]
        at_BL = (start_B[:, None] + place_L).clamp(max=len(self.values_TW) - 1)
        return States(self.values_TW[at_BL], mask_BL)


def write_states(
    folder: str | Path, part: str, keys: Sequence[str], states: Sequence[bytes], *, width: int, about: Mapping[str, str]
) -> Manifest:
    """Write ``image_states/`` or ``text_states/`` of a cache: the states of each key as float16 bytes.

    ``about`` names their encoder and source.
    """
    total = sum(map(len, states)) // (2 * width)
    extra = {"width": width, "total": total, **about}
    return write_shards(f"{folder}/{part}", part, _tables(part, keys, states), shard_size=_SHARD_SIZE, extra=extra)


def state_shards(
    folder: str | Path, part: str, manifest: Manifest
) -> Iterator[tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
    """Keys, lengths ``(n,)`` and states ``(sum of lengths, W)``, shard by shard.

    Raises:
        InvalidInput: a shard is missing or damaged, or has states that are not finite or not of the manifest's width.
    """
    width = int(manifest.extra["width"])
    for table in read_shards(f"{folder}/{part}", manifest, _schema(part)):
        keys, column = table.column(0).to_pylist(), table.column(1).to_pylist()
        size_N = np.array([len(row) for row in column], np.int64)
        if (size_N % (2 * width)).any():
            raise _damaged(folder, f"{part}/ holds states that are not {width} wide")
        values_TW = np.frombuffer(b"".join(column), np.float16).reshape(-1, width)
        if not np.isfinite(values_TW).all():
            raise _damaged(folder, f"{part}/ holds states that are not finite")
        yield keys, size_N // (2 * width), values_TW


def load_states(folder: str | Path, part: str, manifest: Manifest, count: int) -> StateTable:
    """The states of all ``count`` rows, in memory. Raises InvalidInput as :func:`state_shards` does."""
    shards = list(state_shards(folder, part, manifest))
    width = int(manifest.extra["width"])
    values_TW = np.concatenate([np.zeros((0, width), np.float16), *(values for _, _, values in shards)])
    return StateTable(torch.from_numpy(values_TW), torch.from_numpy(starts(folder, (n for _, n, _ in shards), count)))


def starts(folder: str | Path, lengths: Iterable[npt.NDArray[np.int64]], count: int) -> npt.NDArray[np.int64]:
    """The start of each row's states, and the end of the last. Raises InvalidInput unless there are ``count`` rows."""
    length_R = np.concatenate([np.zeros(1, np.int64), *lengths])
    if len(length_R) != count + 1:
        raise _damaged(folder, f"it has hidden states of {len(length_R) - 1} rows, not of {count}")
    return np.cumsum(length_R)


def _damaged(folder: str | Path, why: str) -> InvalidInput:
    return InvalidInput(f"the embedding cache {folder} is damaged: {why}")


def _schema(part: str) -> pa.Schema:
    return pa.schema([(_KEYS[part], pa.string()), ("states", pa.binary())])


def _tables(part: str, keys: Sequence[str], states: Sequence[bytes]) -> Iterator[pa.Table]:
    for at in range(0, len(keys), _SHARD_SIZE):
        columns = [list(rows[at : at + _SHARD_SIZE]) for rows in (keys, states)]
        yield pa.table(columns, schema=_schema(part))
    if not keys:
        yield _schema(part).empty_table()
