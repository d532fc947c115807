"""The optional part of an embedding cache: the last hidden states of its images and edits.

::

    image_states/    image_id, states        a row for each row of images/, in the same order
    text_states/     text, states            a row for each row of texts/, in the same order; empty if it is not an edit

``states`` are the float16 bytes of ``(L, W)``. Where the manifest's ``dtype`` is ``int8``, they are its int8 bytes and
then a float16 scale for each of the L places; a value is their product. The manifest has W and the sum of L over the
rows. A row is as large as L · W/D vectors, so a cache has them only on request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from scot.composers.base import States
from scot.data.shards import Manifest, read_shards
from scot.errors import InvalidInput

StateType = Literal["float16", "int8"]
"""How hidden states are stored."""
_LEVELS = 127
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


def pack(states_LW: npt.NDArray[np.float16] | None, dtype: StateType) -> bytes:
    """The states of one image or text as they are stored; None: it has none."""
    if states_LW is None or not len(states_LW):
        return b""
    if dtype == "float16":
        return states_LW.astype("<f2").tobytes()
    exact_LW = states_LW.astype(np.float32)
    scale_L1 = (np.abs(exact_LW).max(axis=1, keepdims=True) / _LEVELS).astype("<f2")
    nonzero_L1 = np.maximum(scale_L1.astype(np.float32), np.finfo(np.float16).smallest_subnormal)
    whole_LW = np.rint(exact_LW / nonzero_L1).clip(-_LEVELS, _LEVELS).astype(np.int8)
    packed: bytes = whole_LW.tobytes() + scale_L1.tobytes()
    return packed


def unpack(data: bytes, width: int, dtype: StateType) -> npt.NDArray[np.float16]:
    """The inverse of :func:`pack`: float16 ``(L, W)``."""
    if dtype == "float16":
        return np.frombuffer(data, "<f2").reshape(-1, width)
    length = len(data) // (width + 2)
    whole_LW = np.frombuffer(data, np.int8, length * width).reshape(length, width)
    scale_L1 = np.frombuffer(data, "<f2", offset=length * width).reshape(length, 1)
    return (whole_LW * scale_L1.astype(np.float32)).astype(np.float16)


def place_bytes(width: int, dtype: StateType) -> int:
    """The bytes of one place (a patch or a token)."""
    return 2 * width if dtype == "float16" else width + 2


def states_table(part: str, keys: Sequence[str], states: Sequence[bytes]) -> pa.Table:
    """The keys of ``image_states`` or ``text_states`` and their states, packed, as a table."""
    return pa.table([list(keys), list(states)], schema=_schema(part))


def state_shards(
    folder: str | Path, part: str, manifest: Manifest
) -> Iterator[tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
    """Keys, lengths ``(n,)`` and states ``(sum of lengths, W)``, shard by shard.

    Raises:
        InvalidInput: a shard is missing or damaged, or has states that are not finite or not of the manifest's width.
    """
    width, dtype = int(manifest.extra["width"]), state_type(folder, part, manifest)
    for table in read_shards(f"{folder}/{part}", manifest, _schema(part)):
        keys, column = table.column(0).to_pylist(), table.column(1).to_pylist()
        size_N = np.array([len(row) for row in column], np.int64)
        if (size_N % place_bytes(width, dtype)).any():
            raise _damaged(folder, f"{part}/ holds states that are not {width} wide")
        values_TW = np.concatenate([np.zeros((0, width), np.float16), *(unpack(row, width, dtype) for row in column)])
        if not np.isfinite(values_TW).all():
            raise _damaged(folder, f"{part}/ holds states that are not finite")
        yield keys, size_N // place_bytes(width, dtype), values_TW


def state_type(folder: str | Path, part: str, manifest: Manifest) -> StateType:
    """How the states of a part are stored. Raises InvalidInput: a later version of SCOT wrote them."""
    dtype = manifest.extra.get("dtype", "float16")  # caches of earlier versions do not say
    if dtype not in get_args(StateType):
        raise InvalidInput(f"{folder}/{part} holds states as {dtype}, which this version of SCOT cannot read")
    return dtype  # type: ignore[no-any-return]


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
