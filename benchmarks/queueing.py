"""A deployment of many gateways as a queue: ``python benchmarks/queueing.py --gateways 1000``.

Queries arrive at random (a Poisson process), go to a gateway that the load balancer picks, wait there for a core, and
then ask every shard of the store; the slowest shard answers last. Service times are those that were measured:
benchmarks/serve.py for a gateway (64 queries a second on two cores), benchmarks/shards.py for a shard. What a cache
answers needs no towers. The simulation is simpy's, seeded, and prints one line for each load.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.errors import InvalidFlag

Balancer = Literal["random", "two", "round_robin"]


@dataclass(frozen=True)
class QueueingBenchmark:
    """Simulate the waiting of queries in a deployment.

    Example: python benchmarks/queueing.py --gateways 1000 --shards 100
    """

    gateways: int = 1_000
    """Gateway processes, each with one core."""
    queries: int = 400_000
    """Queries of each line; the first tenth is not counted."""
    gateway_ms: float = 31.0
    """Mean core ms of a query in a gateway, of which the towers are --tower-ms."""
    tower_ms: float = 1.7
    """Mean core ms of the towers, which a cached embedding saves."""
    spread: float = 0.5
    """Standard deviation of a service time ÷ its mean; the times are log-normal."""
    shards: int = 100
    """Shards of the store, which every query asks."""
    searchers: int = 64
    """Cores that search each shard, over all of its copies; a query waits for the one that is free first."""
    shard_ms: float = 1.0
    """Mean ms of a search of a shard."""
    loads: tuple[float, ...] = (0.5, 0.7, 0.9, 1.2)
    """Queries a second ÷ what the gateways can do at most."""
    balancers: tuple[Balancer, ...] = ("random", "two")
    """How a gateway is picked: at random, as the shorter queue of two at random, or in turn."""
    cache_hits: tuple[float, ...] = (0.0, 0.8)
    """Shares of the queries whose embeddings are cached."""
    queue: int = 32
    """Queries that may wait at a gateway; one more is refused."""
    seed: int = 0
    """Decides arrivals and times."""
    output: Path | None = None
    """Also write the numbers as JSON."""

    def __post_init__(self) -> None:
        if min(self.gateways, self.queries, self.shards, self.searchers) < 1 or self.queue < 0:
            raise InvalidFlag("--gateways, --queries, --shards and --searchers must be at least 1, --queue at least 0")
        if not 0 <= self.tower_ms <= self.gateway_ms or self.shard_ms <= 0 or self.spread < 0:
            raise InvalidFlag("--tower-ms must be from 0 to --gateway-ms, --shard-ms above 0, --spread at least 0")


def main(config: QueueingBenchmark) -> int:
    """Simulate, and print a Markdown table."""
    head = ["balancer", "cached", "load", "queries/s", "p50 ms", "p99 ms", "p99 ÷ p50", "waiting, p99 ms"]
    head += ["store, p99 ms", "refused"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    rows = []
    for balancer in config.balancers:
        for hits in config.cache_hits:
            for load in config.loads:
                row = simulate(config, balancer, hits, load)
                rows.append(row)
                print(
                    f"| {balancer} | {hits:.0%} | {load:g} | {row['rate']:,.0f} | {row['p50']:.0f} | {row['p99']:.0f} "
                    f"| {row['p99'] / row['p50']:.2f} | {row['waiting_p99']:.0f} | {row['store_p99']:.1f} "
                    f"| {row['refused']:.2%} |",
                    flush=True,
                )
    if config.output is not None:
        config.output.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


def simulate(config: QueueingBenchmark, balancer: Balancer, hits: float, load: float) -> dict[str, Any]:
    """One line: milliseconds from the arrival to the last shard's answer, and the share that was refused."""
    rng, environment = np.random.default_rng(config.seed), simpy.Environment()
    rate = load * config.gateways / config.gateway_ms  # queries a millisecond, with the cache empty
    arrivals = np.cumsum(rng.exponential(1 / rate, config.queries))
    cached = rng.random(config.queries) < hits
    gateway_ms = (config.gateway_ms - config.tower_ms * cached) * _log_normal(rng, config.spread, config.queries)
    gateways = [simpy.Resource(environment) for _ in range(config.gateways)]
    searchers = np.zeros((config.shards, config.searchers))  # when each will be free
    times, waits, stores, refused = deque[float](), deque[float](), deque[float](), 0

    def query(number: int) -> Generator[Any, Any, None]:
        nonlocal refused
        gateway = gateways[_picked(number)]
        if len(gateway.queue) >= config.queue and gateway.count:
            refused += 1
            return
        begun = environment.now
        with gateway.request() as turn:
            yield turn
            waited = environment.now - begun
            yield environment.timeout(gateway_ms[number])
        store_ms = _search(environment.now)
        yield environment.timeout(store_ms)
        if number >= config.queries // 10:
            times.append(environment.now - begun)
            waits.append(waited)
            stores.append(store_ms)

    def _picked(number: int) -> int:
        if balancer == "round_robin":
            return number % config.gateways
        first, second = rng.integers(config.gateways, size=2)
        if balancer == "random":
            return int(first)
        return int(min(first, second, key=lambda each: len(gateways[each].queue) + gateways[each].count))

    def _search(now: float) -> float:
        """Give every shard's search to its core that is free first; how long the last one takes."""
        chosen = searchers.argmin(axis=1)
        places = np.arange(config.shards), chosen
        ends = np.maximum(searchers[places], now) + config.shard_ms * _log_normal(rng, config.spread, config.shards)
        searchers[places] = ends
        return float(ends.max() - now)

    def source() -> Generator[Any, Any, None]:
        for number, at in enumerate(arrivals):
            yield environment.timeout(at - environment.now)
            environment.process(query(number))

    environment.process(source())
    environment.run()
    p50, p99 = np.quantile(times, [0.5, 0.99])
    return {
        "balancer": balancer, "cached": hits, "load": load, "rate": 1e3 * rate, "p50": float(p50), "p99": float(p99),
        "waiting_p99": float(np.quantile(waits, 0.99)), "store_p99": float(np.quantile(stores, 0.99)),
        "refused": refused / config.queries,
    }  # fmt: skip


def _log_normal(rng: np.random.Generator, spread: float, count: int) -> Any:
    """Random times of mean 1."""
    sigma = np.sqrt(np.log1p(spread**2))
    return rng.lognormal(-(sigma**2) / 2, sigma, count)


if __name__ == "__main__":
    sys.exit(flags.run("queueing.py", main, QueueingBenchmark))
