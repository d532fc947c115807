"""An encoder with a cache: an LRU by content, so that an image or text that comes again skips its tower.

The picture of an indexed item is found by the item and its vector: nothing need be read and decoded to look it up, and
an item that is replaced has another vector.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from scot.encoders.base import PairEncoder, embed_texts, encode_pixels

if TYPE_CHECKING:
    from cachetools import LRUCache

    from scot.encoders.base import Encoder, HiddenStates, Vectors
    from scot.encoders.resizing import Pixels

    _Encoded = tuple[Vectors, HiddenStates, list[bool]]

Kind = Literal["image", "text", "item", "pair"]
Pair = tuple[tuple["Pixels", ...], str]
"""Images and a text that are embedded together."""
Count = Callable[[Kind, Literal["hit", "miss"], int], None]
"""Receives the numbers of images, texts or pairs that were in the cache, and that were not."""

ENTRY_BYTES, _STATES_BYTES = 600, 150
"""Bytes of an entry besides its values, measured with tracemalloc: arrays, a tuple, a digest and the LRU's own."""


class Embedded(NamedTuple):
    """The output of a tower, read-only."""

    vector_D: npt.NDArray[np.float32]
    states_LW: npt.NDArray[np.float16] | None = None
    """Only when requested."""
    truncated: bool = False
    """Of a text: whether it did not fit the context."""

    @property
    def size(self) -> int:
        """Its bytes in the cache."""
        states = 0 if self.states_LW is None else _STATES_BYTES + self.states_LW.nbytes
        return ENTRY_BYTES + self.vector_D.nbytes + states


class CachedEncoder:
    """An encoder behind an LRU of at most ``max_bytes``; 0: no cache. For one thread, but for :meth:`cached_item`.

    The key of an entry is the SHA-256 of the encoder's id and of the pixels or text, never a file name. So the same
    image in two files is one entry, and nobody can get the vector of another image.
    """

    def __init__(self, encoder: Encoder, max_bytes: int = 0, count: Count | None = None) -> None:
        self._encoder, self._count = encoder, count
        self._max_bytes = max_bytes
        self._cache = _lru(max_bytes) if max_bytes else None
        self._lock = threading.Lock()  # of the cache

    @property
    def size(self) -> int:
        """Bytes in the cache."""
        return 0 if self._cache is None else int(self._cache.currsize)

    @property
    def has_pairs(self) -> bool:
        """Whether the encoder embeds images and a text together (:meth:`pairs`)."""
        return isinstance(self._encoder, PairEncoder)

    def pixels(
        self, images: Sequence[Pixels], *, states: bool = False, keys: Mapping[int, bytes] | None = None
    ) -> list[Embedded]:
        """Preprocessed images ``(H, W, 3)``. ``keys`` has those of some of them, by ``id``; others are found by hash.

        Raises:
            InvalidInput: states are requested, and the encoder has none.
        """
        return self._embedded("image", images, states, self._encode_pixels, keys or {})

    def item_key(self, item: tuple[str, str], vector_D: npt.NDArray[np.float32]) -> bytes:
        """The key of the picture of an item: its collection and id, and its vector ``(D,)``."""
        digest = hashlib.sha256(json.dumps([self._encoder.id, "item", *item]).encode())
        digest.update(vector_D.tobytes())
        return digest.digest()

    def cached_item(self, item: tuple[str, str], vector_D: npt.NDArray[np.float32]) -> Embedded | None:
        """The embedded picture of an item, with its states; None: it is not in the cache. In any thread."""
        if self._cache is None:
            return None
        with self._lock:
            cached = self._cache.get(self.item_key(item, vector_D))
        if self._count is not None:
            self._count("item", "miss" if cached is None else "hit", 1)
        return cached

    def texts(self, texts: Sequence[str], *, states: bool = False) -> list[Embedded]:
        """Texts, tokenized here. Raises InvalidInput: states are requested, and the encoder has none."""
        return self._embedded("text", texts, states, self._encode_texts, {})

    def pairs(self, pairs: Sequence[Pair]) -> list[Embedded]:
        """Images and a text in one input each, by an encoder that has those.

        Raises:
            InvalidInput: the images of an input alone are too many for its context.
        """
        return self._embedded("pair", pairs, False, self._encode_pairs, {})

    def _encode_pairs(self, pairs: Sequence[Pair], states: bool) -> _Encoded:
        assert isinstance(self._encoder, PairEncoder)
        vectors_ND, truncated_N = self._encoder.encode_pairs([own for own, _ in pairs], [text for _, text in pairs])
        return vectors_ND, [], truncated_N

    def _encode_texts(self, texts: Sequence[str], states: bool) -> _Encoded:
        return embed_texts(self._encoder, texts, states=states)

    def _encode_pixels(self, images: Sequence[Pixels], states: bool) -> _Encoded:
        return *encode_pixels(self._encoder, images, states=states), [False] * len(images)

    def _embedded(
        self,
        kind: Kind,
        inputs: Sequence[Any],
        states: bool,
        encode: Callable[[list[Any], bool], _Encoded],
        given: Mapping[int, bytes],
    ) -> list[Embedded]:
        # A query and its shadow have the very same arrays, which are looked up once.
        keys = {**self._keys(kind, {id(each): each for each in inputs if id(each) not in given}), **given}
        found: dict[bytes, Embedded] = {}
        missing: dict[bytes, Any] = {}
        for each in inputs:
            key = keys[id(each)]
            with self._lock:
                cached = None if self._cache is None else self._cache.get(key)
            if cached is not None and (cached.states_LW is not None or not states):
                found[key] = cached
            else:
                missing[key] = each
        vectors_ND, states_NLW, truncated_N = encode(list(missing.values()), states)
        for place, key in enumerate(missing):
            # Copies: a view of a row would keep the whole batch in memory.
            row_LW = _copy(states_NLW[place]) if states else None
            embedded = Embedded(_copy(vectors_ND[place]), row_LW, truncated_N[place])
            found[key] = embedded
            if self._cache is not None and embedded.size <= self._max_bytes:
                with self._lock:
                    self._cache[key] = embedded
        if self._count is not None and self._cache is not None:
            misses = len(missing.keys() - {*given.values()})  # those of items are counted where they are looked up
            self._count(kind, "hit", len(keys) - len(given) - misses)
            self._count(kind, "miss", misses)
        return [found[keys[id(each)]] for each in inputs]

    def _keys(self, kind: Kind, inputs: Mapping[int, str | Pixels | Pair]) -> dict[int, bytes]:
        if self._cache is None:
            return {place: str(place).encode() for place in inputs}
        keys = {}
        for place, each in inputs.items():
            digest = hashlib.sha256(f"{self._encoder.id}|{kind}|".encode())
            images, text = each if isinstance(each, tuple) else ((), each) if isinstance(each, str) else ((each,), "")
            for image in images:
                digest.update(f"{image.shape}|".encode() + image.tobytes())
            digest.update(text.encode())
            keys[place] = digest.digest()
        return keys


def _lru(max_bytes: int) -> LRUCache[bytes, Embedded]:
    from cachetools import LRUCache

    return LRUCache(max_bytes, getsizeof=lambda embedded: embedded.size)


def _copy(row: npt.NDArray[Any]) -> npt.NDArray[Any]:
    copy = row.copy()
    copy.flags.writeable = False
    return copy
