"""Load on a gRPC service: a closed loop finds its peak, an open loop shows what callers wait at a given rate.

In the open loop requests come when they are due (a seeded Poisson process), whether or not earlier ones are answered,
and a latency counts from the moment that the request was due: a service that stalls cannot hold back the requests that
would have shown it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import httpx
import numpy as np

from scot.errors import Unavailable

Call = Callable[[int, float], Awaitable[object]]
"""Makes the numbered request, within so many seconds."""

HEADER = """\
| server | load | offered/s | answered/s | p50 ms | p95 | p99 | max | not answered | the load's own cores |
|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(slots=True)
class Stretch:
    """What came of one stretch of load."""

    seconds: float = 0.0
    """How long requests came."""
    lasted: float = 0.0
    """Until the last of them had ended."""
    cpu_s: float = 0.0
    """What making the requests took of the processor that the server runs on too, in seconds of one core."""
    due: int = 0
    answered_ms: list[float] = field(default_factory=list)
    """How long each request that was answered took, in milliseconds."""
    refused_ms: list[float] = field(default_factory=list)
    """How long it took to refuse each request that got RESOURCE_EXHAUSTED, from when it was sent."""
    codes: Counter[str] = field(default_factory=Counter)
    """How all of them ended: OK, or a gRPC status."""

    @property
    def offered(self) -> float:
        """Requests that were due a second."""
        return self.due / self.seconds

    @property
    def goodput(self) -> float:
        """Requests answered within their deadline, a second; those still answered after the last came count as well."""
        return len(self.answered_ms) / self.lasted

    @property
    def cores(self) -> float:
        """How many cores the load itself took."""
        return self.cpu_s / self.lasted

    def percentile(self, q: float) -> float:
        """A latency in milliseconds; NaN where nothing was answered."""
        return float(np.percentile(self.answered_ms, q)) if self.answered_ms else float("nan")

    def numbers(self) -> dict[str, object]:
        """All of it, for a table or a file."""
        latencies = {f"p{q}_ms": self.percentile(q) for q in (50, 95, 99)} | {"max_ms": self.percentile(100)}
        rates = {"offered": self.offered, "goodput": self.goodput, "seconds": self.seconds, "load_cores": self.cores}
        return {**rates, **latencies, "codes": dict(self.codes)}

    def row(self, server: str, load: str) -> str:
        """One row of a Markdown table; :data:`HEADER` is its head."""
        cells = [server, load, f"{self.offered:.1f}", f"{self.goodput:.1f}"]
        cells += [f"{self.percentile(q):.1f}" for q in (50, 95, 99, 100)]
        cells += [", ".join(f"{count} {code}" for code, count in self.codes.items() if code != "OK") or "0"]
        cells += [f"{self.cores:.2f}"]
        return f"| {' | '.join(cells)} |"

    async def request(self, call: Call, number: int, due: float, deadline_s: float) -> None:
        """Make one request and write down how it went; ``due`` is on the clock of :func:`time.perf_counter`."""
        self.due += 1
        sent = time.perf_counter()
        try:
            await call(number, deadline_s - (time.perf_counter() - due))
        except grpc.aio.AioRpcError as error:
            self.codes[error.code().name] += 1
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                self.refused_ms.append((time.perf_counter() - sent) * 1_000)
        except (httpx.HTTPError, Unavailable) as error:  # of a server that is asked over HTTP
            self.codes[type(error).__name__] += 1
        else:
            self.codes["OK"] += 1
            self.answered_ms.append((time.perf_counter() - due) * 1_000)


async def closed_loop(call: Call, *, clients: int, seconds: float, deadline_s: float = 60.0) -> Stretch:
    """So many clients, each of which asks again as soon as it is answered."""
    stretch, begun, cpu = Stretch(), time.perf_counter(), time.process_time()

    async def client(number: int) -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await stretch.request(call, number, now, deadline_s)
            number += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    stretch.seconds = stretch.lasted = time.perf_counter() - begun
    stretch.cpu_s = time.process_time() - cpu
    return stretch


async def open_loop(call: Call, *, rate: float, seconds: float, deadline_s: float, seed: int) -> Stretch:
    """``rate`` requests a second on average, for ``seconds`` seconds, and then their ends."""
    intervals = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 2) + 100)
    dues = np.cumsum(intervals)
    stretch, begun, cpu = Stretch(seconds=seconds), time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for number, due in enumerate(begun + dues[dues < seconds]):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(stretch.request(call, number, float(due), deadline_s))
    stretch.lasted = max(seconds, time.perf_counter() - begun)
    stretch.cpu_s = time.process_time() - cpu
    return stretch
