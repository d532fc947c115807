"""Both towers, and what they gave last: an LRU by content, so that a picture or text seen before skips its tower."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from scot.encoders.base import encode_pixels, encode_tokens

if TYPE_CHECKING:
    from scot.encoders.base import Encoder, HiddenStates, Pixels, Tokens, Vectors

Kind = Literal["image", "text"]
Count = Callable[[Kind, Literal["hit", "miss"], int], None]
"""Told how many pictures or texts were found, or not."""

ENTRY_BYTES, _STATES_BYTES = 600, 150
"""What an entry takes besides its numbers: arrays, a tuple, a digest and the LRU's own, as tracemalloc says."""


class Embedded(NamedTuple):
    """What a tower gave, read-only."""

    vector_D: npt.NDArray[np.float32]
    states_LW: npt.NDArray[np.float16] | None = None
    """Only where they were asked for."""

    @property
    def size(self) -> int:
        """What keeping it takes."""
        states = 0 if self.states_LW is None else _STATES_BYTES + self.states_LW.nbytes
        return ENTRY_BYTES + self.vector_D.nbytes + states


class CachedEncoder:
    """An encoder behind an LRU of at most ``max_bytes``; 0 keeps nothing. For one thread.

    Entries are found by the SHA-256 of the encoder's id and of the pixels or tokens, never by a file's name, so one
    picture in two files is one entry, and nobody can be given another picture's vector.
    """

    def __init__(self, encoder: Encoder, max_bytes: int = 0, count: Count | None = None) -> None:
        self._encoder, self._count = encoder, count
        self._kept: LRUCache[bytes, Embedded] = LRUCache(max_bytes, getsizeof=lambda embedded: embedded.size)

    @property
    def size(self) -> int:
        """What is kept."""
        return int(self._kept.currsize)

    def pixels(self, pictures: Sequence[Pixels], *, states: bool = False) -> list[Embedded]:
        """Preprocessed pictures ``(H, W, 3)``. Raises InvalidInput: states are wanted, and the encoder has none."""
        return self._embedded("image", pictures, states, encode_pixels)

    def tokens(self, texts: Sequence[Tokens], *, states: bool = False) -> list[Embedded]:
        """Tokenised texts ``(L,)``. Raises InvalidInput: states are wanted, and the encoder has none."""
        return self._embedded("text", texts, states, encode_tokens)

    def _embedded(
        self,
        kind: Kind,
        inputs: Sequence[npt.NDArray[Any]],
        states: bool,
        encode: Callable[..., tuple[Vectors, HiddenStates]],
    ) -> list[Embedded]:
        # A query and its shadow hold the very same arrays, which are looked up once.
        keys = self._keys(kind, {id(each): each for each in inputs})
        found: dict[bytes, Embedded] = {}
        missing: dict[bytes, npt.NDArray[Any]] = {}
        for each in inputs:
            key = keys[id(each)]
            kept = self._kept.get(key)
            if kept is not None and (kept.states_LW is not None or not states):
                found[key] = kept
            else:
                missing[key] = each
        vectors_ND, inside = encode(self._encoder, list(missing.values()), states=states)
        for place, key in enumerate(missing):
            # Copies: a row's view would keep the whole batch in memory.
            embedded = Embedded(_own(vectors_ND[place]), _own(inside[place]) if states else None)
            found[key] = embedded
            if embedded.size <= self._kept.maxsize:
                self._kept[key] = embedded
        if self._count is not None and self._kept.maxsize:
            self._count(kind, "hit", len(keys) - len(missing))
            self._count(kind, "miss", len(missing))
        return [found[keys[id(each)]] for each in inputs]

    def _keys(self, kind: Kind, inputs: Mapping[int, npt.NDArray[Any]]) -> dict[int, bytes]:
        if not self._kept.maxsize:
            return {place: str(place).encode() for place in inputs}
        keys = {}
        for place, each in inputs.items():
            digest = hashlib.sha256(f"{self._encoder.id}|{kind}|{each.dtype}|{each.shape}|".encode())
            digest.update(each.tobytes())
            keys[place] = digest.digest()
        return keys


def _own(row: npt.NDArray[Any]) -> npt.NDArray[Any]:
    copy = row.copy()
    copy.flags.writeable = False
    return copy
