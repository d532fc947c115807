"""What the service does with more than it can do: ``python benchmarks/overload.py --rounds 5``.

Each round finds the peak of the service with ``--clients`` clients, then offers 5 and 20 times as many queries. A row
has the goodput beside the peak's, the latencies of what was answered beside those at the peak, and how soon the others
were refused. ``--beside`` measures another checkout in the same rounds: machines differ from hour to hour.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
from serve_load import Stretch, closed_loop, open_loop
from serve_process import server
from serve_work import fill, pictures, queries, start_encoder

from scot import flags
from scot.machine import machine
from scot.v1 import search_pb2_grpc


@dataclass(frozen=True, slots=True)
class OverloadBenchmark:
    """Measure the service at several times its peak."""

    rounds: int = 5
    """Starts of the service, each with all loads."""
    rates: tuple[float, ...] = (5.0, 20.0)
    """Loads, in peaks."""
    clients: int = 32
    """Clients that together make the peak."""
    seconds: float = 10.0
    """How long each load lasts."""
    deadline_s: float = 5.0
    """The deadline of each query."""
    items: int = 4_000
    """Items of the gallery."""
    beside: Path | None = None
    """Another checkout, whose service is measured in the same rounds."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: OverloadBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(machine(), flush=True)
    print(
        "| checkout | round | load | offered/s | goodput | ÷ peak | p99 ms | ÷ peak | refused | p50, p99 ms | others |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    here, rows = Path(__file__).resolve().parents[1], list[dict[str, Any]]()
    checkouts = [here] if config.beside is None else [config.beside.resolve(), here]
    for number in range(config.rounds):
        for checkout in checkouts:
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(fill(Path(folder) / "qdrant", "tiny", config.items))
                for row in asyncio.run(measured(config, checkout, Path(folder))):
                    rows.append({"checkout": "here" if checkout == here else "beside", "round": number, **row})
                    print(line(rows[-1]), flush=True)
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


async def measured(config: OverloadBenchmark, checkout: Path, data: Path) -> list[dict[str, Any]]:
    """The loads on one start of the service, the peak first."""
    requests = queries("tiny-1", pictures(256))
    command = [sys.executable, "-m", "services.search.local", "--data", str(data), "--cache-mb", "0", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with server(command, env=environment, cwd=checkout) as running:
        async with grpc.aio.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)

            async def call(number: int, timeout: float) -> None:
                await stub.ComposeSearch(requests[number % len(requests)], timeout=timeout)

            await start_encoder(stub)
            await closed_loop(call, clients=config.clients, seconds=4)  # to warm up
            peak = await closed_loop(call, clients=config.clients, seconds=config.seconds)
            rows = [numbers("peak", peak, peak)]
            for rate in config.rates:
                load = await open_loop(
                    call, rate=rate * peak.goodput, seconds=config.seconds, deadline_s=config.deadline_s, seed=0
                )
                rows.append(numbers(f"{rate:g} x", load, peak))
            return rows


def numbers(name: str, load: Stretch, peak: Stretch) -> dict[str, Any]:
    """What a row shows."""
    refused = [float(np.percentile(load.refused_ms, q)) if load.refused_ms else float("nan") for q in (50, 99)]
    return {
        "load": name, "offered": load.offered, "goodput": load.goodput, "of_peak": load.goodput / peak.goodput,
        "p99_ms": load.percentile(99), "p99_of_peak": load.percentile(99) / peak.percentile(99),
        "refused": len(load.refused_ms), "refused_p50_ms": refused[0], "refused_p99_ms": refused[1],
        "others": {code: n for code, n in load.codes.items() if code not in ("OK", "RESOURCE_EXHAUSTED")},
        "load_cores": load.cores, "os_load": os.getloadavg()[0],
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [row["checkout"], str(row["round"] + 1), row["load"], f"{row['offered']:.0f}", f"{row['goodput']:.1f}"]
    cells += [f"{row['of_peak']:.2f}", f"{row['p99_ms']:.0f}", f"{row['p99_of_peak']:.2f}", str(row["refused"])]
    cells += [f"{row['refused_p50_ms']:.1f}, {row['refused_p99_ms']:.1f}", str(row["others"] or 0)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(flags.run("overload benchmark", main, OverloadBenchmark))
