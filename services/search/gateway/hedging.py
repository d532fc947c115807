"""Calls to a deployment with several replicas that outlive one of them: asked again when it dies, or when it is silent.

A replica that dies ends its calls with an error of Ray; one whose node has lost its network or power says nothing,
until Ray notices after some ten seconds. Both calls do the same work, so the first answer is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError

T = TypeVar("T")

_AT_ONCE = 4
"""Second calls of a gateway at the same time: a deployment that is slow because it has too much to do gets no more."""


class Hedging:
    """When calls are made a second time.

    Args:
        after_s: seconds without an answer; 0: never, and no call is repeated.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s, self._second = after_s, 0

    async def first(self, call: Callable[[], Awaitable[T]]) -> T:
        """The first answer of at most two calls.

        Raises:
            Exception: the error of a call that an answering replica has raised, or else that of the last one.
        """
        if not self._after_s:
            return await call()
        calls: set[asyncio.Future[T]] = {asyncio.ensure_future(call())}
        try:
            done, _ = await asyncio.wait(calls, timeout=self._after_s)
            if not done and self._second >= _AT_ONCE:
                done, _ = await asyncio.wait(calls)
            if all(_lost(each) for each in done):
                return await self._again(calls, call)
            return next(iter(done)).result()
        finally:
            for each in calls:
                each.cancel()

    async def _again(self, calls: set[asyncio.Future[T]], call: Callable[[], Awaitable[T]]) -> T:
        """A second call beside those that are not done; all are in ``calls``."""
        self._second += 1
        try:
            calls.add(asyncio.ensure_future(call()))
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
