"""Searches that a silent replica does not delay: asked again on other connections, and the first answer counts.

An address of Kubernetes leads each connection to one replica. A replica whose machine has lost its network or power
says nothing, so a search without an answer is asked on a second connection, then on a third and a fourth. The one that
answered is what later calls use. gRPC's hedging (gRFC A6) is not part of its Python library.
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

from scot.channels import APART, open_channel

CONNECTIONS = 4
HEDGE_S = 0.75
"""Seconds without an answer after which a search is asked again."""
AGAIN_S = 0.4
"""And after that, on each further connection."""
_EARNED, _MOST = 0.1, 10.0
# With these a call waits for the others: its replica has no answer, or no place for one call more.
_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


def open_channels(
    kind: Any, target: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
) -> list[Any]:
    """Channels with connections of their own, which may lead to other replicas; each connects with its first call."""
    apart = [*options, APART]
    return [open_channel(kind, target, credentials, apart if number else options) for number in range(CONNECTIONS)]


class Hedges:
    """What the hedged calls of a client share: the connection to ask first, and how many searches may be asked again.

    That is at most a tenth: a service that is slow for all gets little more to do.
    """

    def __init__(self) -> None:
        self.first = 0
        """The connection that later calls use."""
        self._tokens, self._lock = _MOST, threading.Lock()

    def order(self) -> list[int]:
        """The connections, in the order in which they are asked."""
        first = self.first
        return [first, *(number for number in range(CONNECTIONS) if number != first)]

    def answered(self, number: int, asked: int) -> None:
        """A search that was asked ``asked`` times was answered on a connection."""
        with self._lock:
            self.first = number
            if asked == 1:
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
    methods: Sequence[Any]
    """The same unary method, of each connection."""
    hedges: Hedges


def _left(timeout: float | None, begun: float) -> float | None:
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))


class Hedged(_Hedged):
    """A unary method of ``grpc``; called like one. Raises grpc.RpcError."""

    def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        begun, order = time.monotonic(), self.hedges.order()
        calls: dict[Any, int] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        done = 0
        try:
            while True:
                number = order[len(calls)]
                call = self.methods[number].future(request, timeout=_left(timeout, begun), metadata=metadata)
                calls[call] = number
                call.add_done_callback(ended.put)
                wait_s: float | None = AGAIN_S if len(calls) > 1 else HEDGE_S
                while True:
                    try:
                        call = ended.get(timeout=wait_s if len(calls) < len(order) else None)
                    except queue.Empty:
                        if self.hedges.spend():
                            break
                        wait_s = None
                        continue
                    done += 1
                    if call.code() not in _LOST:
                        self.hedges.answered(calls[call], len(calls))
                    elif done < len(calls):
                        continue
                    else:
                        call = next(iter(calls))  # they say the same, or that there was no time left
                    return call.result()
        finally:
            for call in calls:
                call.cancel()


class AsyncHedged(_Hedged):
    """A unary method of ``grpc.aio``; awaited like one. Raises grpc.aio.AioRpcError."""

    async def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        begun, order = time.monotonic(), self.hedges.order()
        calls: dict[asyncio.Future[Any], tuple[Any, int]] = {}
        pending: set[asyncio.Future[Any]] = set()
        try:
            while True:
                number = order[len(calls)]
                call = self.methods[number](request, timeout=_left(timeout, begun), metadata=metadata)
                task = asyncio.ensure_future(call.code())
                calls[task] = call, number
                pending.add(task)
                wait_s: float | None = AGAIN_S if len(calls) > 1 else HEDGE_S
                while True:
                    done, pending = await asyncio.wait(
                        pending,
                        timeout=wait_s if len(calls) < len(order) else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if not done:
                        if self.hedges.spend():
                            break
                        wait_s = None
                    for task in done:
                        call, number = calls[task]
                        if task.result() not in _LOST:
                            self.hedges.answered(number, len(calls))
                            return await call
                    if not pending:
                        return await next(iter(calls.values()))[0]
        finally:
            for task, (call, _) in calls.items():
                task.cancel()
                call.cancel()
