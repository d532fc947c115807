"""Searches that a silent or full replica does not delay: asked again on other connections; the first answer counts.

An address of Kubernetes leads each connection to one replica. A replica whose machine has lost its network or power
says nothing, so a search without an answer is asked on a second connection, then on a third and a fourth; so is one
that a replica has no place for. The connection that answered is what later calls use. gRPC's hedging (gRFC A6) is not
part of its Python library.
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
"""And after that, or after a replica had no place for it, on each further connection."""
_EARNED, _MOST = 0.1, 10.0
# The replica has no place for one call more. With CANCELLED gRPC's server drops calls when a thousand are waiting.
_FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
# With these a call waits for the others.
_LOST = (*_FULL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


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


class _Search:
    """One search: on which connection it is asked, how long that waits for the others, and which of them decides."""

    def __init__(self, hedges: Hedges, timeout: float | None) -> None:
        self._hedges, self._order = hedges, hedges.order()
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._asked = self._lost = 0
        self._paid = False
        self.wait_s: float | None = None
        """Seconds until it is asked again if no call ends before; None: only a call that ends goes on."""

    def ask(self) -> int:
        """The connection on which it is asked now."""
        number = self._order[self._asked]
        self._asked += 1
        self._paid = False
        self.wait_s = (HEDGE_S if self._asked == 1 else AGAIN_S) if self._asked < len(self._order) else None
        return number

    def left_s(self) -> float | None:
        """The seconds until its deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def again(self) -> bool:
        """Whether it is asked again, now that it has waited."""
        if self._paid or self._hedges.spend():
            return True
        self.wait_s = None
        return False

    def decided(self, number: int, code: grpc.StatusCode) -> bool:
        """Whether a call that has ended is the answer."""
        if code in _LOST:
            return False
        self._hedges.answered(number, self._asked)
        return True

    def failed(self, code: grpc.StatusCode) -> bool:
        """Whether, with one more call lost, no other can answer."""
        self._lost += 1
        if self._lost < self._asked:
            return False
        left_s = self.left_s()
        may_wait = self._asked < len(self._order) and (left_s is None or left_s > AGAIN_S)
        self._paid = code in _FULL and may_wait and self._hedges.spend()
        self.wait_s = AGAIN_S
        return not self._paid


@dataclass(frozen=True, slots=True)
class _Hedged:
    methods: Sequence[Any]
    """The same unary method, of each connection."""
    hedges: Hedges


class Hedged(_Hedged):
    """A unary method of ``grpc``; called like one. Raises grpc.RpcError."""

    def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        search, ended = _Search(self.hedges, timeout), queue.SimpleQueue[Any]()
        calls: dict[Any, int] = {}
        try:
            ask = True
            while True:
                if ask:
                    number = search.ask()
                    call = self.methods[number].future(request, timeout=search.left_s(), metadata=metadata)
                    calls[call] = number
                    call.add_done_callback(ended.put)
                try:
                    call = ended.get(timeout=search.wait_s)
                except queue.Empty:
                    ask = search.again()
                    continue
                ask = False
                if search.decided(calls[call], call.code()):
                    return call.result()
                if search.failed(call.code()):
                    return next(iter(calls)).result()  # they say the same, or that there was no time left
        finally:
            for call in calls:
                call.cancel()


class AsyncHedged(_Hedged):
    """A unary method of ``grpc.aio``; awaited like one. Raises grpc.aio.AioRpcError."""

    async def __call__(self, request: Any, *, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Any:
        """The response."""
        search, ended = _Search(self.hedges, timeout), asyncio.Queue[Any]()
        calls: dict[Any, int] = {}
        try:
            ask = True
            while True:
                if ask:
                    number = search.ask()
                    call = self.methods[number](request, timeout=search.left_s(), metadata=metadata)
                    calls[call] = number
                    call.add_done_callback(ended.put_nowait)
                try:
                    async with asyncio.timeout(search.wait_s):
                        call = await ended.get()
                except TimeoutError:
                    ask = search.again()
                    continue
                ask = False
                code = await call.code()
                if search.decided(calls[call], code):
                    return await call
                if search.failed(code):
                    return await next(iter(calls))
        finally:
            for call in calls:
                call.cancel()
