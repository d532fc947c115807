"""Finds the pairs of a corpus: captions that are equal but for one span of up to three words, on one core with NumPy.

Every caption is a sequence of lemmas. Two kinds of keys are 64-bit polynomial hashes, computed for all at once:

- *masked*: what is before a span and what is behind it; captions with an equal key differ in that span (a swap);
- *removed*: the caption without a span; it equals the hash of the caption that lacks it (an insertion, a removal).

Time and memory are linear in the words of the corpus: in a group of captions with an equal key each is paired with the
next few of a random order only. No swap and no word takes more than its share of the pairs, and a caption's first
partners differ from it in different words, so that an attribute of few values is changed as often as one of many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scot.edits.pairs.index import PairIndex
from scot.edits.pairs.normalize import BASE, MASK, WORD, Lemmas, body, is_content, random_value
from scot.edits.record import MAX_CAPTION_WORDS

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
# The key, the caption, the hash of the span, its first and last word, its length.
_Masked = tuple[Hashes, npt.NDArray[np.int32], Hashes, npt.NDArray[np.int32], npt.NDArray[np.int8]]

MAX_SPAN = 3
_NEIGHBORS = 3  # in a group of captions with an equal key, each is paired with this many behind it
_MAX_PARTNERS = 16  # of one caption
_LEAST_SWAPS, _LEAST_WORDS = 16, 64
# One swap is at most a 20th of the pairs, the swaps of one word a tenth: less would take their turn from attributes of
# two or three values.
_MOST_SWAPS, _MOST_WORDS = 20, 10
_ROUNDS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mine(rows: Iterable[tuple[str, str]], *, seed: int) -> PairIndex:
    """The pairs of a corpus; ``rows`` are (image id, caption). The same rows and seed give the same pairs."""
    images: list[str] = []
    captions: list[str] = []
    for image_id, caption in rows:
        images.append(image_id)
        captions.append(caption)
    words = _Words(captions)
    hash_N, first_N, node_R = np.unique(words.full(), return_index=True, return_inverse=True)
    pairs = _balanced(_pairs(words.of(first_N), hash_N), seed)
    return PairIndex.build(images, captions, hash_N, node_R, pairs)


class _Words:
    """The lemmas of captions, one after the other in ``flat``; caption n has those from ``start[n]`` to ``stop[n]``."""

    def __init__(self, captions: Sequence[str]) -> None:
        numbers, flat, counts = Lemmas(), [], []
        findall = WORD.findall
        for caption in captions:
            text, begin = body(caption)
            found = [numbers[word] for word in findall(text, begin)]
            counts.append(len(found))
            flat += found
        flat_W, ends = np.array(flat, np.int32), np.cumsum([0, *counts])
        kept = flat_W != 0
        before = np.concatenate([[0], np.cumsum(kept)])
        self._set(flat_W[kept], before[ends[:-1]], before[ends[1:]])
        self._texts(numbers.texts)

    def _set(self, flat: npt.NDArray[np.int32], start: Numbers, stop: Numbers) -> None:
        self.flat, self.start, self.stop = flat, start.astype(np.int64), stop.astype(np.int64)
        self.length = self.stop - self.start

    def _texts(self, texts: Sequence[str]) -> None:
        self.value = np.array([random_value(text) for text in texts], np.uint64)
        self.content = np.array([is_content(text) for text in texts])
        self.code = np.array([any(char.isdigit() for char in text) for text in texts])

    def full(self) -> Hashes:
        """The hash of each caption, (N,)."""
        owner = np.repeat(np.arange(len(self.start)), self.length)
        return _differences(_sums(self.value[self.flat], np.arange(len(self.flat)) - self.start[owner]), self)

    def of(self, chosen: Numbers) -> _Words:
        """The words of some captions."""
        length = self.length[chosen]
        stop = np.cumsum(length)
        owner = np.repeat(np.arange(len(chosen)), length)
        place = np.arange(int(stop[-1]) if len(stop) else 0) - (stop - length)[owner]
        words = object.__new__(_Words)
        words._set(self.flat[self.start[chosen][owner] + place], stop - length, stop)
        words.value, words.content, words.code = self.value, self.content, self.code
        return words


def _pairs(words: _Words, full_N: Hashes) -> Numbers:
    """All pairs ``(P, 5)``: caption, other caption, hashes of the words that go and come (signed), their number."""
    value_W = words.value[words.flat]
    owner_W = np.repeat(np.arange(len(words.start), dtype=np.int32), words.length)
    start_W, stop_W = words.start[owner_W], words.stop[owner_W]
    place_W = np.arange(len(words.flat)) - start_W
    head, tail = _sums(value_W, place_W), _sums(value_W, stop_W - 1 - np.arange(len(words.flat)))
    content = np.concatenate([[0], np.cumsum(words.content[words.flat])])
    code = np.concatenate([[0], np.cumsum(words.code[words.flat])])
    usable_W = (stop_W - start_W > 1) & (stop_W - start_W <= MAX_CAPTION_WORDS)
    known = _Known(full_N)
    masked: list[_Masked] = []
    found: list[Numbers] = []
    inverse = pow(BASE, -1, 1 << 64)
    for size in range(1, MAX_SPAN + 1):
        at = np.flatnonzero(usable_W & (place_W + size <= stop_W - start_W))
        end, first, last = at + size, start_W[at], stop_W[at]
        inside = content[end] - content[at]
        shared = content[last] - content[first] - inside
        # A span without meaning is no edit; what is shared must say at least as much as what is not.
        fits = (inside > 0) & (shared >= inside) & (code[end] == code[at])
        at, end, first, last = at[fits], end[fits], first[fits], last[fits]
        place = place_W[at]
        before, behind = head[at] - head[first], tail[last] - tail[end]
        span = (head[end] - head[at]) * _powers(inverse)[place]
        sizes = np.full(len(at), size, np.int8)
        masked.append((_mixed(_mixed(before) + behind), owner_W[at], span, _ends(words.flat, at, end), sizes))
        removed = before + (head[last] - head[end]) * np.uint64(pow(inverse, size, 1 << 64))
        other = known.find(removed)
        hit = other >= 0
        longer, shorter, gone, lost = owner_W[at][hit], other[hit], span[hit].view(np.int64), sizes[hit]
        found.append(np.stack([longer, shorter, gone, np.zeros_like(gone), lost], axis=1))
        found.append(np.stack([shorter, longer, np.zeros_like(gone), gone, lost], axis=1))
    pairs: Numbers = np.concatenate([*found, _swaps(masked)])
    return pairs


def _swaps(masked: Sequence[_Masked]) -> Numbers:
    """Pairs of captions with an equal masked key, both ways."""
    keys = np.concatenate([part[0] for part in masked])
    again = np.split(_repeated(keys), np.cumsum([len(part[0]) for part in masked])[:-1])
    key, owner, span, ends, size = (
        np.concatenate([part[field][few] for part, few in zip(masked, again, strict=True)]) for field in range(5)
    )
    # Sorting keys whose last bits are their place is twice as quick as argsort. Captions are numbered by their hashes,
    # so the order of equal keys is a random one.
    bits = np.uint64(len(key).bit_length())
    order = np.sort((key >> bits << bits) | np.arange(len(key), dtype=np.uint64))
    order = (order & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    key, owner, span, ends, size = key[order], owner[order], span[order], ends[order], size[order]
    found = [np.zeros((0, 5), np.int64)]
    for step in range(1, _NEIGHBORS + 1):
        # Spans that begin or end with the same word are a longer span than needed: the pair is found without it.
        same = (key[step:] == key[:-step]) & (ends[step:] != ends[:-step]).all(axis=1) & (owner[step:] != owner[:-step])
        one, other = np.flatnonzero(same), np.flatnonzero(same) + step
        for a, b in ((one, other), (other, one)):
            words = span[a].view(np.int64), span[b].view(np.int64), size[a] + size[b]
            found.append(np.stack([owner[a], owner[b], *words], axis=1))
    return np.concatenate(found)


def _balanced(pairs: Numbers, seed: int) -> Numbers:
    """Pairs of swaps and words within their share; those of a caption take turns over its words, the shortest first."""
    pairs = pairs[np.unique(_both(pairs[:, 0], pairs[:, 1]), return_index=True)[1]]
    pairs = pairs[np.argsort(_mixed(_both(pairs[:, 0], pairs[:, 1]) + np.uint64(seed & MASK)), kind="stable")]
    if not len(pairs):
        return pairs
    pairs = pairs[_rank(_both(pairs[:, 2], pairs[:, 3])) < max(_LEAST_SWAPS, len(pairs) // _MOST_SWAPS)]
    for side in (2, 3):
        # Insertions and removals have no word on one side (0).
        few = _rank(pairs[:, side].view(np.uint64)) < max(_LEAST_WORDS, len(pairs) // _MOST_WORDS)
        pairs = pairs[few | (pairs[:, side] == 0)]
    pairs = pairs[np.argsort(pairs[:, 4], kind="stable")]  # the fewer words differ, the clearer the edit
    turn_P = _rank(_both(pairs[:, 0], pairs[:, 2]))  # one pair for each span of a caption, then the second of each …
    pairs = pairs[np.argsort(turn_P, kind="stable")]
    return pairs[_rank(pairs[:, 0].view(np.uint64)) < _MAX_PARTNERS]


def _rank(key: Hashes) -> Numbers:
    """How many equal keys come before each."""
    order = np.argsort(key, kind="stable")
    begins = np.flatnonzero(np.concatenate([[True], key[order][1:] != key[order][:-1]]))
    lengths = np.diff(np.append(begins, len(key)))
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - np.repeat(begins, lengths)
    return rank


class _Known:
    """Finds which hashes are those of whole captions; a table of bits answers for most that they are not."""

    def __init__(self, sorted_N: Hashes) -> None:
        self._hashes = sorted_N
        self._bits = max(10, int(8 * len(sorted_N)).bit_length())
        self._table = np.zeros(1 << self._bits, bool)
        self._table[_top(_mixed(sorted_N), self._bits)] = True

    def find(self, hashes: Hashes) -> Numbers:
        """The number of each hash, or -1."""
        number = np.full(len(hashes), -1, np.int64)
        maybe = np.flatnonzero(self._table[_top(_mixed(hashes), self._bits)])
        at = np.searchsorted(self._hashes, hashes[maybe]).clip(max=len(self._hashes) - 1)
        number[maybe] = np.where(self._hashes[at] == hashes[maybe], at, -1)
        return number


def _repeated(key: Hashes) -> npt.NDArray[np.bool_]:
    """Which keys occur more than once; and a few others."""
    bits = max(10, int(2 * len(key)).bit_length())
    place = _top(key, bits)
    last = np.zeros(1 << bits, np.uint32)
    last[place] = np.arange(len(key), dtype=np.uint32)
    several = np.zeros(1 << bits, bool)
    several[place[last[place] != np.arange(len(key), dtype=np.uint32)]] = True
    again: npt.NDArray[np.bool_] = several[place]
    return again


def _ends(flat: npt.NDArray[np.int32], at: Numbers, end: Numbers) -> npt.NDArray[np.int32]:
    return np.stack([flat[at], flat[end - 1]], axis=1)


def _sums(value_W: Hashes, exponent_W: Numbers) -> Hashes:
    """Cumulative sums of value times base to the exponent, modulo 2**64, with a 0 before them."""
    longest = int(exponent_W.max(initial=0)) + 1
    powers = np.cumprod(np.array([1] + [BASE] * longest, np.uint64), dtype=np.uint64)
    return np.concatenate([np.zeros(1, np.uint64), np.cumsum(value_W * powers[exponent_W], dtype=np.uint64)])


def _powers(base: int) -> Hashes:
    values = [1]
    for _ in range(MAX_CAPTION_WORDS):
        values.append(values[-1] * base & MASK)
    return np.array(values, np.uint64)


def _differences(sums: Hashes, words: _Words) -> Hashes:
    hashes: Hashes = sums[words.stop] - sums[words.start]
    return hashes


def _both(one: Numbers, other: Numbers) -> Hashes:
    return _mixed(one.view(np.uint64)) + other.view(np.uint64)


def _mixed(key: Hashes) -> Hashes:
    """The finalizer of SplitMix64: every bit of the result depends on every bit of the key."""
    key = (key ^ (key >> np.uint64(30))) * _ROUNDS[0]
    key = (key ^ (key >> np.uint64(27))) * _ROUNDS[1]
    mixed: Hashes = key ^ (key >> np.uint64(31))
    return mixed


def _top(key: Hashes, bits: int) -> Numbers:
    place: Numbers = (key >> np.uint64(64 - bits)).astype(np.int64)
    return place
