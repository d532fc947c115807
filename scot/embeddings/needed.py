"""What the triplets of a run need, numbered in the order in which it comes; triplets are read shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scot.data.key_table import KeyTable
from scot.data.triplets import iterate_triplets
from scot.embeddings.pairs import FindPairs, ImagePair

MOST_CAPTIONED = 50_000
"""Images with their captions among which pairs are looked for: the first ones of the triplets."""
_TEXTS = ("edit", "caption", "edited_caption")
_ROWS = 2_048  # of triplets in memory at a time, as Python's texts


@dataclass(slots=True)
class Needed:
    """The numbers of the triplets' ids, images and texts.

    With ``captions_only``, each caption is the id of its image.
    """

    folders: Sequence[str]
    captions_only: bool = False
    triplets: KeyTable = field(default_factory=KeyTable)
    images: KeyTable = field(default_factory=KeyTable)
    texts: KeyTable = field(default_factory=KeyTable)
    edits: KeyTable | None = None
    """The texts that have hidden states."""
    rows: int = 0
    pairs: tuple[ImagePair, ...] = ()

    @property
    def repeated(self) -> int:
        """The triplets whose id an earlier one has."""
        return self.rows - len(self.triplets)

    @classmethod
    def survey(
        cls, folders: Sequence[str], *, captions_only: bool, states: bool, find_pairs: FindPairs | None
    ) -> Needed:
        """Read the triplets once. Raises NotFound, or InvalidInput when they are damaged."""
        needed = cls(folders, captions_only, edits=KeyTable() if states else None)
        captioned: dict[tuple[str, str], None] = {}
        for every in needed._tables():
            met = len(needed.triplets)
            table = _new(every, needed.triplets.add(_column(every, "triplet_id")), met)
            needed.rows += every.num_rows
            ids = _column(table, "image_id")
            needed.images.add(ids)
            for name in _TEXTS:
                needed.texts.add(_column(table, name))
            if needed.edits is not None:
                needed.edits.add(_column(table, "edit"))
            if find_pairs is not None and len(captioned) < MOST_CAPTIONED:
                captioned |= dict.fromkeys(zip(ids, _column(table, "caption"), strict=True))
        if find_pairs is not None and not captions_only:
            needed.pairs = tuple(find_pairs(list(captioned)[:MOST_CAPTIONED]))
            needed.texts.add(needed._tested())
            if needed.edits is not None:
                needed.edits.add([pair.edit for pair in needed.pairs])
        return needed

    def tables(self) -> Iterator[pa.Table]:
        """The triplets, shard by shard; the first of those with one id."""
        met = 0
        for every in self._tables():
            number_N = self.triplets.find(_column(every, "triplet_id"))
            table = _new(every, number_N, met)
            met += table.num_rows
            yield table

    def all_texts(self) -> Iterator[list[str]]:
        """The texts of the triplets and of the pairs, in the order of their numbers."""
        for table in self.tables():
            yield from (_column(table, name) for name in _TEXTS)
        yield self._tested()

    def _tested(self) -> list[str]:
        return [text for pair in self.pairs for text in (pair.edit, pair.caption, pair.edited_caption)]

    def _tables(self) -> Iterator[pa.Table]:
        for folder in self.folders:
            for shard in iterate_triplets(folder):
                for start in range(0, shard.num_rows, _ROWS):
                    table = shard.slice(start, _ROWS)
                    at = table.column_names.index("image_id")
                    yield table.set_column(at, "image_id", table.column("caption")) if self.captions_only else table


def _column(table: pa.Table, name: str) -> list[str]:
    values: list[str] = table.column(name).to_pylist()
    return values


def _new(table: pa.Table, number_N: npt.NDArray[np.int64], met: int) -> pa.Table:
    """The rows with a number that is not below ``met``, at its first row: numbers are in the order of arrival."""
    highest_N = np.maximum.accumulate(np.concatenate([[met - 1], number_N]))
    first_N = number_N > highest_N[:-1]
    return table if first_N.all() else table.filter(pa.array(first_N))
