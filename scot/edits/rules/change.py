"""A change of a caption, the operations that make one, and the repeatable random choices that they use."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from scot.edits.rules.reading import Reading

Option = TypeVar("Option")

DOUBLES = 0.45
"""The share of edits that change two things."""

_AND = (" and ", " and ", ", and ", " and also ")
_THROWS = struct.Struct("<32H")
_SIDES = 1 << 16


class Dice:
    """Choices that follow from a text and a seed: their hash, cut into throws of 16 bits, then its hash, and so on.

    Ten choices take a third of the time that ``random.Random`` needs to read its seed.
    """

    __slots__ = ("_throws",)

    def __init__(self, text: str, seed: int) -> None:
        self._throws = _throws(f"{seed}\n{text}".encode("utf-8", "surrogatepass"))

    def one_of(self, options: Sequence[Option]) -> Option:
        """One of the options, all with equal probability (within one in 65,536)."""
        return options[next(self._throws) * len(options) >> 16]

    def chance(self, share: float) -> bool:
        """True in ``share`` of the throws."""
        return next(self._throws) < share * _SIDES


class Change(NamedTuple):
    """One rewritten caption, with its edit and the group of words that changed."""

    group: str
    aspect: str
    edit: str
    caption: str


def conjunction(one: str, other: str, dice: Dice) -> str:
    """Two edits as one, in either order."""
    edits = (one, other) if dice.chance(0.5) else (other, one)
    return dice.one_of(_AND).join(edits)


Operation = Callable[[Reading, Dice], Change | None]
"""Makes one change; None if it is not possible."""


def _throws(state: bytes) -> Iterator[int]:
    while True:
        state = blake2b(state).digest()
        yield from _THROWS.unpack(state)
