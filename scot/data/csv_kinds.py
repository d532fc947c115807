"""The kind of a CSV column, which has no types: all cells are numbers, all are booleans, or the column is text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scot.data.payload import EXACT_BELOW

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_FEW, _NEARLY_ALL = 10, 0.9


@dataclass(slots=True)
class ColumnKind:
    """The kind of a column, from its cells that are not empty."""

    cells: int = 0
    numbers: int = 0
    fractions: int = 0
    booleans: int = 0
    odd: tuple[int, str] = (0, "")
    """The line and the text of the first cell that is not a number."""

    def add(self, line: int, cell: str) -> bool:
        """Take a cell into account; False once it is clear that the column is text and not nearly all numbers."""
        self.cells += 1
        if (kind := _number(cell)) is not None:
            self.numbers += 1
            self.fractions += kind is float
        else:
            self.booleans += cell.lower() in ("true", "false")
            self.odd = self.odd if self.odd[0] else (line, cell)
        return self.booleans == self.cells or self.cells <= _FEW + 2 * self.numbers

    @property
    def convert(self) -> Callable[[str], Any]:
        """Makes the value of a cell."""
        if self.cells == self.numbers:
            return float if self.fractions else int
        return _boolean if self.cells == self.booleans else str

    def __str__(self) -> str:
        """``number``, ``boolean``, or ``text``, with the cell that made it text if nearly all others are numbers."""
        if self.cells in (self.numbers, self.booleans):
            return "text" if not self.cells else "number" if self.numbers else "boolean"
        most = self.cells >= _FEW and self.numbers >= _NEARLY_ALL * self.cells
        if not most and not 2 <= self.numbers == self.cells - 1:
            return "text"
        line, cell = self.odd
        why = "would change as a number" if _is_finite(cell) else "is no number"
        return f"text: {cell if len(cell) <= 40 else cell[:39] + '…'!r} in line {line} {why}"


def _number(cell: str) -> type | None:
    """The type of a number that a double gives back as it was written, else None."""
    if _INTEGER.fullmatch(cell) and abs(int(cell)) < EXACT_BELOW:
        return int
    return float if _NUMBER.fullmatch(cell) and abs(float(cell)) < EXACT_BELOW else None


def _boolean(cell: str) -> bool:
    return cell.lower() == "true"


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
