"""A run's data: the triplets of each step in a repeatable random order, gathered into batches ahead of the step.

An epoch's order is a permutation of 0 … n−1 that is computed on demand, not stored: a Feistel network over the smallest
even number of bits that holds n, applied repeatedly until the result is below n (cycle walking: Black & Rogaway, CT-RSA
2002, "Ciphers with arbitrary finite domains"). It needs no memory, for any n, and can start at any position.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from scot.composers.base import States
from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.embeddings.moments import Moments
from scot.errors import InvalidInput
from scot.training.config import TrainConfig
from scot.training.objectives import MinedTargets, StandIns, TripletBatch

_ROUNDS = 6
_NO_TARGETS = MinedTargets()

Item = TypeVar("Item")


def samples(start: int, count: int, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions ``start … start + count − 1`` of an endless sequence over 0 … size−1: one permutation after another.

    The sequence does not stop at an epoch's end, so a batch may hold the last rows of one epoch and the first of the
    next; no row is left out because it does not fill a batch.
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
    """The values at ``places`` of the permutation of 0 … size−1 that ``key`` selects."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    sequence = np.random.SeedSequence([word % 2**64 for word in key])
    keys = sequence.generate_state(_ROUNDS, np.uint64).astype(np.uint64)
    values = _feistel(places.astype(np.uint64), half, keys)
    while len(outside := (values >= size).nonzero()[0]):
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def gather_batch(
    data: TripletEmbeddings, rows_B: torch.Tensor, mined: MinedTargets = _NO_TARGETS, *, states: bool = False
) -> TripletBatch:
    """The frozen vectors of some triplets and of their mined targets; with ``states``, also their hidden states."""
    edit_B, caption_B, edited_B = data.edit_N[rows_B], data.caption_N[rows_B], data.edited_N[rows_B]
    batch = TripletBatch(
        image_BD=unit_rows(data.image_UD, data.image_N[rows_B]),
        edit_BD=unit_rows(data.text_VD, edit_B),
        caption_BD=unit_rows(data.text_VD, caption_B),
        edited_BD=unit_rows(data.text_VD, edited_B),
        edit_B=edit_B,
        caption_B=caption_B,
        edited_B=edited_B,
    )
    if states:
        batch.states = data.states(rows_B)
    if mined.sibling_NK is not None:
        batch.sibling_BK = mined.sibling_NK[rows_B]
        batch.sibling_BKD = unit_rows(data.text_VD, batch.sibling_BK.clamp(min=0))
    if mined.retrieved_N is not None:
        batch.retrieved_B = mined.retrieved_N[rows_B]
        batch.retrieved_BD = unit_rows(data.image_UD, batch.retrieved_B)
    return batch


def reference_pool(
    data: TripletEmbeddings, rows_S: torch.Tensor, config: TrainConfig, images: Moments | None = None
) -> tuple[StandIns, torch.Tensor]:
    """How captions stand in for images, and references ``(S, D)`` as training sees them.

    ``images`` are the moments of the images that will be searched; by default those of the data's images.

    Raises:
        InvalidInput: the data has captions alone, and the settings need images.
    """
    if data.info.captions_only and config.from_captions < 1.0:
        raise InvalidInput("this embedding cache has no images: pretrain with --from-captions 1")
    if data.info.captions_only and config.loss.retrieved_weight:
        raise InvalidInput("this embedding cache has no images: a retrieved target (--retrieved-weight) needs them")
    image_SD = unit_rows(data.image_UD, data.image_N[rows_S])
    caption_SD = unit_rows(data.text_VD, data.caption_N[rows_S])
    if images is None and not data.info.captions_only:
        images = Moments.of([image_SD])
    stand_ins = StandIns.fit(caption_SD, images, config.caption_noise)
    if config.from_captions < 1.0:
        return stand_ins, image_SD
    return stand_ins, stand_ins.of(caption_SD, torch.Generator().manual_seed(config.seed))


def map_tensors(batch: TripletBatch, change: Callable[[torch.Tensor], torch.Tensor]) -> TripletBatch:
    """The batch with ``change`` applied to every tensor."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: change(value) for name, value in values.items() if isinstance(value, torch.Tensor)}
    return replace(batch, **tensors, states=tuple(States(*map(change, side)) for side in batch.states))


class Prefetcher(Generic[Item]):
    """Calls ``gather`` in a thread for one step after another, up to ``ahead`` steps in advance.

    ``waited`` is the time in seconds that the caller has spent waiting. :meth:`next` raises what ``gather`` raises.
    """

    def __init__(self, gather: Callable[[int], Item], steps: range, ahead: int = 2) -> None:
        self.waited = 0.0
        # One core: a second team of OpenMP threads would take the cores from the training step.
        self._thread = ThreadPoolExecutor(1, "prefetch", initializer=torch.set_num_threads, initargs=(1,))
        self._gather, self._steps = gather, iter(steps)
        self._pending: deque[Future[Item]] = deque()
        for _ in range(ahead):
            self._submit()

    def next(self) -> Item:
        """The next step's item. Raises StopIteration after the last one."""
        if not self._pending:
            raise StopIteration
        started = time.perf_counter()
        item = self._pending.popleft().result()
        self.waited += time.perf_counter() - started
        self._submit()
        return item

    def close(self) -> None:
        """Cancel the pending steps."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._pending.append(self._thread.submit(self._gather, step))


def _feistel(values: npt.NDArray[np.uint64], half: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One pass over 2·half bits; every round is invertible, so different values stay different."""
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
