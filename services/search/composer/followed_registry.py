"""A replica's look at the registry: a composer that is released there answers soon, in every replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from scot.composers import Registry
from scot.errors import ScotError

logger = logging.getLogger("ray.serve")


class FollowedRegistry:
    """Calls ``reload`` after each change of the released version.

    Args:
        registry: the composers.
        every_s: seconds between two looks; 0: :meth:`start` does nothing.
        reload: makes the replica read the registry; returns the composer that answers then.
    """

    def __init__(self, registry: Registry, every_s: float, reload: Callable[[], Awaitable[str]]) -> None:
        self._registry, self._every_s, self._reload = registry, every_s, reload
        self._applied: str | None = None
        self._applied = self._released()  # before the replica reads it: a release in between is applied twice
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, unless it has begun."""
        if self._every_s > 0 and self._task is None:
            self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._every_s)
            released = await loop.run_in_executor(None, self._released)
            if released == self._applied:
                continue
            self._applied = released
            logger.info("%s is released; %s answers now", released or "nothing", await self._reload())

    def _released(self) -> str | None:
        """The released version, None if there is none; the one that is applied if the registry cannot be read now."""
        try:
            return self._registry.released()
        except (ScotError, OSError) as error:
            logger.warning("the registry cannot be read: %s", error)
            return self._applied
