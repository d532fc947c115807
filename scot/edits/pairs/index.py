"""The pairs of a corpus, and the images of each caption: built once in the folder of a run, read by all processes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scot.data.storage import Folder
from scot.edits.pairs.normalize import BASE, MASK, WORD, Lemmas, body, random_value
from scot.errors import InvalidInput

_FILE = "pairs.npz"
_FIELDS = ("hashes", "row_begins", "rows", "partner_begins", "partners", "sizes", "images", "captions")


@dataclass(frozen=True)
class PairIndex:
    """N different captions (as lemmas, sorted by hash) of R rows.

    ``rows[row_begins[n]:row_begins[n + 1]]`` are the rows of caption n, ``partners[…]`` its pairs, and ``sizes[…]``
    how many words differ.
    """

    hashes: npt.NDArray[np.uint64]
    row_begins: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    partner_begins: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int32]
    images: _Texts
    captions: _Texts

    @classmethod
    def build(
        cls,
        images: Sequence[str],
        captions: Sequence[str],
        hash_N: npt.NDArray[np.uint64],
        node_R: npt.NDArray[np.int64],
        pairs_P5: npt.NDArray[np.int64],
    ) -> PairIndex:
        """From rows, the sorted hashes of their captions, the caption of each row, and the pairs that mining found."""
        row_begins, rows = _grouped(node_R, len(hash_N))
        partner_begins, order = _grouped(pairs_P5[:, 0], len(hash_N))
        partners, sizes = (pairs_P5[order, column].astype(np.int32) for column in (1, 4))
        return cls(hash_N, row_begins, rows, partner_begins, partners, sizes, _Texts.of(images), _Texts.of(captions))

    def partners_of(self, caption: str) -> list[tuple[int, int]] | None:
        """The captions that are pairs of this one, with the words that differ; None if the corpus does not have it."""
        hashed = _hash(caption)
        at = int(np.searchsorted(self.hashes, np.uint64(hashed)))
        if at == len(self.hashes) or int(self.hashes[at]) != hashed:
            return None
        return self.partners_at(at)

    def partners_at(self, number: int) -> list[tuple[int, int]]:
        """The pairs of a caption by its number, with the words that differ."""
        of = slice(self.partner_begins[number], self.partner_begins[number + 1])
        return list(zip(self.partners[of].tolist(), self.sizes[of].tolist(), strict=True))

    def rows_of(self, number: int) -> npt.NDArray[np.int32]:
        """The rows of a caption."""
        return self.rows[self.row_begins[number] : self.row_begins[number + 1]]

    def share_with_pairs(self) -> float:
        """The share of the rows whose caption has a pair."""
        has = np.diff(self.partner_begins) > 0
        return float((np.diff(self.row_begins) * has).sum() / max(1, len(self.rows)))

    def write(self, folder: Folder) -> None:
        """Write the index; a reader sees all of it or none."""
        arrays = {name: getattr(self, name) for name in _FIELDS[:-2]}
        for name in _FIELDS[-2:]:
            texts: _Texts = getattr(self, name)
            arrays |= {f"{name}_data": texts.data, f"{name}_begins": texts.begins}
        sink = io.BytesIO()
        np.savez(sink, **arrays)
        folder.write(_FILE, sink.getvalue())

    @classmethod
    def read(cls, folder: Folder) -> PairIndex:
        """Read the index.

        Raises:
            InvalidInput: the folder has none, or a damaged one.
        """
        try:
            stored = np.load(io.BytesIO(folder.read(_FILE)), allow_pickle=False)
            texts = [_Texts(stored[f"{name}_data"], stored[f"{name}_begins"]) for name in _FIELDS[-2:]]
            return cls(*(stored[name] for name in _FIELDS[:-2]), *texts)
        except (OSError, ValueError, KeyError) as error:
            raise InvalidInput(f"{folder.name} has no index of pairs: start the run again") from error

    @staticmethod
    def exists(folder: Folder) -> bool:
        """Whether the folder has an index."""
        return folder.exists(_FILE)


@dataclass(frozen=True)
class _Texts:
    """Many texts as one array of bytes."""

    data: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Texts:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        begins = np.cumsum([0, *map(len, encoded)])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), begins)

    def __getitem__(self, number: int) -> str:
        return self.data[self.begins[number] : self.begins[number + 1]].tobytes().decode("utf-8", "surrogatepass")


_LEMMAS = Lemmas()
_VALUES: list[int] = []


def lemmas_of(caption: str) -> list[tuple[str, int, int]]:
    """The lemmas of a caption with where each begins and ends in it; articles are left out."""
    text, begin = body(caption)
    numbered = ((_LEMMAS[found[0]], found) for found in WORD.finditer(text, begin))
    return [(_LEMMAS.texts[number], found.start(), found.end()) for number, found in numbered if number]


def _hash(caption: str) -> int:
    """The hash that mining gives a caption."""
    total, power = 0, 1
    text, begin = body(caption)
    for word in WORD.findall(text, begin):
        if number := _LEMMAS[word]:
            while len(_VALUES) <= number:
                _VALUES.append(random_value(_LEMMAS.texts[len(_VALUES)]))
            total, power = (total + _VALUES[number] * power) & MASK, power * BASE & MASK
    return total


def _grouped(key: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Where the members of each group begin, and the members by group, in their own order."""
    begins = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=count))]).astype(np.int64)
    return begins, np.argsort(key, kind="stable").astype(np.int32)
