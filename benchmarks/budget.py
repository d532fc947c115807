"""Where the processor time of a ComposeSearch goes: ``python benchmarks/budget.py``.

It starts `scot serve` on a gallery of random vectors, sends searches by a picture and an edit, and prints the processor
time of each process of the service per query, and when idle. Below is the work alone: what the same decoding, towers,
composer and search take in one process in batches, and the ratio of both. Processor time holds on a machine that others
share; the machine's line comes first. ``--stages`` shows which code each process spends its time in (needs py-spy).
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
import psutil
from serve_load import Call, closed_loop
from serve_process import Server, server
from serve_work import fill, pictures, queries, start_encoder

from scot import flags
from scot.encoders import load_encoder
from scot.index.store import GalleryStore
from scot.machine import machine
from scot.v1 import search_pb2, search_pb2_grpc

RAYS = "Ray's own (controller, raylet, GCS, agents)"
RATE = 200
"""Samples a second of --stages."""


@dataclass(frozen=True, slots=True)
class BudgetBenchmark:
    """Measure the processor time of a query by process and by stage.

    Example: python benchmarks/budget.py --clients 1 8 --stages
    """

    encoder: str = "tiny"
    """Which encoder."""
    composer: str = "tiny-1"
    """Which composer."""
    items: int = 8_000
    """Items of the gallery."""
    clients: tuple[int, ...] = (1, 8)
    """Numbers of clients, each of which asks again once it is answered."""
    seconds: float = 15.0
    """How long each number of clients asks, and how long the idle service is watched."""
    threads: int = 0
    """CPU threads of each process of towers; 0: as `scot serve` chooses."""
    stages: bool = False
    """Also sample what the processes run, with py-spy, in a further stretch of the most clients."""


def main(config: BudgetBenchmark) -> int:
    """Measure and print Markdown tables."""
    print(machine(), flush=True)
    requests = queries(config.composer, pictures(256, "PNG"))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder) / "qdrant", config.encoder, config.items))
        command = [sys.executable, "-m", "services.search.local", "--data", folder, "--encoder", config.encoder]
        command += ["--cache-mb", "0", "--threads", str(config.threads)]
        with server(command) as running:
            spent = asyncio.run(measured(running, requests, config))
        alone = asyncio.run(work_alone(Path(folder) / "qdrant", requests, config))
    report(spent, alone)
    return 0


@dataclass(slots=True)
class Stretch:
    """What one stretch of load took: seconds of processor time by process, and how many queries were answered."""

    name: str
    seconds: float = 0.0
    queries: int = 0
    p50_ms: float = 0.0
    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


async def measured(
    running: Server, requests: Sequence[search_pb2.ComposeSearchRequest], config: BudgetBenchmark
) -> list[Stretch]:
    """An idle stretch, and one for each number of clients."""
    async with grpc.aio.insecure_channel(running.target) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)

        async def call(number: int, timeout: float) -> None:
            await stub.ComposeSearch(requests[number % len(requests)], timeout=timeout)

        await closed_loop(call, clients=4, seconds=3)  # to warm up
        await start_encoder(stub)
        stretches = []
        for clients in config.clients:
            with spent(running, f"{clients} client{'s' * (clients > 1)}") as stretch:
                answered = await closed_loop(call, clients=clients, seconds=config.seconds)
            stretch.queries, stretch.p50_ms = len(answered.answered_ms), answered.percentile(50)
            stretches.append(stretch)
        with spent(running, "idle") as idle:
            await asyncio.sleep(config.seconds)
        if config.stages:
            stages(*await sampled(running, call, config))
        return [*stretches, idle]


@contextmanager
def spent(running: Server, name: str) -> Iterator[Stretch]:
    """Measure the processor time of the service's processes during the block."""
    stretch, begun, before = Stretch(name), time.perf_counter(), processor_seconds(running)
    yield stretch
    stretch.seconds = time.perf_counter() - begun
    for process, seconds in processor_seconds(running).items():
        stretch.cpu_s[kind(process)] += seconds - before.get(process, 0.0)


def processes(running: Server) -> list[psutil.Process]:
    """The service's process and its descendants."""
    return [running.process, *running.process.children(recursive=True)]


def processor_seconds(running: Server) -> dict[psutil.Process, float]:
    """User and system time of every process of the service."""
    found = {}
    for process in processes(running):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process] = times.user + times.system
    return found


def kind(process: psutil.Process) -> str:
    """What a process is: a replica by its deployment, the proxy, or a part of Ray."""
    try:
        command = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return "ended"
    if found := re.search(r"ray::ServeReplica:[^:]+:(\w+)", command):
        return found.group(1)
    names = {"ProxyActor": "Serve's proxy", "services.search.local": "scot serve"}
    for pattern, name in names.items():
        if pattern in command:
            return name
    return RAYS


async def work_alone(
    store: Path, requests: Sequence[search_pb2.ComposeSearchRequest], config: BudgetBenchmark
) -> dict[str, float]:
    """Milliseconds of processor time a query of each part of the work, in batches of 32, in this process."""
    import torch

    from scot.composers.base import padded
    from scot.encoders.base import embed_texts, encode_pixels
    from services.search.composer.loaded_composers import LoadedComposers
    from services.search.gateway.context import preprocess

    torch.set_num_threads(1)
    encoder = load_encoder(config.encoder, device="cpu")
    composer = LoadedComposers(None, encoder).get(config.composer)
    batch = requests[:32]
    pixels = [preprocess(encoder.resizing, each.reference.image) for each in batch]
    texts = [each.edits[0].text for each in batch]
    images_ND, patches = encode_pixels(encoder, pixels, states=True)
    texts_ND, tokens, _ = embed_texts(encoder, texts, states=True)
    states = (padded(list(patches)), padded(list(tokens)))
    tensors = torch.from_numpy(images_ND), torch.from_numpy(texts_ND)
    parts: dict[str, Callable[[], Any]] = {
        "decode and resize": lambda: [preprocess(encoder.resizing, each.reference.image) for each in batch],
        "image tower": lambda: encode_pixels(encoder, pixels, states=True),
        "text tower": lambda: embed_texts(encoder, texts, states=True),
        "composer": lambda: composer.compose(*tensors, *states),
    }
    found = {name: await processor_ms(each) / len(batch) for name, each in parts.items()}
    gallery = GalleryStore.open(path=store)
    query_D = images_ND[0]
    found["search"] = await processor_ms(lambda: gallery.search("gallery", query_D, limit=10))
    await gallery.close()
    return found


async def processor_ms(work: Callable[[], Any], rounds: int = 30) -> float:
    """Milliseconds of processor time of one call, which may return an awaitable; the median of the rounds."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        answer = work()
        if asyncio.iscoroutine(answer):
            await answer
        taken.append(1e3 * (time.process_time() - begun))
    return float(np.median(taken[rounds // 5 :]))


def report(stretches: Sequence[Stretch], alone: dict[str, float]) -> None:
    """Print the table of processes and that of the work alone."""
    busy, idle = [each for each in stretches if each.queries], stretches[-1]
    heads = [f"{each.name}, ms a query" for each in busy]
    print(f"\n| process | {' | '.join(heads)} | idle, % of a core |\n|---|{'---|' * (len(busy) + 1)}")
    names = sorted({name for each in stretches for name in each.cpu_s}, key=lambda name: -busy[-1].cpu_s[name])
    for name in names:
        cells = [f"{1e3 * each.cpu_s[name] / each.queries:.1f}" for each in busy]
        print(f"| {name} | {' | '.join(cells)} | {100 * idle.cpu_s[name] / idle.seconds:.1f} |")
    totals = [1e3 * sum(each.cpu_s.values()) / each.queries for each in busy]
    cells = [f"{total:.1f}" for total in totals]
    print(f"| **all** | {' | '.join(cells)} | {100 * sum(idle.cpu_s.values()) / idle.seconds:.1f} |")
    for name, values in {
        "queries a second": [each.queries / each.seconds for each in busy],
        "median, ms": [each.p50_ms for each in busy],
    }.items():
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} | |")
    whole = sum(alone.values())
    print("\n| the work alone | ms a query |\n|---|---|")
    for name, value in {**alone, "**all**": whole}.items():
        print(f"| {name} | {value:.2f} |")
    print(f"\nall processes ÷ the work alone: {', '.join(f'{total / whole:.1f}' for total in totals)}")
    print(machine(), flush=True)


OWNERS = {
    "scot/index": "search in the store",
    "qdrant_edge": "search in the store",
    "scot/encoders": "towers",
    "scot/composers": "composer",
    "scot/data/images": "decode",
    "services/": "SCOT's service",
    "google/protobuf": "protobuf",
    "grpc": "gRPC",
    "ray/serve": "Ray Serve",
    "ray/": "Ray",
    "asyncio": "event loop",
}
"""Stages by a part of the file name; the innermost frame that has an owner decides."""


async def sampled(running: Server, call: Call, config: BudgetBenchmark) -> tuple[dict[str, dict[str, float]], int]:
    """Seconds with the GIL, by kind of process and stage, and the number of queries meanwhile."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        spies = {}
        for process in processes(running):
            name = kind(process)
            if name not in (RAYS, "scot serve"):
                output = Path(folder, f"{name} {process.pid}")
                command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(process.pid), "--gil"]
                command += ["--duration", str(int(config.seconds)), "--rate", str(RATE), "--nonblocking"]
                command += ["--format", "raw", "--output", str(output)]
                spies[output] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answered = await closed_loop(call, clients=max(config.clients), seconds=config.seconds)
        for output, spy in spies.items():
            spy.wait()
            counts = found.setdefault(output.name.rpartition(" ")[0], {})
            for line in output.read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                stage = owner(stack.split(";"))
                counts[stage] = counts.get(stage, 0.0) + int(count) / RATE
    return found, len(answered.answered_ms)


def owner(frames: Sequence[str]) -> str:
    """The stage of a stack."""
    for frame in reversed(frames):
        for pattern, name in OWNERS.items():
            if pattern in frame:
                return name
    return "other"


def stages(found: dict[str, dict[str, float]], queries: int) -> None:
    """Print what the processes run while they hold the GIL."""
    print("\n| process | stage (time with the GIL) | ms a query |\n|---|---|---|")
    for process, counts in found.items():
        for stage, seconds in sorted(counts.items(), key=lambda item: -item[1]):
            print(f"| {process} | {stage} | {1e3 * seconds / queries:.2f} |")


if __name__ == "__main__":
    sys.exit(flags.run("budget", main, BudgetBenchmark))
