"""Numbers for texts and ids, in the order of their arrival, in memory that does not grow with them.

A key is known by 128 bits of its BLAKE2b hash: two of 10⁹ keys share one with a probability of 10⁻²¹. The table is an
array of open addresses with linear probing; a large one is a mapped temporary file, whose pages the kernel takes back
when memory is short. Keys are looked up in batches.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, MutableMapping, Sequence

import numpy as np
import numpy.typing as npt

from scot.data.atomic_io import writing

_SLOTS = 1_024
_FULL = 0.6  # the share of slots in use above which the table grows
_ON_DISK = 2**20  # bytes from which an array is a file
_BLOCK = 2**16  # slots that move at a time when the table grows


class KeyTable:
    """Each distinct key's number: 0 for the first that was added, 1 for the second …"""

    def __init__(self) -> None:
        self._count = 0
        self._allocate(_SLOTS)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.number(key) >= 0

    def add(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """The numbers of some keys; those that are new get the next ones.

        Raises:
            Unavailable: the temporary folder is full.
        """
        distinct = list(dict.fromkeys(keys))
        hash_N2 = _hashes(distinct)
        number_N = self._find(hash_N2)
        new = np.flatnonzero(number_N < 0)
        number_N[new] = np.arange(self._count, self._count + len(new))
        self._grow(self._count + len(new))
        self._insert(hash_N2[new], number_N[new])
        self._count += len(new)
        return _spread(keys, distinct, number_N)

    def find(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """The numbers of some keys; −1 for a key that was not added."""
        distinct = list(dict.fromkeys(keys))
        return _spread(keys, distinct, self._find(_hashes(distinct)))

    def number(self, key: str) -> int:
        """The number of one key, or −1."""
        return self._search(*_halves(key))[0]

    def add_one(self, key: str) -> int:
        """:meth:`add` for one key, which is several times faster than a batch of one."""
        first, second = _halves(key)
        number, at = self._search(first, second)
        if number >= 0:
            return number
        if self._count + 1 > _FULL * (self._mask + 1):
            self._grow(self._count + 1)
            _, at = self._search(first, second)
        self._slot_S3[at] = (first, second, self._count + 1)
        self._count += 1
        return self._count - 1

    def _search(self, first: int, second: int) -> tuple[int, int]:
        """A key's number, and its slot; −1 and a free slot for one that is not there."""
        at = first & self._mask
        while True:
            one, two, held = self._slot_S3[at].tolist()
            if not held or (one == first and two == second):
                return held - 1, at
            at = (at + 1) & self._mask

    def _allocate(self, slots: int) -> None:
        self._mask = slots - 1
        self._slot_S3 = disk_array((slots, 3), np.uint64)  # two halves of the hash, and the number + 1; 0: free

    def _grow(self, count: int) -> None:
        slots = self._mask + 1
        while count > _FULL * slots:
            slots *= 2
        if slots == self._mask + 1:
            return
        before = self._slot_S3
        self._allocate(slots)
        for start in range(0, len(before), _BLOCK):
            block = np.asarray(before[start : start + _BLOCK])
            block = block[block[:, 2] > 0]
            self._insert(block[:, :2], block[:, 2].astype(np.int64) - 1)

    def _find(self, hash_N2: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        number_N = np.full(len(hash_N2), -1, np.int64)
        at_N = self._places(hash_N2)
        open_M = np.arange(len(hash_N2))
        while len(open_M):
            slot_M3 = self._slot_S3[at_N[open_M]]
            equal_M = (slot_M3[:, :2] == hash_N2[open_M]).all(1) & (slot_M3[:, 2] > 0)
            number_N[open_M[equal_M]] = slot_M3[equal_M, 2].astype(np.int64) - 1
            open_M = open_M[~equal_M & (slot_M3[:, 2] > 0)]
            at_N[open_M] = (at_N[open_M] + 1) & self._mask
        return number_N

    def _insert(self, hash_N2: npt.NDArray[np.uint64], number_N: npt.NDArray[np.int64]) -> None:
        """Put distinct keys, which the table does not have, into the next free slots."""
        at_N = self._places(hash_N2)
        open_M = np.arange(len(hash_N2))
        while len(open_M):
            free_M = open_M[self._slot_S3[at_N[open_M], 2] == 0]
            _, first = np.unique(at_N[free_M], return_index=True)  # of several keys with one slot, the first
            placed = free_M[first]
            self._slot_S3[at_N[placed], :2] = hash_N2[placed]
            self._slot_S3[at_N[placed], 2] = number_N[placed].astype(np.uint64) + np.uint64(1)
            open_M = np.setdiff1d(open_M, placed, assume_unique=True)
            at_N[open_M] = (at_N[open_M] + 1) & self._mask

    def _places(self, hash_N2: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (hash_N2[:, 0] & np.uint64(self._mask)).astype(np.int64)


class SeenIds(MutableMapping[str, str]):
    """The ids of sources that are read one after the other, and the source of each, as a small mapping."""

    def __init__(self) -> None:
        self._table = KeyTable()
        self._starts: list[int] = []
        self._sources: list[str] = []

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._table

    def __getitem__(self, image_id: str) -> str:
        number = self._table.number(image_id)
        if number < 0:
            raise KeyError(image_id)
        return self._sources[bisect_right(self._starts, number) - 1]

    def __setitem__(self, image_id: str, source: str) -> None:
        if not self._sources or self._sources[-1] != source:
            self._starts.append(len(self._table))
            self._sources.append(source)
        self._table.add_one(image_id)

    def __delitem__(self, image_id: str) -> None:
        raise TypeError("an id that was seen stays seen")

    def __iter__(self) -> Iterator[str]:
        raise TypeError("the ids themselves are not stored")

    def __len__(self) -> int:
        return len(self._table)


def disk_array(shape: tuple[int, ...], kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """An array of zeros; a large one is mapped from a temporary file that has no name.

    Raises:
        Unavailable: the temporary folder is full.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size < _ON_DISK:
        return np.zeros(shape, kind)
    with writing(f"the temporary folder {tempfile.gettempdir()}"), tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a disk that fills later would kill the process
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.memmap(file, kind, "r+", shape=shape)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _halves(key: str) -> tuple[int, int]:
    digest = _digest(key)
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _hashes(keys: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The hashes of keys ``(N, 2)``."""
    return np.frombuffer(b"".join(map(_digest, keys)), "<u8").reshape(-1, 2).astype(np.uint64)


def _spread(keys: Sequence[str], distinct: list[str], number_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers of the distinct keys, for all keys."""
    if len(distinct) == len(keys):
        return number_N
    number_of = dict(zip(distinct, number_N.tolist(), strict=True))
    return np.array([number_of[key] for key in keys], np.int64)
