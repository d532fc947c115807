"""In which order a run sees its triplets: every one once an epoch, in a new order each time, and nothing to remember.

An epoch's order is a permutation of 0 … n−1 that is computed where it is asked for: a Feistel network over the smallest
even number of bits that holds n, walked until it comes back below n (cycle walking: Black & Rogaway, CT-RSA 2002,
"Ciphers with arbitrary finite domains"). It needs no memory, whatever n; any place of it can be asked for first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDS = 6


def samples(start: int, count: int, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Places ``start … start + count − 1`` of an endless walk over 0 … size−1: one permutation after another.

    The walk does not stop at an epoch's end, so a batch may hold the last of one epoch and the first of the next; no
    row is ever left out because it does not fill a batch.
    """
    parts = []
    end = start + count
    while start < end:
        epoch, place = divmod(start, size)
        stop = min(size, place + end - start)
        parts.append(permuted(np.arange(place, stop, dtype=np.int64), size, (seed, epoch)))
        start += stop - place
    return np.concatenate(parts)


def permuted(places: npt.NDArray[np.int64], size: int, key: tuple[int, int]) -> npt.NDArray[np.int64]:
    """What a permutation of 0 … size−1, chosen by ``key``, has at ``places``."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    sequence = np.random.SeedSequence([word % 2**64 for word in key])
    keys = sequence.generate_state(_ROUNDS, np.uint64).astype(np.uint64)
    values = _feistel(places.astype(np.uint64), half, keys)
    while len(outside := (values >= size).nonzero()[0]):
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def _feistel(values: npt.NDArray[np.uint64], half: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One pass over 2·half bits; each round is undone by running it backwards, so no two values meet."""
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << shift) | right


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
