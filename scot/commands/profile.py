"""``scot profile``: where the time of one query goes, by the client's clock and the timings in the responses."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import quantiles

from PIL import Image

from scot import flags
from scot.client import Query
from scot.client._inputs import image_bytes
from scot.client._messages import search_result
from scot.client._query import search_request
from scot.commands.service import ServicePlace
from scot.errors import InvalidFlag
from scot.results import print_json

STAGES: Mapping[str, str] = {
    "client": "the request message is built (the image is read and encoded once, before)",
    "network": "the network in both directions, and Serve's proxy",
    "decode": "the gateway validates, decodes and tokenizes",
    "queue": "the query waits for a batch of the composer",
    "compose": "both towers and the composer run, for the whole batch",
    "search": "the vector store searches",
    "other": "between the gateway and the composer, in both directions",
}
"""The stages of a query, in order."""


@dataclass(frozen=True)
class ProfileConfig:
    """Send one query many times, one after the other, and show the time of each stage.

    Example: scot profile --image shirt.png --edit "make it blue" --queries 200
    """

    image: Path | None = None
    """The reference image; without a reference and edits, a generated image and an edit."""
    item_id: str | None = None
    """Alternatively, an item of the collection as the reference."""
    edit: flags.Phrases = field(default_factory=list)
    """What to change."""
    queries: int = 100
    """Number of measured queries."""
    warm_up: int = 10
    """Number of queries before them that are not measured."""
    limit: int = 10
    """Number of hits, 1 to 1,000."""
    composer: str = ""
    """A composer version or baseline; by default the released one."""
    collection: str = ""
    """Which collection; by default the service's own."""
    json: bool = False
    """Print one line of JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""


def profile(config: ProfileConfig) -> int:
    """Measure and print.

    Raises:
        ScotError: the reference cannot be read, or the service refuses or is unavailable.
    """
    if config.queries < 1 or config.warm_up < 0:
        raise InvalidFlag("--queries must be at least 1, and --warm-up at least 0")
    image, edits = config.image, list(config.edit)
    encoded = image_bytes(image) if image is not None else None
    if encoded is None and config.item_id is None and not edits:
        encoded, edits = image_bytes(_image()), ["make it blue"]
    query: Query = {
        "image": encoded,
        "item_id": config.item_id,
        "edits": edits,
        "limit": config.limit,
        "composer": config.composer,
        "collection": config.collection,
    }
    rows = []
    with config.service.client() as client:
        for turn in range(config.warm_up + config.queries):
            begun = time.perf_counter()
            request = search_request(query)
            written = time.perf_counter()
            answer = client._call(client._search.ComposeSearch, request, search_result, None)
            wall = time.perf_counter() - begun
            if turn >= config.warm_up:
                rows.append(stages(wall, written - begun, answer.timings))
    walls = [sum(row.values()) for row in rows]
    by_stage = {stage: _summary([row[stage] for row in rows], sum(walls)) for stage in STAGES}
    whole = _summary(walls, sum(walls))
    if config.json:
        run = {"address": config.service.address, "composer": answer.composer, "queries": config.queries}
        print_json(run | {"stages": by_stage, "whole_query": whole})
        return 0
    print(f"{config.queries} queries at {config.service.address}, composer {answer.composer}")
    print(f"{'stage':<12}{'p50 ms':>9}{'p95 ms':>9}{'share':>7}  what happens")
    for stage, meaning in STAGES.items():
        print(_line(stage, by_stage[stage], meaning))
    print(_line("whole query", whole, "as the caller measures it"))
    return 0


def stages(wall: float, client: float, timings: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage, which sum up to ``wall``; time that the ``timings`` do not name is network or other."""
    inside = {stage: timings[stage] for stage in ("decode", "queue", "compose", "search")}
    total = timings["total"]
    found = {"client": client, "network": wall - client - total, **inside, "other": total - sum(inside.values())}
    return {stage: max(0.0, found[stage]) for stage in STAGES}


def _summary(seconds: Sequence[float], whole: float) -> dict[str, float]:
    # Linear interpolation, as NumPy has it; one value has no quantiles.
    percentiles = quantiles(seconds if len(seconds) > 1 else [*seconds, *seconds], n=100, method="inclusive")
    return {"p50_ms": percentiles[49] * 1_000, "p95_ms": percentiles[94] * 1_000, "share": sum(seconds) / whole}


def _line(name: str, summary: Mapping[str, float], meaning: str) -> str:
    return f"{name:<12}{summary['p50_ms']:>9.2f}{summary['p95_ms']:>9.2f}{summary['share']:>7.0%}  {meaning}"


def _image() -> Image.Image:
    return Image.frombytes("RGB", (224, 224), Random(0).randbytes(224 * 224 * 3))
