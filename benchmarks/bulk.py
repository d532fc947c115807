"""Uploading many vectors to a Qdrant server: SCOT's store beside a bare qdrant-client, in turn in one run.

    python benchmarks/bulk.py --items 20000
    python benchmarks/bulk.py --items 1000000 --qdrant-url http://localhost:6333

Without a server, a process that reads each message and acknowledges it at once stands in for one: then the clients are
all that is measured, and the one that is slower cannot hide behind a slow server. Each client is a process of its own;
it reports its processor time beside the time on the clock. Both make the UUIDs of the ids and keep the ids in payloads.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grpc
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.errors import InvalidFlag
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.store import GalleryStore, Item
from scot.machine import machine

_IN_FLIGHT = 4
"""Batches of one client that are on their way at once."""


@dataclass(frozen=True)
class BulkBenchmark:
    """Compare uploads by SCOT's store with those of a bare qdrant-client.

    Example: python benchmarks/bulk.py --items 20000
    """

    items: int = 20_000
    """Vectors of one upload."""
    dim: int = 512
    """Their width."""
    batch_size: int = 128
    """Points of a message, as `ray_jobs/index.py` sends them."""
    rounds: int = 3
    """Rounds, in which the clients take turns; the medians count."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """A real server to upload to."""
    output: Path | None = None
    """Also write the numbers as JSON."""

    def __post_init__(self) -> None:
        if min(self.items, self.dim, self.batch_size, self.rounds) < 1:
            raise InvalidFlag("--items, --dim, --batch-size and --rounds must be at least 1")


def main(config: BulkBenchmark) -> int:
    """Measure and print a Markdown table."""
    took: dict[str, list[tuple[float, float]]] = {"bare qdrant-client": [], "SCOT": []}
    with _server(config.qdrant) as server:
        for _ in range(config.rounds):
            for name, upload in (("bare qdrant-client", _bare), ("SCOT", _ours)):
                with get_context("spawn").Pool(1) as process:
                    took[name].append(process.apply(_timed, (upload, config, server)))
    wall, cpu = ({name: statistics.median(each[at] for each in rows) for name, rows in took.items()} for at in (0, 1))
    print(f"{machine()}\n\n{config.items:,} vectors of {config.dim}, {config.batch_size} a message\n")
    print("| client | items/s | CPU ms an item |\n|---|---|---|")
    for name in took:
        print(f"| {name} | {config.items / wall[name]:,.0f} | {1_000 * cpu[name] / config.items:.3f} |")
    ratios = {
        "ratio": wall["bare qdrant-client"] / wall["SCOT"],
        "ratio of CPU": cpu["bare qdrant-client"] / cpu["SCOT"],
    }
    for name, value in ratios.items():
        print(f"\n{name}: {value:.2f}")
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), "took": took, **ratios}, indent=2), encoding="utf-8")
    return 0


def _timed(upload: Any, config: BulkBenchmark, server: ServerConfig) -> tuple[float, float]:
    """Seconds on the clock and of the processor of an upload, without its preparation."""
    work = upload(config, server)
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - cpu


def _vectors(config: BulkBenchmark) -> Any:
    rows_ND = np.random.default_rng(0).standard_normal((config.items, config.dim), dtype=np.float32)
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def _payload(number: int) -> dict[str, Any]:
    return {"caption": f"a picture of something, number {number}", "price": number % 1000, "kind": f"k{number % 50}"}


def _bare(config: BulkBenchmark, server: ServerConfig) -> Any:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(
        url=server.qdrant_url, grpc_port=server.qdrant_grpc_port, prefer_grpc=True, check_compatibility=False
    )
    vectors_ND, payloads = _vectors(config), [_payload(number) for number in range(config.items)]
    if config.qdrant.qdrant_url is not None:
        size = models.VectorParams(size=config.dim, distance=models.Distance.COSINE)
        client.delete_collection("bench-bare")
        client.create_collection("bench-bare", vectors_config=size, hnsw_config=models.HnswConfigDiff(m=0))

    def work() -> None:
        names = [str(number) for number in range(config.items)]
        client.upload_collection(
            "bench-bare", vectors_ND, ({**payload, "id": name} for name, payload in zip(names, payloads, strict=True)),
            (str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in names),
            batch_size=config.batch_size, parallel=1, wait=True,
        )  # fmt: skip

    return work


def _ours(config: BulkBenchmark, server: ServerConfig) -> Any:
    vectors_ND = _vectors(config)
    items = [Item(str(number), vector, _payload(number)) for number, vector in enumerate(vectors_ND)]

    async def opened() -> GalleryStore:
        store = GalleryStore.open(server=server)
        if config.qdrant.qdrant_url is not None:
            from scot.index import collections

            await store.engine.drop("bench-scot")
            await collections.create(store.engine, "bench-scot", "bench", config.dim, CollectionConfig(), graph=False)
        return store

    async def work() -> None:
        room = asyncio.Semaphore(_IN_FLIGHT)

        async def send(batch: list[Item]) -> None:
            async with room:
                await store.upsert("bench-scot", batch)

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(items), config.batch_size):
                group.create_task(send(items[start : start + config.batch_size]))

    runner = asyncio.Runner()  # the connection belongs to its loop
    store = runner.run(opened())
    return lambda: runner.run(work())


@contextmanager
def _server(given: ServerConfig) -> Iterator[ServerConfig]:
    """The server that was given, or one that acknowledges at once."""
    if given.qdrant_url is not None:
        yield given
        return
    context = get_context("spawn")
    ports: Any = context.Queue()
    process = context.Process(target=_acknowledge, args=(ports,), daemon=True)
    process.start()
    try:
        yield ServerConfig("http://127.0.0.1:6333", ports.get(timeout=120))
    finally:
        process.terminate()
        process.join()


def _acknowledge(ports: Any) -> None:
    from qdrant_client import grpc as wire

    class Points(wire.PointsServicer):
        def Upsert(self, request: Any, context: Any) -> Any:
            return wire.PointsOperationResponse(result=wire.UpdateResult(status=wire.UpdateStatus.Completed))

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 * 2**20)])
    add: Any = wire.add_PointsServicer_to_server
    add(Points(), server)
    ports.put(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    sys.exit(flags.run("bulk.py", main, BulkBenchmark))
