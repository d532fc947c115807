"""What the web service adds: processor time of its process for each query, and its memory.

    python benchmarks/web.py --queries 2000

It starts the packaged encoder's service in a process (the gateway, the towers and the embedded store, without Ray) and
`scot web` before it, and sends the same queries over gRPC and over HTTP. Times of the wall say nothing about the web
service where the machine is busy; the processor time of its process does.
"""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image
from serve_process import Server, server

from scot import flags
from scot.client import NewItem, ScotClient
from scot.errors import Unavailable
from scot.machine import machine
from scot.progress import Progress

_SERVICE = Path(__file__).with_name("web_service.py")


@dataclass(frozen=True)
class WebBenchmark:
    """Processor time and memory of the web service.

    Example: python benchmarks/web.py --queries 500
    """

    queries: int = 2_000
    """Queries of each kind."""
    at_once: int = 4
    """Queries at a time."""
    hits: int = 10
    """Hits of each query."""


def main(config: WebBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(machine(), flush=True)
    with started(items=64) as running:
        asyncio.run(measure(f"http://{running.target}", running.process, config))
    return 0


@contextmanager
def started(
    *, items: int, side: int = 256, ray: bool = False, log: Path | None = None, progress: Progress | None = None
) -> Iterator[Server]:
    """`scot web` before the packaged encoder's service with so many items; with ``ray``, before `scot serve`.

    Both write to the file ``log``, by default to this process's standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        scot = [sys.executable, "-m", "scot.cli", "serve", "--data", folder]
        service = server(scot if ray else [sys.executable, str(_SERVICE), folder], log=log)
        with service as behind:
            fill(behind, items, side, progress or Progress())
            with server([sys.executable, "-m", "scot.cli", "web", "--address", behind.target], log=log) as running:
                yield running


def fill(service: Server, items: int, side: int, progress: Progress) -> None:
    """Items with thumbnails and payloads, once the service is ready. Raises Unavailable when it ends before."""
    payload = {"caption": "a red shirt with long sleeves", "price": 12.5, "tags": ["shirt", "red"], "sold": False}
    with ScotClient(service.target, timeout=120) as client, progress.task("storing", items, "pictures") as task:
        while not client.healthy():
            if service.process.status() == psutil.STATUS_ZOMBIE:
                raise Unavailable("the service ended before it was ready")
            time.sleep(0.5)
        for first in range(0, items, 64):
            numbers = range(first, min(first + 64, items))
            client.upsert([NewItem(f"item-{n}", picture(n, side), payload=payload) for n in numbers])
            task.advance(len(numbers))


def picture(number: int, side: int = 256) -> Image.Image:
    """A picture that compresses like a photograph; no two of the first 6,984 are alike."""
    gradient = Image.radial_gradient("L").resize((side, side))
    shade = gradient.point([min(255, level * (number % 97 + 30) // 100) for level in range(256)])
    return Image.merge("RGB", (gradient, gradient.rotate(number * 5), shade))


async def measure(url: str, process: Any, config: WebBenchmark) -> None:
    """Send each kind of request and print its row."""
    buffer = io.BytesIO()
    picture(3).save(buffer, "JPEG", quality=90)
    image = buffer.getvalue()
    edits = {"edits": [{"text": "make it blue"}], "limit": config.hits}
    as_json = {**edits, "reference": {"image": base64.b64encode(image).decode()}}
    files = {"reference.image": ("a.jpg", image)}
    requests: dict[str, dict[str, Any]] = {
        "search by an item": {"json": {**edits, "reference": {"itemId": "item-3"}}},
        f"search by a picture of {len(image) // 1000} kB, base64": {"json": as_json},
        "the same as a form": {"data": {"edits[0].text": "make it blue", "limit": config.hits}, "files": files},
    }
    print("| request | CPU of scot web, ms | RSS, MiB |\n|---|---|---|")
    limits = httpx.Limits(max_connections=config.at_once)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        for name, request in requests.items():
            path = "/v1/compose-search"
            await repeated(client, "POST", path, request, number=50, at_once=config.at_once)
            before = cpu(process)
            await repeated(client, "POST", path, request, number=config.queries, at_once=config.at_once)
            row(name, cpu(process) - before, config.queries, process)
        await repeated(client, "GET", "/v1/pictures/item-3", {}, number=50, at_once=config.at_once)
        before = cpu(process)
        await repeated(client, "GET", "/v1/pictures/item-3", {}, number=config.queries, at_once=config.at_once)
        row("a thumbnail", cpu(process) - before, config.queries, process)


async def repeated(
    client: httpx.AsyncClient, method: str, path: str, request: dict[str, Any], *, number: int, at_once: int
) -> None:
    """Send a request ``number`` times, ``at_once`` at a time."""
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            response = await client.request(method, path, **request)
            response.raise_for_status()

    await asyncio.gather(*(one() for _ in range(number)))


def cpu(process: Any) -> float:
    """Seconds of processor time of the process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def row(name: str, seconds: float, queries: int, process: Any) -> None:
    """Print one row of the table."""
    print(f"| {name} | {seconds / queries * 1e3:.2f} | {process.memory_info().rss / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(flags.run("web", main, WebBenchmark))
