"""Work in batches on one thread: whatever has arrived while the thread was busy goes through it together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class DynamicBatcher(Generic[Job, Answer]):
    """Answers jobs by ``work``, which takes many at a time; of one event loop.

    An idle one starts at once. A busy one lets jobs gather until the thread is free, which ``serve.batch`` does not: it
    closes a batch when its wait is over, so that without a wait each job becomes a batch of its own, and with one each
    job waits (docs/adr/0015).

    Args:
        work: jobs to as many answers, in order; called on a thread of its own. What it raises, each of its jobs raises.
        most: the size of a batch, but for a single job that is larger.
        size: what a job counts for.
    """

    def __init__(
        self, work: Callable[[list[Job]], Sequence[Answer]], *, most: int, size: Callable[[Job], int] = lambda job: 1
    ) -> None:
        self._work, self._most, self._size = work, most, size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="towers")  # torch brings its own threads
        self._waiting: deque[tuple[Job, asyncio.Future[Answer]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def answer(self, job: Job) -> Answer:
        """The answer to one job; a caller that goes away while it waits costs no work."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._next():
                try:
                    jobs = [job for job, _ in batch]
                    answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, jobs)
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
        finally:
            self._running = None

    def _next(self) -> list[tuple[Job, asyncio.Future[Answer]]]:
        """The jobs that waited longest, without those whose callers are gone; empty when none waits."""
        batch: list[tuple[Job, asyncio.Future[Answer]]] = []
        total = 0
        while self._waiting:
            job, future = self._waiting[0]
            total += 0 if future.done() else self._size(job)
            if batch and total > self._most:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((job, future))
        return batch
