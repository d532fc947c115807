"""What a browser asks for during a visit of the page, and many browsers at once."""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import time
from dataclasses import dataclass, field

import aiohttp  # of Ray; it takes a third of the processor time of httpx, which would compete with the service

CONNECTIONS = 6
"""Of a browser to one host, as Chromium has them."""
_AT_PEAK = 8
"""Browsers that visit one time after the other, to find the peak."""
_PICTURES = 40
_WORDS = ("red", "blue", "striped", "long", "short", "dotted", "green", "plain")


@dataclass
class Seen:
    """Requests of all browsers."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def load(url: str, browsers: int, visits: int, peak_s: float) -> None:
    """Find the peak of visits, then let ``browsers`` make ``visits`` at half of it; print both."""
    timeout = aiohttp.ClientTimeout(total=60)
    clients = [
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=CONNECTIONS), timeout=timeout)
        for _ in range(browsers)
    ]
    try:
        scripts = await resources(clients[0])
        seen = Seen()
        until = time.perf_counter() + peak_s
        done = await asyncio.gather(*(repeated(each, scripts, seen, until) for each in clients[:_AT_PEAK]))
        peak = sum(done) / peak_s
        told(f"{_AT_PEAK} browsers, one visit after the other", peak, seen)
        seen = Seen()
        begun = time.perf_counter()
        tasks = []
        for number in range(visits):
            await asyncio.sleep(begun + number / (peak / 2) - time.perf_counter())
            tasks.append(asyncio.create_task(visit(clients[number % browsers], scripts, seen)))
        await asyncio.gather(*tasks)
        told(f"{browsers} browsers at half of it", visits / (time.perf_counter() - begun), seen)
    finally:
        await asyncio.gather(*(each.close() for each in clients))


def told(name: str, visits: float, seen: Seen) -> None:
    """Print a line."""
    p50, p99 = (statistics.quantiles(seen.seconds, n=100)[place] * 1e3 for place in (49, 98))
    print(
        f"\n{name}: {visits:.2f} visits/s, {len(seen.seconds):,} requests, {len(seen.failed)} failed; "
        f"a request takes {p50:.0f} ms (p50), {p99:.0f} ms (p99)",
        flush=True,
    )
    for each in sorted(set(seen.failed))[:5]:
        print(f"  {each}")


async def resources(client: aiohttp.ClientSession) -> list[str]:
    """The files that the page consists of: those it names, and those that its modules import."""
    found = ["/"]
    for path in found:  # grows
        async with client.get(path) as response:
            text = await response.text()
        names = re.findall(r'(?:src|href)="(/static/[^"]+)"', text) if path == "/" else []
        if path.endswith(("js", "mjs")):
            folder = path.rpartition("/")[0]
            names = [f"{folder}/{name}" for name in re.findall(r'from "\./([^"]+)"', text)]
        found += [name for name in dict.fromkeys(names) if name not in found]
    return found


async def repeated(client: aiohttp.ClientSession, paths: list[str], seen: Seen, until: float) -> int:
    """Visit after visit; how many there were."""
    done = 0
    while time.perf_counter() < until:
        await visit(client, paths, seen)
        done += 1
    return done


async def visit(client: aiohttp.ClientSession, paths: list[str], seen: Seen) -> None:
    """Open the page with an empty cache, see the gallery, search by a text, see the pictures."""

    async def one(path: str, body: object = None) -> bytes | None:
        begun = time.perf_counter()
        try:
            async with client.request("GET" if body is None else "POST", path, json=body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.failed.append(f"{path.partition('?')[0]}: {type(error).__name__}")
            return None
        finally:
            seen.seconds.append(time.perf_counter() - begun)
        if response.status == 200:
            return content
        seen.failed.append(f"{path.partition('?')[0]}: {response.status}")
        return None

    async def pictures(ids: list[str]) -> None:
        await asyncio.gather(*(one(f"/v1/pictures?item_id={each}") for each in ids[:_PICTURES]))

    await asyncio.gather(*(one(path) for path in paths))
    listed = await one("/v1/list-items", {"limit": 60})
    if listed is not None:
        ids = [each["itemId"] for each in json.loads(listed)["items"]]
        await one("/v1/get-items", {"itemIds": ids})
        await pictures(ids)
    text = " ".join(random.sample(_WORDS, 3))
    found = await one("/v1/compose-search", {"edits": [{"text": f"a {text} shirt"}], "limit": 60})
    if found is not None:
        await pictures([each["itemId"] for each in json.loads(found)["hits"]])
