"""Calls to a deployment with several replicas that outlive one of them: asked again when it dies, or when it is silent.

A replica that dies ends its calls with an error of Ray; one whose node has lost its network or power says nothing,
until Ray notices after some ten seconds. Both calls do the same work, so the first answer is the answer. The second
call goes to the replica of this node, if there is one: what is silent is elsewhere. The call that came second is left
alone: to cancel it is work for the loop that routes all calls, and a replica that is lost does not hear of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

T = TypeVar("T")
Call = Callable[[], Awaitable[T]]

_AT_ONCE = 4
"""Second calls of a gateway at the same time: a deployment that is slow because it has too much to do gets no more."""
_AVOIDED_S = 5.0
"""For how long the kind of call is made first that was answered where the other was silent."""


def near(handle: DeploymentHandle[Any]) -> DeploymentHandle[Any]:
    """Another handle of the same deployment, which prefers the replica of this node.

    The one place that uses a private part of Serve's handles. A test names it.
    """
    found: DeploymentHandle[Any] = serve.get_deployment_handle(handle.deployment_name, handle.app_name)
    found._init(_prefer_local_routing=True)
    return found


class Hedging:
    """When calls are made a second time.

    Args:
        after_s: seconds without an answer; 0: never, and no call is repeated.
        clock: seconds.
    """

    def __init__(self, after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._after_s, self._clock, self._second = after_s, clock, 0
        self._swapped, self._until = False, 0.0
        self._left: set[asyncio.Future[Any]] = set()  # calls whose answer nobody needs

    async def first(self, anywhere: Call[T], near: Call[T] | None = None) -> T:
        """The first answer of at most two calls: ``anywhere``, then ``near``, or the other way round after a silence.

        Raises:
            Exception: the error of a call that an answering replica has raised, or else that of the last one.
        """
        if not self._after_s:
            return await anywhere()
        order = [anywhere, near or anywhere]
        swapped = self._swapped and self._clock() < self._until
        if swapped:
            order.reverse()
        calls: list[asyncio.Future[T]] = [asyncio.ensure_future(order[0]())]
        try:
            done, _ = await asyncio.wait(calls, timeout=self._after_s)
            if not done and self._second >= _AT_ONCE:
                done, _ = await asyncio.wait(calls)
            if not all(_lost(each) for each in done):
                return calls[0].result()
            answer = await self._again(calls, order[1])
            if not calls[0].done():
                self._swapped, self._until = not swapped, self._clock() + _AVOIDED_S
            return answer
        finally:
            for each in calls:
                if len(calls) == 1:  # the caller has gone
                    each.cancel()
                elif not each.done():
                    self._left.add(each)
                    each.add_done_callback(self._leave)

    def _leave(self, call: asyncio.Future[Any]) -> None:
        self._left.discard(call)
        if not call.cancelled():
            call.exception()  # or asyncio would report that nobody asked for it

    async def _again(self, calls: list[asyncio.Future[T]], call: Call[T]) -> T:
        """A second call beside the first one if that is not done; both are in ``calls``."""
        self._second += 1
        try:
            calls.append(asyncio.ensure_future(call()))
            pending = {each for each in calls if not each.done()}
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for each in sorted(done, key=_lost):
                    if not pending or not _lost(each):
                        return each.result()
        finally:
            self._second -= 1


def _lost(call: asyncio.Future[T]) -> bool:
    """Whether a call that is done has failed because its replica has died, not because of what it was asked."""
    error = call.exception()
    return isinstance(error, (RayError, DeploymentUnavailableError)) and not isinstance(error, RayTaskError)
