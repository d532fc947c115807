"""How ComposeSearch answers under load: ``python benchmarks/serve.py --output serve.json``.

The service as ``scot serve`` starts it, with a gallery of random vectors, and a bare grpc.aio server that does the same
work (decode, encode and compose in batches, search) in one process without Ray, one after the other in one run. Each is
asked by one client, then by many at once (its peak), then at rates that do not wait for it, from a quarter of its peak
to five times that. ``--soak-minutes`` keeps the service at half of its peak and watches its memory. ``--infinity``
and ``--clip-retrieval`` measure it beside other servers (serve_peer.py), ``--indexing`` beside the encoder alone.

The machine's line comes first, since the numbers mean nothing without it. The load comes from the same machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
import torch
from serve_load import HEADER, Call, Stretch, closed_loop, open_loop
from serve_peer import beside_clip_retrieval, beside_infinity
from serve_process import Server, server
from serve_work import fill, pictures, queries, start_encoder

from scot import flags
from scot.client import NewItem, ScotClient
from scot.encoders import load_encoder
from scot.machine import machine
from scot.v1 import search_pb2_grpc
from services.search.gateway.context import preprocess

BARE = "bare grpc.aio"


@dataclass(frozen=True, slots=True)
class ServeBenchmark:
    """Measure the search service beside a bare gRPC server."""

    encoder: str = "tiny"
    """Which encoder both use."""
    composer: str = "tiny-1"
    """Which composer: a packaged one, or a baseline."""
    items: int = 4_000
    """Items of the gallery."""
    clients: int = 16
    """Clients that together ask for all that a server can give."""
    seconds: float = 20.0
    """How long each stretch of load lasts."""
    rates: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9, 5.0)
    """Rates of the open loop, as shares of the server's own peak."""
    deadline_s: float = 5.0
    """The deadline of each request of the open loop."""
    threads: int = 2
    """CPU threads of the towers."""
    cache_mb: int = 0
    """MiB of embeddings that the service keeps; the requests are 256 different ones, so with any, most are found."""
    soak_minutes: float = 0.0
    """Minutes at half of the peak while the memory is watched."""
    indexing: int = 0
    """Pictures to index through the service and to encode without it; 0: none."""
    infinity: Path | None = None
    """A Python that has infinity-emb[server,torch,vision] installed, to encode pictures beside."""
    clip_retrieval: Path | None = None
    """A Python that has clip-retrieval installed, to search by pictures and by texts beside."""
    peers_alone: bool = False
    """Measure the service beside these two only."""
    seed: int = 0
    """When requests come."""
    output: Path | None = None
    """Where to write the numbers as JSON."""


def main(config: ServeBenchmark) -> int:
    """Measure and print."""
    numbers: dict[str, Any] = {"machine": machine(), "items": config.items, "cache_mb": config.cache_mb}
    print(numbers["machine"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        print(HEADER, flush=True)
        if not config.peers_alone:
            numbers |= beside_bare(data, config)
    images, load = pictures(256), {"seconds": config.seconds, "threads": config.threads}
    if config.infinity:
        numbers["infinity"] = beside_infinity(config.infinity, images, **load)
    if config.clip_retrieval:
        numbers["clip_retrieval"] = beside_clip_retrieval(config.clip_retrieval, images, items=config.items, **load)
    if config.output:
        config.output.write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return 0


def beside_bare(data: Path, config: ServeBenchmark) -> dict[str, Any]:
    """The service beside the bare server, and what it indexes."""
    asyncio.run(fill(data / "qdrant", config.encoder, config.items))
    bare = [sys.executable, str(Path(__file__).with_name("serve_bare.py")), str(data / "qdrant"), config.encoder]
    scot = [sys.executable, "-m", "services.search.local", "--data", str(data), "--encoder", config.encoder]
    scot += ["--cache-mb", str(config.cache_mb), "--threads", str(config.threads)]
    numbers: dict[str, Any] = {}
    numbers["bare"] = asyncio.run(measured(BARE, [*bare, str(config.threads)], config))
    numbers["scot"] = asyncio.run(measured("SCOT", scot, config, soak_minutes=config.soak_minutes))
    numbers["scot"] |= compared(numbers["scot"], numbers["bare"])
    if config.indexing:
        numbers["indexing"] = indexed(scot, config)
    return numbers


async def measured(
    name: str, command: Sequence[str], config: ServeBenchmark, soak_minutes: float = 0.0
) -> dict[str, Any]:
    """One server under every load."""
    requests = queries(config.composer, pictures(256))
    with server(command) as running:
        async with grpc.aio.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)

            async def call(number: int, timeout: float) -> None:
                await stub.ComposeSearch(requests[number % len(requests)], timeout=timeout)

            if name != BARE:
                await start_encoder(stub)
            await closed_loop(call, clients=4, seconds=3)  # to warm up
            alone = await closed_loop(call, clients=1, seconds=config.seconds)
            print(alone.row(name, "1 client"), flush=True)
            peak = await closed_loop(call, clients=config.clients, seconds=config.seconds)
            print(peak.row(name, f"{config.clients} clients"), flush=True)
            opened = {}
            for share in config.rates:
                opened[str(share)] = await open_loop(
                    call,
                    rate=share * peak.goodput,
                    seconds=config.seconds,
                    deadline_s=config.deadline_s,
                    seed=config.seed,
                )
                print(opened[str(share)].row(name, f"{share} x peak"), flush=True)
            numbers: dict[str, Any] = {"alone": alone.numbers(), "peak": peak.numbers()}
            numbers["open"] = {share: stretch.numbers() for share, stretch in opened.items()}
            if soak_minutes:
                numbers["soak"] = await soaked(call, running, peak.goodput / 2, soak_minutes, config)
            numbers["memory_mib"] = running.memory_mib()
            return numbers


async def soaked(call: Call, running: Server, rate: float, minutes: float, config: ServeBenchmark) -> dict[str, Any]:
    """The memory of a server, read after each half minute of a constant load; the first fifth of them is warming up."""
    readings: list[float] = []
    whole = Stretch()
    for step in range(max(2, round(minutes * 2))):
        stretch = await open_loop(call, rate=rate, seconds=30.0, deadline_s=config.deadline_s, seed=config.seed + step)
        whole.seconds, whole.lasted = whole.seconds + stretch.seconds, whole.lasted + stretch.lasted
        whole.due, whole.cpu_s = whole.due + stretch.due, whole.cpu_s + stretch.cpu_s
        whole.answered_ms += stretch.answered_ms
        whole.codes += stretch.codes
        readings.append(running.memory_mib())
    warm = np.array(readings[len(readings) // 5 :])
    slope = np.polyfit(np.arange(len(warm)), warm, 1)[0] if len(warm) > 1 else 0.0
    drift = float(slope * (len(warm) - 1) / warm.mean())
    print(whole.row("SCOT", f"{minutes:g} minutes"), flush=True)
    print(f"memory: {readings[0]:.0f} MiB at first, {warm[0]:.0f} warm, {warm[-1]:.0f} at the end; drift {drift:+.2%}")
    return {**whole.numbers(), "readings_mib": readings, "drift": drift}


def compared(scot: dict[str, Any], bare: dict[str, Any]) -> dict[str, float]:
    """The ratios that design and issue ask for."""
    half, over = scot["open"].get("0.5"), scot["open"].get("5.0")
    ratios = {"throughput_ratio": scot["peak"]["goodput"] / bare["peak"]["goodput"]}
    ratios["latency_ratio"] = scot["alone"]["p50_ms"] / bare["alone"]["p50_ms"]
    if half:
        ratios["p99_to_p50_at_half"] = half["p99_ms"] / half["p50_ms"]
    if over:
        ratios["goodput_at_5x"] = over["goodput"] / scot["peak"]["goodput"]
    print(f"SCOT: {', '.join(f'{key} {value:.2f}' for key, value in ratios.items())}", flush=True)
    return ratios


def indexed(command: Sequence[str], config: ServeBenchmark) -> dict[str, float]:
    """Pictures indexed a second through the service, and encoded a second by the same tower in this process."""
    images = pictures(config.indexing)
    torch.set_num_threads(config.threads)
    encoder = load_encoder(config.encoder, device="cpu")
    batches = [images[start : start + 64] for start in range(0, len(images), 64)]
    with ThreadPoolExecutor(2) as pool:
        begun = time.perf_counter()
        for batch in batches:
            encoder.encode_pixels(list(pool.map(lambda image: preprocess(encoder.resizing, image), batch)))
        raw = len(images) / (time.perf_counter() - begun)
    with server(command) as running, ScotClient(running.target, timeout=120) as client, ThreadPoolExecutor(4) as pool:

        def upsert(start: int) -> None:
            items = [NewItem(f"new {n}", image=images[n]) for n in range(start, min(start + 64, len(images)))]
            client.upsert(items)

        upsert(0)  # to warm up
        begun = time.perf_counter()
        list(pool.map(upsert, range(0, len(images), 64)))
        through = len(images) / (time.perf_counter() - begun)
    print(f"indexing: {through:.0f} items/s, encoding alone {raw:.0f}/s: {through / raw:.2f}", flush=True)
    return {"indexed_per_s": through, "encoded_per_s": raw, "ratio": through / raw}


if __name__ == "__main__":
    sys.exit(flags.run("serve benchmark", main, ServeBenchmark))
