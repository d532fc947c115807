"""One rate for each API key over all gateways: they lease tokens of a common bucket, a tenth of a second's at a time.

A request takes a leased token and asks nobody. An empty lease asks once for all the requests that wait for it, and what
was refused is remembered until there can be a token again; so the calls to the bucket do not follow the requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ray import serve

from scot.keys import ApiKey
from services.access import Bucket, Rate, burst_of

logger = logging.getLogger("ray.serve")

_LEASED_S = 0.1
"""A lease is what a key may use in this time; a bucket that had less is not asked again before."""
_VALID_S = 1.0
"""A lease that is not used in this time is lost, so that idle gateways hold no tokens."""
_PATIENCE_S = 0.5
"""How long a request waits for a lease; then its gateway has a bucket of its own for a while."""
Lease = Callable[[ApiKey, int], Awaitable[tuple[int, float]]]
"""Asks for tokens of a key: how many it got, and the seconds until there can be one again."""


class RateBuckets:
    """The buckets of all keys; the Rates deployment has one replica of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[ApiKey, Bucket] = {}

    async def lease(self, key: ApiKey, wanted: int) -> tuple[int, float]:
        """Take up to ``wanted`` tokens of a key; with 0 come the seconds until there is one."""
        if key not in self._buckets:
            # A key whose line has changed has another bucket, and the one before is not needed.
            self._buckets = {other: bucket for other, bucket in self._buckets.items() if other.name != key.name}
            assert key.rate is not None
            self._buckets[key] = Bucket(key.rate, burst_of(key), self._clock)
        bucket = self._buckets[key]
        granted = 0
        while granted < wanted and bucket.take():
            granted += 1
        return granted, 0.0 if granted else bucket.wait_s


class LeasedRate:
    """The rate of a key in one gateway, a :class:`~services.access.Rate`. For one event loop."""

    def __init__(self, key: ApiKey, lease: Lease, gateways: int, clock: Callable[[], float] = time.monotonic) -> None:
        assert key.rate is not None
        self._key, self._lease, self._clock = key, lease, clock
        self._size = max(1, int(key.rate * _LEASED_S))
        self._own = Bucket(key.rate / gateways, burst_of(key) / gateways, clock)
        self._tokens, self._expires, self._empty_until, self._alone_until = 0, 0.0, 0.0, 0.0
        self._asking: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Take one token. False: there is none."""
        while True:
            now = self._clock()
            if now < self._alone_until:
                return self._own.take()
            if self._tokens and now < self._expires:
                self._tokens -= 1
                return True
            if now < self._empty_until:
                return False
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                granted, wait_s = await self._lease(self._key, self._size)
        except Exception as error:
            logger.warning("the common rate of keys is unavailable, and each gateway limits its share: %s", error)
            self._alone_until = self._clock() + _VALID_S
        else:
            now = self._clock()
            self._tokens, self._expires = granted, now + _VALID_S
            if granted < self._size:  # there are no more, and asking for each would be a call for each
                self._empty_until = now + max(wait_s, _LEASED_S)
        finally:
            self._asking = None


RatesDeployment = serve.deployment(name="Rates", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1_000)(
    RateBuckets
)


def leased(lease: Lease, gateways: int) -> Callable[[ApiKey], Rate]:
    """What makes the rate of a key in a gateway."""
    return lambda key: LeasedRate(key, lease, gateways)
