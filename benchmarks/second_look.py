"""What reranked queries cost the others: ``python benchmarks/second_look.py``.

A service has a judge that answers, one that says nothing until every deadline has passed, or none at its address.
The first table has the longest stretch of processor time for which one second look at 20 hits keeps the event loop,
on which a gateway answers everything: so long may other searches wait for it. Other load on the machine does not count.
The second has a service under load: beside ``--rate`` queries a second of the first stage come ``--reranked`` queries
that want a second look, and, in short turns on the same start of the service, the same queries without that wish. A row
has the latencies of the first stage's queries, of all turns together, and how the second looks ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
from PIL import Image
from serve_load import Stretch, open_loop
from serve_process import server
from serve_work import fill, pictures, queries, start_encoder

from scot import flags
from scot.index.thumbnails import Thumbnails
from scot.machine import machine
from scot.rerank import load_reranker
from scot.rerank.config import RerankConfig
from scot.rerank.pictures import picture_bytes
from scot.v1 import search_pb2, search_pb2_grpc
from tests.support.chat_endpoint import chat_endpoint
from tests.support.drawn_judge import MODEL, yes_or_no

JUDGES = {"answers": 0.05, "slow": 60.0, "dead": -1.0}
"""Seconds to an answer; -1: nobody listens."""
HEADER = """\
| judge | first-stage queries beside | answered | p50 ms | p95 | p99 | not answered | second looks |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class SecondLookBenchmark:
    """Measure first-stage queries beside reranked ones, with a judge that answers, is slow, or is dead."""

    judges: tuple[str, ...] = tuple(JUDGES)
    """Of answers, slow, dead."""
    rounds: int = 20
    """Turns with and without second looks; 0: the first table alone."""
    seconds: float = 4.0
    """How long each turn lasts."""
    rate: float = 8.0
    """First-stage queries a second."""
    reranked: float = 1.0
    """Queries a second that want a second look."""
    deadline_s: float = 1.0
    """The deadline of a second look."""
    items: int = 1_000
    """Items of the gallery."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: SecondLookBenchmark) -> int:
    """Measure and print two Markdown tables."""
    print(machine(), flush=True)
    rows: list[dict[str, Any]] = []
    print("| judge | longest stretch of the loop, ms of a core, median | worst |\n|---|---|---|", flush=True)
    for name in config.judges:
        with judge(JUDGES[name]) as url:
            longest = asyncio.run(stretches(url, config.deadline_s))
        rows.append({"judge": name, "stretches_ms": longest})
        print(f"| {name} | {np.median(longest):.1f} | {max(longest):.1f} |", flush=True)
    if config.rounds:
        print(f"\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), config.items)
        for name in config.judges if config.rounds else ():
            with judge(JUDGES[name]) as url:
                rows += asyncio.run(measured(config, name, url, Path(folder)))
            for row in rows[-2:]:
                print(line(row), flush=True)
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


async def stretches(url: str, deadline_s: float, looks: int = 21) -> list[float]:
    """The longest stretch of the loop in each of some second looks at 20 candidates, in milliseconds of a core."""
    reranker = load_reranker(RerankConfig(rerank_url=url, rerank_model=MODEL))
    assert reranker is not None
    shown = [picture_bytes(Image.open(BytesIO(each)).convert("RGB")) for each in pictures(21 * looks)]
    kept: list[float] = []
    longest: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            kept.append(1_000 * (time.thread_time() - begun))

    ticking = asyncio.create_task(tick())
    for look in range(looks):
        reference, *candidates = shown[21 * look : 21 * look + 21]
        kept.clear()
        await reranker.rerank("make it red", reference, candidates, weight=1.0, deadline_s=deadline_s)
        longest.append(max(kept))
    ticking.cancel()
    await reranker.close()
    return longest[1:]  # the first one imports


def prepare(data: Path, items: int) -> None:
    """A gallery of random vectors whose items have thumbnails."""
    asyncio.run(fill(data / "qdrant", "tiny", items))
    shown = [Image.open(BytesIO(each)).convert("RGB") for each in pictures(32)]
    thumbnails = Thumbnails(data / "thumbnails")
    for number in range(items):
        thumbnails.write("gallery", str(number), shown[number % len(shown)])


@contextmanager
def judge(seconds: float) -> Iterator[str]:
    """A judge in a process of its own; the address of one that is gone, if ``seconds`` is negative."""
    if seconds < 0:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            gone = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        yield gone
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_judge, args=(theirs, seconds), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _judge(parent: Any, seconds: float) -> None:
    def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
        return yes_or_no(hashlib.sha256(json.dumps(asked["messages"]).encode()).digest()[0] / 256)

    with chat_endpoint(answer, MODEL, seconds) as url:
        parent.send(url)
        parent.poll(None)


async def measured(config: SecondLookBenchmark, name: str, url: str, data: Path) -> list[dict[str, Any]]:
    """The turns on one start of the service: without second looks, and with them."""
    command = [sys.executable, "-m", "services.search.local", "--data", str(data), "--cache-mb", "0", "--threads", "1"]
    command += ["--rerank-url", url, "--rerank-model", MODEL, "--rerank-deadline-s", str(config.deadline_s)]
    root = Path(__file__).resolve().parents[1]
    first = queries("tiny-1", pictures(256))
    taken = 0  # a query that wants a second look comes once: verdicts are cached
    wanting = queries("tiny-1", pictures(int(3 * config.rounds * config.seconds * config.reranked) + 300))[256:]
    with_look: list[Stretch] = []
    without: list[Stretch] = []
    reasons: Counter[str] = Counter()
    with server(command, env={**os.environ, "PYTHONPATH": str(root)}, cwd=root) as running:
        async with grpc.aio.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)

            async def plain(number: int, timeout: float) -> None:
                await stub.ComposeSearch(first[number % len(first)], timeout=timeout)

            async def looked_twice(number: int, timeout: float) -> None:
                request = search_pb2.ComposeSearchRequest()
                request.CopyFrom(wanting[taken + number])
                request.rerank.SetInParent()
                response = await stub.ComposeSearch(request, timeout=timeout)
                reasons[response.rerank_reason or "reranked"] += 1

            async def turn(beside: Any, seconds: float, seed: int) -> Stretch:
                loads = ((plain, config.rate), (beside, config.reranked))
                both = [
                    open_loop(call, rate=rate, seconds=seconds, deadline_s=10.0, seed=2 * seed + place)
                    for place, (call, rate) in enumerate(loads)
                ]
                measured, other = await asyncio.gather(*both)
                nonlocal taken
                taken += other.due if beside is looked_twice else 0
                return measured

            await start_encoder(stub)
            await turn(looked_twice, 5.0, 0)  # to warm up
            reasons.clear()
            for seed in range(1, config.rounds + 1):
                without.append(await turn(plain, config.seconds, seed))
                with_look.append(await turn(looked_twice, config.seconds, seed))
    return [
        {"judge": name, "beside": "the same without", **numbers(without), "reasons": {}},
        {"judge": name, "beside": "second looks", **numbers(with_look), "reasons": dict(reasons)},
    ]


def numbers(turns: list[Stretch]) -> dict[str, Any]:
    """What a row shows, of all turns together."""
    together = Stretch(answered_ms=[each for turn in turns for each in turn.answered_ms])
    codes = sum((turn.codes for turn in turns), Counter[str]())
    return {
        **{f"p{q}_ms": together.percentile(q) for q in (50, 95, 99)},
        "p99_ms_of_turns": [turn.percentile(99) for turn in turns],
        "answered": codes["OK"],
        "others": {code: count for code, count in codes.items() if code != "OK"},
    }


def line(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    cells = [row["judge"], row["beside"], str(row["answered"])]
    cells += [f"{row[f'p{q}_ms']:.1f}" for q in (50, 95, 99)]
    cells += [str(row["others"] or 0), ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items())]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(flags.run("second look benchmark", main, SecondLookBenchmark))
