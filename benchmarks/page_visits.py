"""What a browser asks for during a visit of the page, and many browsers at once."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from dataclasses import dataclass, field

import aiohttp  # of Ray; it takes a third of the processor time of httpx, which would compete with the service

from scot.progress import Progress, Task

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


@dataclass(frozen=True, slots=True)
class Load:
    """What came of many browsers."""

    peak: float
    """Visits a second, by eight browsers that visit one time after the other."""
    rate: float
    """Visits a second, by all browsers."""
    seen: Seen
    """Their requests."""


async def load(url: str, browsers: int, load_s: float, peak_s: float, progress: Progress) -> Load:
    """Find the peak of visits in ``peak_s`` seconds, then let ``browsers`` visit at half of it for ``load_s``."""
    timeout = aiohttp.ClientTimeout(total=60)
    clients = [
        aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=CONNECTIONS), timeout=timeout)
        for _ in range(browsers)
    ]
    try:
        scripts = await resources(clients[0])
        with progress.task("finding the peak", None, "visits") as task:
            begun = time.perf_counter()
            until = begun + peak_s
            at_peak = (repeated(each, scripts, until, task) for each in clients[:_AT_PEAK])
            peak = sum(await asyncio.gather(*at_peak)) / (time.perf_counter() - begun)
        seen, visits = Seen(), max(1, round(load_s * peak / 2))
        begun = time.perf_counter()

        async def one(number: int) -> None:
            await visit(clients[number % browsers], scripts, seen)
            task.advance()

        with progress.task("half of the peak", visits, "visits") as task:
            tasks = []
            for number in range(visits):
                await asyncio.sleep(begun + number / (peak / 2) - time.perf_counter())
                tasks.append(asyncio.create_task(one(number)))
            await asyncio.gather(*tasks)
        return Load(peak, visits / (time.perf_counter() - begun), seen)
    finally:
        await asyncio.gather(*(each.close() for each in clients))


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


async def repeated(client: aiohttp.ClientSession, paths: list[str], until: float, task: Task) -> int:
    """Visit after visit; how many there were."""
    done = 0
    while time.perf_counter() < until:
        await visit(client, paths, Seen())
        done += 1
        task.advance()
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
