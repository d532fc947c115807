"""A run's batches, gathered in a thread ahead of the step that needs them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Batch = TypeVar("Batch")


class Feed(Generic[Batch]):
    """Calls ``gather`` for one step after another, at most ``ahead`` of them before they are asked for.

    ``waited`` is the time in seconds that the caller has spent waiting. What ``gather`` raises, :meth:`next` raises.
    """

    def __init__(self, gather: Callable[[int], Batch], steps: range, ahead: int = 2) -> None:
        self.waited = 0.0
        # One core: a second team of OpenMP threads would take them all from the step.
        self._thread = ThreadPoolExecutor(1, "feed", initializer=torch.set_num_threads, initargs=(1,))
        self._gather, self._steps = gather, iter(steps)
        self._coming: deque[Future[Batch]] = deque()
        for _ in range(ahead):
            self._ask()

    def next(self) -> Batch:
        """The next step's batch. Raises StopIteration after the last one."""
        if not self._coming:
            raise StopIteration
        started = time.perf_counter()
        batch = self._coming.popleft().result()
        self.waited += time.perf_counter() - started
        self._ask()
        return batch

    def close(self) -> None:
        """Drop what is under way."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _ask(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._coming.append(self._thread.submit(self._gather, step))
