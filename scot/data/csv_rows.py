"""CSV that survives a bad row: a quote that is not closed costs its own line and no other."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator

from scot.data.places import Place, unchanged

_MAX_LINES = 2_000  # of one record; a quote that is open for longer was never closed

csv.field_size_limit(2**31 - 1)  # an overlong caption is refused by name; the default limit would end the whole read


def read_csv(file: Place, delimiter: str, refuse: Callable[[int], None]) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each with the number of the line that it begins in; blank lines are left out.

    ``refuse`` receives the number of each line with a quote that is not closed, or closed in the middle of a cell.

    Raises:
        UnicodeDecodeError: the file is not UTF-8.
        OSError: the file cannot be read.
    """
    with unchanged(file), file.open("r", encoding="utf-8-sig", newline="") as opened:
        lines = _Lines(opened)
        while True:
            try:
                for cells in csv.reader(lines, delimiter=delimiter, strict=True):
                    number = lines.take()
                    if any(map(str.strip, cells)):
                        yield number, cells
                return
            except csv.Error:
                refuse(lines.go_back())


class _Lines:
    """The lines of a file, which can be read again from the second line of the current record."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._current: list[str] = []
        self._first = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._current) >= _MAX_LINES:
            raise csv.Error("a quote is open for too long")
        line = self._again.popleft() if self._again else next(self._file)
        self._current.append(line)
        return line

    def take(self) -> int:
        """End the current record; returns the number of its first line."""
        first = self._first
        self._first += len(self._current)
        self._current.clear()
        return first

    def go_back(self) -> int:
        """Give up the first line of the current record and read on from the next; returns its number."""
        self._again.extendleft(reversed(self._current[1:]))
        del self._current[1:]
        return self.take()
