"""The split of a run: whole groups of captions are held out, by a hash, so that every run and worker selects the same.

A triplet of a held-out caption is measured, and so is a pair of images (:mod:`scot.embeddings.pairs`) whose reference
has one. No text or image of it is trained on: not its caption and edited caption, in either role, not its images with
another caption, and not its edit. Triplets in between are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from scot.embeddings.cache import TripletEmbeddings
from scot.embeddings.memory_mapped import mapped_rows
from scot.embeddings.pairs import CachedPair
from scot.errors import InvalidInput
from scot.evaluation.pairs import ENOUGH

_MOST_DROPPED = 0.2  # of all triplets: a corpus in which each caption is in many triplets holds out fewer captions
_FEWEST = 100  # measured triplets with edits that were not trained on; of fewer, recall has no second digit
_CHUNK = 1_000_000  # triplets looked at together
_TRAINED, _MEASURED, _LEFT_OUT = 0, 1, 2

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of the triplets to train on and to measure, and the numbers of those that are neither.

    Attributes:
        training_N: rows to train on; int64, memory-mapped if the data is.
        measured_M: rows to measure.
        captions: the number of held-out captions.
        dropped: triplets of other captions with a caption, edited caption or image of the held-out ones.
        unmeasured: triplets of held-out captions whose edit is trained on with other captions.
        repeats_edits: whether such triplets are measured, because too few are left without them.
        pairs: the held-out pairs of images to measure; none if they are fewer than ``ENOUGH``.
        found_pairs: the number of held-out pairs.
    """

    training_N: torch.Tensor
    measured_M: torch.Tensor
    captions: int
    dropped: int
    unmeasured: int
    repeats_edits: bool
    pairs: tuple[CachedPair, ...] = ()
    found_pairs: int = 0

    @property
    def summary(self) -> str:
        """One sentence with the numbers."""
        held = f"held out: {self.captions:,} captions, {len(self.measured_M):,} of their triplets are measured"
        unmeasured = f"; {self.unmeasured:,} are not, because their edits are trained on" if self.unmeasured else ""
        repeats = "; their edits are also trained on, with other captions" if self.repeats_edits else ""
        dropped = f"; {self.dropped:,} other triplets with their texts or images are left out" if self.dropped else ""
        return f"{held}{unmeasured}{repeats}{dropped}; {self._pairs}"

    @property
    def _pairs(self) -> str:
        if self.pairs:
            return f"{len(self.pairs):,} held-out pairs of images are measured, and decide"
        return f"{self.found_pairs} held-out pairs of images are fewer than {ENOUGH}: the recall of edits decides"


def split(data: TripletEmbeddings, share: float) -> Split:
    """Hold out ``share`` of the captions, at least one; fewer if more than a fifth of the triplets would be left out.

    Raises:
        InvalidInput: no triplet is left to train on or to measure.
    """
    fold_V, caption_V = data.text_folds(), np.zeros(len(data.text_VD), np.bool_)
    for part in _parts(data):
        caption_V[part.caption] = True
    least = int(fold_V[caption_V].min(initial=2**32 - 1)) + 1  # holds out one caption
    wanted = limit = max(int(share * 2**32), least)
    while True:
        held_V = caption_V & (fold_V < limit)
        kind_N, trained_V = _kinds(data, held_V)
        dropped = int((kind_N == _LEFT_OUT).sum())
        if dropped <= _MOST_DROPPED * len(data) or limit == least:
            break
        limit = max(limit * 3 // 4, least)
    known_N = np.zeros(len(data), np.bool_)
    for part in _parts(data):
        known_N[part.rows] = held_V[part.caption] & trained_V[part.edit]
    known, measured = int(known_N.sum()), int((kind_N == _MEASURED).sum())
    repeats_edits = known > 0 and measured - known < _FEWEST
    if not repeats_edits:
        kind_N[known_N] = _LEFT_OUT
    training_N, measured_M = (_rows(data, kind_N, kind, wanted) for kind in (_TRAINED, _MEASURED))
    if not len(training_N) or not len(measured_M):
        raise InvalidInput(
            f"{len(data)} triplets of {int(caption_V.sum())} captions are too few to hold out a share of {share:g}"
        )
    held = [each for each in data.pairs if held_V[each.caption]]
    unknown = tuple(each for each in held if not trained_V[each.edit])
    pairs = unknown if len(unknown) >= ENOUGH else tuple(held)
    return Split(
        training_N,
        measured_M,
        int(held_V.sum()),
        dropped,
        0 if repeats_edits else known,
        repeats_edits,
        pairs if len(pairs) >= ENOUGH else (),
        len(held),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the triplets: their place, and the rows of each one's image and texts."""

    rows: slice
    image: npt.NDArray[np.int64]
    edit: npt.NDArray[np.int64]
    caption: npt.NDArray[np.int64]
    edited: npt.NDArray[np.int64]


def _parts(data: TripletEmbeddings) -> Iterator[_Part]:
    for start in range(0, len(data), _CHUNK):
        rows = slice(start, min(len(data), start + _CHUNK))
        yield _Part(rows, *(each[rows].numpy() for each in (data.image_N, data.edit_N, data.caption_N, data.edited_N)))


def _kinds(data: TripletEmbeddings, held_V: Flags) -> tuple[npt.NDArray[np.uint8], Flags]:
    """What each triplet is for, all triplets of held-out captions being measured; and the texts of trained edits."""
    text_V, trained_V = held_V.copy(), np.zeros(len(held_V), np.bool_)
    image_U = np.zeros(len(data.image_ids), np.bool_)
    kind_N = np.empty(len(data), np.uint8)
    for part in _parts(data):
        held_P = held_V[part.caption]
        text_V[part.edited[held_P]] = True
        image_U[part.image[held_P]] = True
    for pair in data.pairs:
        if held_V[pair.caption]:
            text_V[[pair.caption, pair.edited]] = True
            image_U[[pair.image, *pair.targets]] = True
    for part in _parts(data):
        held_P = held_V[part.caption]
        near_P = text_V[part.caption] | text_V[part.edited] | image_U[part.image]
        kind_N[part.rows] = np.where(held_P, _MEASURED, np.where(near_P, _LEFT_OUT, _TRAINED))
        trained_V[part.edit[~(held_P | near_P)]] = True
    return kind_N, trained_V


def _rows(data: TripletEmbeddings, kind_N: npt.NDArray[np.uint8], kind: int, limit: int) -> torch.Tensor:
    if data.mapped is None:
        return torch.from_numpy((kind_N == kind).nonzero()[0])
    chunks = ((kind_N[part.rows] == kind).nonzero()[0] + part.rows.start for part in _parts(data))
    name = f"{'train' if kind == _TRAINED else 'held'}-{limit:08x}"
    return mapped_rows(data.mapped, name, int((kind_N == kind).sum()), chunks)
