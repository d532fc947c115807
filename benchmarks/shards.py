"""Recall and latency of composed queries in a gallery of many shards, by quantisation, in Qdrant's own engine.

    python benchmarks/shards.py --items 1000000 --shards 1 4 16 --composer scot/composers/tiny-1

The gallery is that of benchmarks/recall.py, kept in a file. Its shards are built and searched one after the other, so
that memory is that of one shard, and their answers are merged as a Qdrant cluster merges them: each shard returns its
best, rescored by its full vectors. Times are processor time, which a busy machine changes little: ``slowest`` is of
a query's slowest shard, the time of a cluster with a core for each shard, without the network; ``all`` is the sum.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.recall import QUANTIZATIONS, RecallBenchmark, Rows, Vectors, build, drawn, exact, gallery_parts, recall
from benchmarks.recall import search as search_shard
from scot import flags
from scot.composers import load_composer
from scot.encoders import load_encoder
from scot.errors import InvalidFlag
from scot.index.config import SearchParams
from scot.machine import machine

_PIECE = 250
"""Rows of the gallery that go to one shard, before the next ones go to the next shard."""
_BLOCK = 100_000
_OVERSAMPLING = {"none": None, "int8": 3.0, "turbo": 3.0, "product": 8.0, "binary": 8.0}

Found = dict[str, tuple[Rows, Vectors]]
"""The rows and their cosines ``(Q, k)``, by kind of query."""


@dataclass(frozen=True)
class ShardsBenchmark:
    """Recall and latency of composed queries by the number of shards and the quantisation.

    Example: python benchmarks/shards.py --items 1000000 --shards 1 4 16
    """

    items: int = 1_000_000
    """Vectors in the gallery."""
    shards: tuple[int, ...] = (1, 4, 16)
    """Numbers of shards to measure."""
    quantizations: tuple[str, ...] = ("none", "int8", "turbo", "product")
    """Which to measure: none, int8, turbo, product, binary."""
    hnsw_ef: tuple[int, ...] = (128, SearchParams.hnsw_ef)
    """Candidates that the search of a shard keeps in its graph."""
    drawn: int = 3_000
    """Pictures to draw of each world; the other vectors are made of their embeddings."""
    queries: int = 250
    """Queries of each world."""
    composer: str | None = None
    """A composer artifact whose queries are measured too."""
    data: Path | None = None
    """Folder for the drawn images, to use them again."""
    scratch: Path | None = None
    """Folder for the gallery and the shards; by default the temporary folder of the system."""
    output: Path | None = None
    """Also write the numbers as JSON."""

    def __post_init__(self) -> None:
        if self.items < 1 or self.queries < 1 or min(self.shards, default=0) < 1:
            raise InvalidFlag("--items, --queries and --shards must be at least 1")
        if max(self.shards) * _PIECE > self.items:
            raise InvalidFlag(f"--shards {max(self.shards)} needs --items of at least {max(self.shards) * _PIECE:,}")
        if unknown := set(self.quantizations) - set(QUANTIZATIONS):
            raise InvalidFlag(f"--quantizations knows {', '.join(QUANTIZATIONS)}, not {', '.join(sorted(unknown))}")


def main(config: ShardsBenchmark) -> int:
    """Measure and print a Markdown table, a line as soon as it is known."""
    encoder = load_encoder("tiny")
    composer = load_composer(config.composer, encoder_id=encoder.id, dim=encoder.dim) if config.composer else None
    asked = RecallBenchmark(items=config.items, drawn=config.drawn, queries=config.queries, data=config.data)
    drawn_ND, kinds = drawn(asked, encoder, composer)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=config.scratch) as folder:
        gallery_ND = _stored_gallery(Path(folder) / "gallery.f32", drawn_ND, config.items)
        truth = _truth(kinds, gallery_ND)
        number = sum(map(len, kinds.values()))
        print(f"{machine()}\n\n{config.items:,} vectors of {gallery_ND.shape[1]}, {number:,} queries\n")
        head = ["shards", "quantisation", "candidates", *kinds]
        head += ["slowest shard, CPU ms: p50", "p99", "all shards, CPU ms", "build s"]
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
        for shards in config.shards:
            for name in config.quantizations:
                for row in _measured(config, Path(folder), gallery_ND, kinds, truth, shards=shards, name=name):
                    rows.append(row)
                    print(_line(row), flush=True)
                    if config.output is not None:
                        config.output.parent.mkdir(parents=True, exist_ok=True)
                        result = {"machine": machine(), "items": config.items, "rows": rows}
                        config.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _measured(
    config: ShardsBenchmark,
    folder: Path,
    gallery_ND: Vectors,
    kinds: Mapping[str, Vectors],
    truth: Mapping[str, Rows],
    *,
    shards: int,
    name: str,
) -> Iterator[dict[str, Any]]:
    """Build and search one shard after the other; a line for each number of candidates."""
    found: dict[int, list[Found]] = {ef: [] for ef in config.hnsw_ef}
    seconds: dict[int, list[npt.NDArray[np.float64]]] = {ef: [] for ef in config.hnsw_ef}
    building = 0.0
    for shard in range(shards):
        at = np.flatnonzero(np.arange(len(gallery_ND)) // _PIECE % shards == shard)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            engine, took = build(Path(place), gallery_ND[at], QUANTIZATIONS[name])
            building += took
            for ef in config.hnsw_ef:
                answers = {kind: search_shard(engine, rows, _OVERSAMPLING[name], ef) for kind, rows in kinds.items()}
                found[ef].append({kind: (at[ids], scores) for kind, (ids, scores, _) in answers.items()})
                seconds[ef].append(np.concatenate([took for *_, took in answers.values()]))
            engine.close()
    for ef in config.hnsw_ef:
        slowest = 1_000 * np.max(seconds[ef], axis=0)
        yield {
            "shards": shards,
            "quantization": name,
            "hnsw_ef": ef,
            "recall@10": {kind: recall(merged([each[kind] for each in found[ef]])[0], truth[kind]) for kind in kinds},
            "slowest_p50_ms": float(np.quantile(slowest, 0.5)),
            "slowest_p99_ms": float(np.quantile(slowest, 0.99)),
            "all_ms": float(1_000 * np.sum(seconds[ef], axis=0).mean()),
            "build_s": building,
        }


def merged(parts: list[tuple[Rows, Vectors]]) -> tuple[Rows, Vectors]:
    """The k best of several answers ``(Q, k)``, best first, with their scores."""
    rows, scores = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    best = np.argsort(-scores, axis=1, kind="stable")[:, : parts[0][0].shape[1]]
    return np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)


def _stored_gallery(path: Path, drawn_ND: Vectors, items: int) -> Vectors:
    stored = np.memmap(path, np.float32, "w+", shape=(items, drawn_ND.shape[1]))
    at = 0
    for part in gallery_parts(drawn_ND, items, np.random.default_rng(0)):
        stored[at : at + len(part)] = part
        at += len(part)
    stored.flush()
    return np.memmap(path, np.float32, "r", shape=stored.shape)


def _truth(kinds: Mapping[str, Vectors], gallery_ND: Vectors) -> dict[str, Rows]:
    """The exact answers, ``(Q, k)`` by kind, from one reading of the gallery."""
    begun, best = time.monotonic(), dict[str, tuple[Rows, Vectors]]()
    for start in range(0, len(gallery_ND), _BLOCK):
        block = np.array(gallery_ND[start : start + _BLOCK])
        for kind, queries_QD in kinds.items():
            rows = exact(queries_QD, block)
            scores = np.einsum("qd,qkd->qk", queries_QD, block[rows])
            here = (rows + start, scores)
            best[kind] = merged([best[kind], here]) if kind in best else here
    print(f"exact answers in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return {kind: rows for kind, (rows, _) in best.items()}


def _line(row: Mapping[str, Any]) -> str:
    recalls = [f"{value:.3f}" for value in row["recall@10"].values()]
    times = [f"{row[name]:.2f}" for name in ("slowest_p50_ms", "slowest_p99_ms", "all_ms")]
    cells = [str(row["shards"]), row["quantization"], f"{row['hnsw_ef']:,}", *recalls, *times, f"{row['build_s']:.0f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(flags.run("shards.py", main, ShardsBenchmark))
