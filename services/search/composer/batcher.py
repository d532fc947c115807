"""Batches on one thread: requests that arrive while the thread is busy are processed together next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class DynamicBatcher(Generic[In, Out]):
    """Answers requests with ``work``, which takes many at a time; for one event loop.

    An idle batcher starts at once. A busy one collects requests until its thread is free. ``serve.batch`` does not: it
    closes a batch when its wait is over. Without a wait, each request becomes a batch of its own; with a wait, each
    request waits (docs/adr/0015).

    Args:
        work: requests to as many answers, in order; called on its own thread. Each request of a batch raises what it
            raises.
        most: the size of a batch; a single larger request is a batch of its own.
        size: the size of a request.
    """

    def __init__(
        self, work: Callable[[list[In]], Sequence[Out]], *, most: int, size: Callable[[In], int] = lambda request: 1
    ) -> None:
        self._work, self._most, self._size = work, most, size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="towers")  # torch has its own threads
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def answer(self, request: In) -> Out:
        """The answer to one request; if the caller cancels while it waits, there is no work."""
        future: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._next():
                try:
                    requests = [request for request, _ in batch]
                    answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, requests)
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

    def _next(self) -> list[tuple[In, asyncio.Future[Out]]]:
        """The requests that waited longest, without cancelled ones; empty when none waits."""
        batch: list[tuple[In, asyncio.Future[Out]]] = []
        total = 0
        while self._waiting:
            request, future = self._waiting[0]
            total += 0 if future.done() else self._size(request)
            if batch and total > self._most:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((request, future))
        return batch
