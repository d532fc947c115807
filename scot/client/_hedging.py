"""Searches that a silent replica does not delay: asked again on a second connection, and the first answer counts.

gRPC's hedging (gRFC A6) is not part of its Python library.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

HEDGE_S = 1.0
"""Seconds without an answer after which a search is asked again."""
_EARNED, _MOST = 0.1, 3.0
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class HedgeBudget:
    """At most a tenth of the searches are asked twice: a service that is slow for all gets little more to do."""

    def __init__(self) -> None:
        self._tokens, self._lock = _MOST, threading.Lock()

    def earn(self) -> None:
        """A search was answered."""
        with self._lock:
            self._tokens = min(_MOST, self._tokens + _EARNED)

    def spend(self) -> bool:
        """Whether a search may be asked again now."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True, slots=True)
class _Hedged:
    first: Any
    second: Any
    budget: HedgeBudget

    def _again(self, request: Any, timeout: float | None, metadata: Sequence[tuple[str, str]], begun: float) -> Any:
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
        return (self.second.future if hasattr(self.second, "future") else self.second)(
            request, timeout=left, metadata=metadata
        )


class Hedged(_Hedged):
    """A unary method of ``grpc``; called like one. Raises grpc.RpcError."""

    def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        begun = time.monotonic()
        calls = [self.first.future(request, timeout=timeout, metadata=metadata)]
        try:
            try:
                response = calls[0].result(timeout=HEDGE_S)
            except grpc.FutureTimeoutError:
                if not self.budget.spend():
                    return calls[0].result()
                calls.append(self._again(request, timeout, metadata, begun))
                return self._first_answer(calls)
            self.budget.earn()
            return response
        finally:
            for call in calls:
                call.cancel()

    @staticmethod
    def _first_answer(calls: Sequence[Any]) -> Any:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for call in calls:
            call.add_done_callback(done.put)
        for left in reversed(range(len(calls))):
            ended = done.get()
            if not left or ended.code() not in _LOST:
                return ended.result()
        raise AssertionError("unreachable")


class AsyncHedged(_Hedged):
    """A unary method of ``grpc.aio``; awaited like one. Raises grpc.aio.AioRpcError."""

    async def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        begun = time.monotonic()
        calls = [self.first(request, timeout=timeout, metadata=metadata)]
        waiting = [asyncio.ensure_future(_ended(calls[0]))]
        try:
            await asyncio.wait(waiting, timeout=HEDGE_S)
            if not waiting[0].done():
                if not self.budget.spend():
                    return await calls[0]
                calls.append(self._again(request, timeout, metadata, begun))
                waiting.append(asyncio.ensure_future(_ended(calls[1])))
                for ended in asyncio.as_completed(waiting):
                    call = await ended
                    if await call.code() not in _LOST or all(each.done() for each in calls):
                        return await call
            self.budget.earn()
            return await calls[0]
        finally:
            for each in waiting:
                each.cancel()
            for call in calls:
                call.cancel()


async def _ended(call: Any) -> Any:
    """The call, once it has ended."""
    await call.code()
    return call
