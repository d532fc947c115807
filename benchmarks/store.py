"""The embedded store at size: writing, building the graph, searching, memory, reopening; recall of composed queries.

    nice python benchmarks/store.py --items 1000000 --quantization int8 --composer ARTIFACT

The gallery is that of benchmarks/recall.py. Its vectors of 256 dimensions are written twice beside each other and
scaled to unit length: cosines and neighbors stay, and sizes and times are those of 512 dimensions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.index.config import CollectionConfig, Quantization, SearchParams
from scot.index.store import GalleryStore, Item
from scot.machine import machine

_BATCH = 500


@dataclass(frozen=True)
class StoreBenchmark:
    """Measure the embedded store.

    Example: nice python benchmarks/store.py --items 100000
    """

    items: int = 100_000
    """Items in the gallery."""
    quantization: Quantization = "int8"
    """The copies of the vectors that are searched."""
    hnsw_ef: int = SearchParams.hnsw_ef
    """Candidates that a search keeps."""
    drawn: int = 3_000
    """Pictures to draw of each world; the other vectors are made of their embeddings."""
    queries: int = 250
    """Queries of each world."""
    composer: str | None = None
    """A composer artifact; without it the queries are sums and texts."""
    data: Path | None = None
    """Where to keep what is drawn, for the next time."""
    store: Path | None = None
    """Where to keep the store; by default in a temporary folder."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: StoreBenchmark) -> int:
    """Measure and print one line a number."""
    from benchmarks import recall  # here, so that the process that searches does not load PyTorch
    from scot.composers import load_composer
    from scot.encoders import load_encoder

    encoder = load_encoder("tiny")
    composer = load_composer(config.composer, encoder_id=encoder.id, dim=encoder.dim) if config.composer else None
    asked = recall.RecallBenchmark(drawn=config.drawn, queries=config.queries, data=config.data)
    rows, queries = recall.drawn(asked, encoder, composer)
    gallery_ND = recall.gallery(rows, config.items, np.random.default_rng(0))
    kinds = {kind: _doubled(rows) for kind, rows in queries.items()}
    truth = {kind: recall.exact(queries_QD[:, : encoder.dim], gallery_ND) for kind, queries_QD in kinds.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = config.store or Path(folder) / "store"
        numbers = asyncio.run(_fill(config, path, gallery_ND))
        with get_context("spawn").Pool(1) as searcher:
            found, measured = searcher.apply(_search_in_a_process, (config, path, kinds, gallery_ND[:5_000]))
    numbers |= measured
    numbers |= {f"recall@10 of {kind}": recall.recall(rows, truth[kind]) for kind, rows in found.items()}
    print(machine())
    for name, value in numbers.items():
        print(f"{name}: {value:,.4g}")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps({"machine": machine(), "items": config.items, **numbers}, indent=2) + "\n")
    return 0


async def _fill(config: StoreBenchmark, path: Path, gallery_ND: Any) -> dict[str, float]:
    store, numbers = GalleryStore.open(path=path), dict[str, float]()
    await store.ensure("gallery", "bench", 2 * gallery_ND.shape[1], CollectionConfig(quantization=config.quantization))
    begun = time.perf_counter()
    await _upsert(store, gallery_ND)
    numbers["upserts/s"] = config.items / (time.perf_counter() - begun)
    begun = time.perf_counter()
    await store.optimize("gallery")
    numbers["build s"] = time.perf_counter() - begun
    await store.close()
    return numbers


async def _upsert(store: GalleryStore, rows_ND: Any) -> None:
    for start in range(0, len(rows_ND), _BATCH):
        vectors = _doubled(rows_ND[start : start + _BATCH])
        await store.upsert("gallery", [_item(start + place, vector) for place, vector in enumerate(vectors)])


def _search_in_a_process(
    config: StoreBenchmark, path: Path, kinds: dict[str, Any], again_ND: Any
) -> tuple[dict[str, Any], dict[str, float]]:
    return asyncio.run(_search(config, path, kinds, again_ND))


async def _search(
    config: StoreBenchmark, path: Path, kinds: dict[str, Any], again_ND: Any
) -> tuple[dict[str, Any], dict[str, float]]:
    numbers: dict[str, float] = {}
    begun = time.perf_counter()
    store = GalleryStore.open(path=path, params=SearchParams(hnsw_ef=config.hnsw_ef))
    await store.info("gallery")
    numbers["open s"] = time.perf_counter() - begun
    found = {}
    for kind, queries_QD in kinds.items():
        rows, seconds = [], []
        for query in queries_QD:
            begun = time.perf_counter()
            hits = await store.search("gallery", query, limit=10)
            seconds.append(time.perf_counter() - begun)
            rows.append([int(hit.item_id) for hit in hits])
        found[kind] = np.array(rows)
        numbers[f"p50 ms of {kind}"] = 1_000 * float(np.median(seconds))
        numbers[f"p99 ms of {kind}"] = 1_000 * float(np.quantile(seconds, 0.99))
    begun = time.perf_counter()
    await _upsert(store, again_ND)
    numbers["upserts/s into the full store"] = len(again_ND) / (time.perf_counter() - begun)
    waits = []
    for place, vector in enumerate(_doubled(again_ND)):
        begun = time.perf_counter()
        await store.upsert("gallery", [_item(place, vector)])
        waits.append(time.perf_counter() - begun)
    numbers["p50 ms of an upsert of one item"] = 1_000 * float(np.median(waits))
    numbers["longest ms of an upsert of one item"] = 1_000 * max(waits)
    numbers["peak memory MB"] = _peak_mb()
    await store.close()
    return found, numbers


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _doubled(rows_ND: Any) -> Any:
    return np.concatenate([rows_ND, rows_ND], axis=1) / np.float32(2**0.5)


def _item(number: int, vector: Any) -> Item:
    payload = {"caption": f"a picture of something, number {number}", "price": number % 1000, "kind": f"k{number % 50}"}
    return Item(str(number), vector, payload)


if __name__ == "__main__":
    sys.exit(flags.run("store.py", main, StoreBenchmark))
