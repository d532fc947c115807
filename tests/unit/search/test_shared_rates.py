"""The limits of a key over all gateways: never more than it, nearly all of it, and few calls to the common bucket."""

from __future__ import annotations

import asyncio
import random

from services.access import Limit
from services.search.gateway.shared_rates import LeasedRate, RateBuckets


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Gateways:
    """So many gateways, and the bucket that they share."""

    def __init__(self, limit: Limit, count: int) -> None:
        self.clock, self.calls, self.available = Clock(), 0, True
        self.buckets = RateBuckets(self.clock)
        self.all = [LeasedRate(limit, self.lease, count, self.clock) for _ in range(count)]

    async def lease(self, limit: Limit, least: float, most: float) -> tuple[float, float]:
        self.calls += 1
        await asyncio.sleep(0)  # as a call to another process
        if not self.available:
            raise ConnectionError("gone")
        return await self.buckets.lease(limit, least, most)

    async def offered(self, *, each_second: int, seconds: int, seed: int = 0, of: int | None = None) -> int:
        """How many requests are let in, each at a random one of the first ``of`` gateways."""
        rng, admitted = random.Random(seed), 0
        for _ in range(seconds * 20):
            gateways = rng.choices(self.all[:of], k=each_second // 20)
            admitted += sum(await asyncio.gather(*(gateway.take() for gateway in gateways)))
            self.clock.now += 0.05
        return admitted


def requests(rate: float, burst: float | None = None, key: str = "shop") -> Limit:
    return Limit(key, "requests", rate, rate if burst is None else burst)


def test_gateways_share_one_rate_whichever_is_asked() -> None:
    for of in (1, 8):
        gateways = Gateways(requests(100.0, burst=50.0), 8)
        admitted = asyncio.run(gateways.offered(each_second=400, seconds=10, of=of))
        assert 0.95 * 1_050 <= admitted <= 1_050 + 1


def test_calls_to_the_bucket_follow_the_rate_and_not_the_requests() -> None:
    gateways = Gateways(requests(100.0), 2)
    asyncio.run(gateways.offered(each_second=2_000, seconds=5))
    assert gateways.calls <= 2 * 5 * 10 + 20  # ten a second from each gateway, and the burst


def test_a_rate_below_one_a_second_is_one_for_all() -> None:
    gateways = Gateways(requests(0.5, burst=1.0), 4)
    assert asyncio.run(gateways.offered(each_second=40, seconds=20)) == 10


def test_requests_that_wait_for_the_same_lease_ask_once() -> None:
    gateways = Gateways(requests(100.0), 2)

    async def five() -> list[bool]:
        return await asyncio.gather(*(gateways.all[0].take() for _ in range(5)))

    assert asyncio.run(five()) == [True] * 5
    assert gateways.calls == 1


def test_an_idle_gateway_holds_no_tokens() -> None:
    gateways = Gateways(requests(100.0, burst=10.0), 2)

    async def run() -> int:
        await gateways.all[0].take()  # leases ten
        gateways.clock.now += 5.0
        return sum([await gateways.all[1].take() for _ in range(20)])

    assert asyncio.run(run()) == 10


def test_without_the_bucket_each_gateway_limits_its_share() -> None:
    gateways = Gateways(requests(100.0, burst=40.0), 4)
    gateways.available = False
    admitted = asyncio.run(gateways.offered(each_second=400, seconds=10))
    assert 0.9 * 1_040 <= admitted <= 1_040
    gateways.available = True
    gateways.clock.now += 2.0
    calls = gateways.calls
    asyncio.run(gateways.offered(each_second=100, seconds=1))
    assert gateways.calls > calls  # it is asked again


def test_a_changed_line_begins_with_a_bucket_of_its_own_and_drops_the_one_before() -> None:
    async def run() -> None:
        buckets = RateBuckets(Clock())
        assert await buckets.lease(requests(2.0), 1, 5) == (2, 0.0)
        assert await buckets.lease(requests(2.0), 1, 5) == (0, 0.5)
        assert await buckets.lease(requests(4.0), 1, 5) == (4, 0.0)
        assert await buckets.lease(requests(2.0, key="other"), 1, 1) == (1, 0.0)
        assert await buckets.lease(Limit("shop", "bytes", 4.0, 4.0), 1, 1) == (1, 0.0)
        assert len(buckets._buckets) == 3

    asyncio.run(run())


def test_bytes_are_counted_by_the_request() -> None:
    gateways = Gateways(Limit("shop", "bytes", 1_000.0, 60_000.0), 2)

    async def run() -> list[bool]:
        sent = []
        for second in range(600):
            sent.append(await gateways.all[second % 2].take(2_000.0))
            gateways.clock.now += 1.0
        return sent

    sent = asyncio.run(run())
    assert sent[:59] == [True] * 59  # a minute's bytes at once, while new ones come
    assert 0.9 * 660_000 <= 2_000 * sum(sent) <= 660_000


def test_a_small_request_passes_where_a_large_one_has_to_wait() -> None:
    gateways = Gateways(Limit("shop", "bytes", 100.0, 6_000.0), 1)

    async def run() -> list[bool]:
        (gateway,) = gateways.all
        return [await gateway.take(cost) for cost in (3_000.0, 5_000.0, 5_000.0, 2_000.0, 2_000.0)]

    assert asyncio.run(run()) == [True, False, False, True, False]
    assert gateways.calls == 4  # the second large one is refused without asking


def test_a_request_larger_than_a_minute_allows_waits_for_a_full_minute() -> None:
    gateways = Gateways(Limit("shop", "bytes", 100.0, 6_000.0), 1)

    async def run() -> list[bool]:
        (gateway,), taken = gateways.all, []
        for wait_s in (0.0, 60.0, 30.0, 31.0):
            gateways.clock.now += wait_s
            taken.append(await gateway.take(9_000.0))
        return taken

    assert asyncio.run(run()) == [True, False, True, False]
