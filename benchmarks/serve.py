"""How fast a warm ComposeSearch is: ``python benchmarks/serve.py --encoder tiny --output serve.json``.

The service as ``scot serve`` starts it, with a gallery of random vectors, beside a bare grpc.aio server that does the
same work (decode, encode, compose, search) in one process without Ray, one after the other in one run. Prints median,
p95 and p99 latency of one client, queries per second of several, and the ratios; the machine's line comes first, since
the numbers mean nothing without it.
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from scot import flags
from scot.client import ScotClient
from scot.encoders import load_encoder
from scot.errors import Unavailable
from scot.index.store import GalleryStore, Item
from scot.machine import machine

EDIT = "make it red and give it long sleeves"


@dataclass(frozen=True, slots=True)
class ServeBenchmark:
    """Measure the search service beside a bare gRPC server."""

    encoder: str = "tiny"
    """Which encoder both use."""
    items: int = 4_000
    """Items of the gallery."""
    queries: int = 200
    """Queries of each measurement."""
    clients: int = 8
    """Clients of the throughput measurement."""
    threads: int = 2
    """CPU threads of the towers."""
    cache_mb: int = 0
    """MiB of embeddings that the service keeps. Every query is the same, so with any, all but the first are found."""
    haproxy: bool = False
    """Measure the service behind HAProxy, in throughput mode."""
    bare: bool = True
    """Also measure the bare server."""
    output: Path | None = None
    """Where to write the numbers as JSON."""


def main(config: ServeBenchmark) -> int:
    """Measure and print."""
    numbers: dict[str, Any] = {"machine": machine(), "haproxy": config.haproxy, "items": config.items}
    numbers["cache_mb"] = config.cache_mb
    print(numbers["machine"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        asyncio.run(fill(data / "qdrant", config))
        serve = [sys.executable, "-m", "services.search.local", "--data", folder, "--encoder", config.encoder]
        serve += ["--threads", str(config.threads), *(["--haproxy"] if config.haproxy else [])]
        serve += ["--cache-mb", str(config.cache_mb)]
        numbers["scot"] = measured("scot", serve, config)
        if config.bare:
            bare = [sys.executable, __file__, "bare", str(data / "qdrant"), config.encoder, str(config.threads)]
            numbers["bare"] = measured("bare grpc.aio", bare, config)
            numbers["throughput_ratio"] = numbers["scot"]["qps"] / numbers["bare"]["qps"]
            numbers["latency_ratio"] = numbers["scot"]["p50_ms"] / numbers["bare"]["p50_ms"]
            print(f"scot / bare: throughput {numbers['throughput_ratio']:.2f}, median {numbers['latency_ratio']:.2f}")
    if config.output:
        config.output.write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return 0


async def fill(path: Path, config: ServeBenchmark) -> None:
    """A gallery of random unit vectors."""
    encoder = load_encoder(config.encoder, device="cpu")
    rows = np.random.default_rng(0).normal(size=(config.items, encoder.dim)).astype(np.float32)
    store = GalleryStore.open(path=path)
    await store.ensure("gallery", encoder.id, encoder.dim)
    await store.upsert("gallery", [Item(str(n), row, {"n": n, "caption": "a thing"}) for n, row in enumerate(rows)])
    await store.close()


def measured(name: str, command: Sequence[str], config: ServeBenchmark) -> dict[str, float]:
    """Latency of one client, then throughput of several."""
    with server(command) as target, ScotClient(target) as client:
        picture = io.BytesIO()
        noise = np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8)
        Image.fromarray(noise).save(picture, "JPEG")
        image = picture.getvalue()

        def query(_: int = 0) -> float:
            begun = time.perf_counter()
            client.search(image=image, edits=EDIT, composer="sum")
            return time.perf_counter() - begun

        for _ in range(20):
            query()
        alone = np.array([query() for _ in range(config.queries)]) * 1_000
        begun = time.perf_counter()
        with ThreadPoolExecutor(config.clients) as pool:
            loaded = np.array(list(pool.map(query, range(config.queries)))) * 1_000
        qps = config.queries / (time.perf_counter() - begun)
    p50, p95, p99 = (float(each) for each in np.percentile(alone, (50, 95, 99)))
    p99_loaded = float(np.percentile(loaded, 99))
    print(
        f"{name}: median {p50:.1f} ms, p95 {p95:.1f}, p99 {p99:.1f}; {config.clients} clients: {qps:.0f} queries/s",
        end="",
    )
    print(f", p99 {p99_loaded:.1f} ms", flush=True)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "qps": qps, "loaded_p99_ms": p99_loaded}


@contextmanager
def server(command: Sequence[str]) -> Iterator[str]:
    """A server process that prints a line when it is ready and stops at SIGINT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise Unavailable(f"{command[1]} did not start")
        yield f"localhost:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


async def serve_bare(store_path: str, encoder_name: str, threads: str, port: str) -> None:
    """The same work in one process: what Serve's proxy, handles and batching are compared with."""
    import grpc
    import torch

    from scot.composers import baseline
    from scot.v1 import search_pb2, search_pb2_grpc
    from services.search.composing import Job, Move, compose_batch
    from services.search.embeddings import Embeddings
    from services.search.images import preprocess
    from services.search.query import parse_query
    from services.search.wire import payload_message

    torch.set_num_threads(int(threads))
    encoder, store = load_encoder(encoder_name, device="cpu"), GalleryStore.open(path=store_path)
    embeddings = Embeddings(encoder)
    pool = ThreadPoolExecutor(1)

    class Bare(search_pb2_grpc.SearchServiceServicer):
        async def ComposeSearch(self, request: Any, context: Any) -> Any:
            query = parse_query(request, dim=encoder.dim, default_collection="gallery")

            def compose() -> Any:
                pixels = preprocess(encoder, query.image or b"")
                moves = tuple(Move(text.tokens) for text in encoder.tokenise([step.text for step in query.steps]))
                return compose_batch(embeddings, baseline, [Job(pixels, None, moves, query.composer)])[0]

            composed = await asyncio.get_running_loop().run_in_executor(pool, compose)
            hits = await store.search(query.collection, composed.vector, limit=query.limit)
            return search_pb2.ComposeSearchResponse(
                hits=[
                    search_pb2.Hit(item_id=hit.item_id, score=hit.score, payload=payload_message(hit.payload))
                    for hit in hits
                ]
            )

    running = grpc.aio.server()
    search_pb2_grpc.add_SearchServiceServicer_to_server(Bare(), running)
    running.add_insecure_port(f"127.0.0.1:{port}")
    await running.start()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    await stop.wait()
    await running.stop(1)
    await store.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        asyncio.run(serve_bare(*sys.argv[2:5], sys.argv[6]))
    else:
        sys.exit(flags.run("serve benchmark", main, ServeBenchmark))
