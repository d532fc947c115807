"""Limits of API keys over all gateways: they lease tokens of common buckets, a tenth of a second's at a time.

A request takes a leased token and asks nobody. An empty lease asks once for all the requests that wait for it, and what
was refused is remembered until there can be a token again; so the calls to the bucket do not follow the requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ray import serve

from services.access import Bucket, Limit, Rate

logger = logging.getLogger("ray.serve")

_LEASED_S = 0.1
"""A lease is what a key may use in this time, or what a request costs; a bucket with less is not asked again before."""
_VALID_S = 1.0
"""A lease that is not used in this time is lost, so that idle gateways hold no tokens."""
_PATIENCE_S = 0.5
"""How long a request waits for a lease; then its gateway has a bucket of its own for a while."""
Lease = Callable[[Limit, float, float], Awaitable[tuple[float, float]]]
"""Asks for the least and the most tokens of a limit: how many it got; with 0, in how many seconds it can."""


class RateBuckets:
    """The buckets of all keys; the Rates deployment has one replica of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[Limit, Bucket] = {}

    async def lease(self, limit: Limit, least: float, most: float) -> tuple[float, float]:
        """Take ``least`` to ``most`` tokens of a limit; with 0 come the seconds until there are as many."""
        if limit not in self._buckets:
            # A key whose line has changed has another bucket, and the one before is not needed.
            name = limit.key, limit.unit
            self._buckets = {kept: bucket for kept, bucket in self._buckets.items() if (kept.key, kept.unit) != name}
            self._buckets[limit] = Bucket(limit.rate, limit.burst, self._clock)
        bucket = self._buckets[limit]
        granted = bucket.grant(least, most)
        return granted, 0.0 if granted else bucket.wait_s(least)


class LeasedRate:
    """A limit in one gateway, a :class:`~services.access.Rate`. For one event loop."""

    def __init__(self, limit: Limit, lease: Lease, gateways: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._lease, self._clock = limit, lease, clock
        self._size = max(1, int(limit.rate * _LEASED_S))
        self._own = Bucket(limit.rate / gateways, limit.burst / gateways, clock)
        self._tokens, self._expires, self._empty_until, self._alone_until = 0.0, 0.0, 0.0, 0.0
        self._refused_cost = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def take(self, cost: float = 1.0) -> bool:
        """Take ``cost`` tokens. False: there are not as many."""
        while True:
            now = self._clock()
            if now < self._alone_until:
                return self._own.take(cost)
            if now >= self._expires:
                self._tokens = 0.0
            if self._tokens >= cost:
                self._tokens -= cost
                return True
            if now < self._empty_until and cost >= self._refused_cost:
                return False
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(cost))
            await asyncio.shield(self._asking)

    async def _ask(self, cost: float) -> None:
        wanted = max(cost, self._size)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                granted, wait_s = await self._lease(self._limit, cost, wanted)
        except Exception as error:
            logger.warning("the common rate of keys is unavailable, and each gateway limits its share: %s", error)
            self._alone_until = self._clock() + _VALID_S
        else:
            now = self._clock()
            self._tokens, self._expires = self._tokens + granted, now + _VALID_S
            if granted < wanted:  # there are no more, and asking for each would be a call for each
                self._empty_until, self._refused_cost = now + max(wait_s, _LEASED_S), 0.0 if granted else cost
        finally:
            self._asking = None


RatesDeployment = serve.deployment(name="Rates", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1_000)(
    RateBuckets
)


def leased(lease: Lease, gateways: int) -> Callable[[Limit], Rate]:
    """What counts the use of a limit in a gateway."""
    return lambda limit: LeasedRate(limit, lease, gateways)
