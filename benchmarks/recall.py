"""Recall@10 of composed queries under HNSW and each quantisation, in Qdrant's own engine, against exact search.

    nice python benchmarks/recall.py --items 100000 --output benchmarks/results/recall.json

The engine runs in this process (qdrant-edge-py, `pip install .[bench]`): the same graph and the same quantisations as
a server of its version, without the network. Drawing a hundred thousand pictures would take most of a day, so the
gallery is the embeddings of a few thousand drawn pictures and, for the rest, points between each and one of its nearest
neighbours, moved a little off the line: the clusters, the gap between images and texts, and the density stay the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import qdrant_edge as edge

from scot import flags
from scot.composers import Composer, baseline, load_composer
from scot.encoders import Encoder, load_encoder
from scot.errors import InvalidFlag, InvalidInput
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.worlds import read_gallery
from scot.index.config import CollectionConfig, SearchParams
from scot.machine import machine
from scot.worlds import WORLDS
from scot.worlds.drawing import DrawConfig, draw

Vectors = npt.NDArray[np.float32]  # (N, D)
Rows = npt.NDArray[np.int64]  # (Q, K)

_NEIGHBOURS, _OFF_THE_LINE = 8, 0.3
_CHUNK = 2_000
_K = 10


@dataclass(frozen=True)
class RecallBenchmark:
    """Recall of approximate search for composed queries.

    Example: nice python benchmarks/recall.py --items 100000
    """

    items: int = 100_000
    """Vectors in the gallery."""
    drawn: int = 3_000
    """Pictures to draw of each world; the other vectors are made of their embeddings."""
    queries: int = 500
    """Queries of each world."""
    composer: str | None = None
    """A composer artifact whose queries are measured too."""
    encoder: str = "tiny"
    """Which encoder."""
    quantizations: tuple[str, ...] = ()
    """Which to measure: none, int8, turbo, product, binary; nothing: all."""
    oversampling: tuple[float, ...] = (2.0, 3.0, 8.0)
    """Oversampling factors to try, with rescoring."""
    hnsw_ef: tuple[int, ...] = ()
    """Candidates that a search of the graph keeps, to try without quantisation beside the default."""
    seed: int = 0
    """Decides pictures and vectors."""
    data: Path | None = None
    """Folder for the drawn images, to use them again."""
    output: Path | None = None
    """Also write the numbers as JSON."""

    def __post_init__(self) -> None:
        if self.items < 1 or self.queries < 1:
            raise InvalidInput("items and queries must be at least 1")
        if unknown := set(self.quantizations) - set(QUANTIZATIONS):
            raise InvalidFlag(f"--quantizations knows {', '.join(QUANTIZATIONS)}, not {', '.join(sorted(unknown))}")


QUANTIZATIONS: Mapping[str, Any] = {
    "none": None,
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned),
    "turbo": edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned),
    "product": edge.ProductQuantizationConfig(edge.CompressionRatio.X16, memory=edge.Memory.Pinned),
    "binary": edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
}
"""As :class:`scot.index.config.CollectionConfig` asks a server for them."""


def main(config: RecallBenchmark) -> int:
    """Measure and print a Markdown table."""
    encoder, composer = load_encoder(config.encoder), None
    if config.composer is not None:
        composer = load_composer(config.composer, encoder_id=encoder.id, dim=encoder.dim)
    drawn_ND, kinds = drawn(config, encoder, composer)
    gallery_ND = gallery(drawn_ND, config.items, np.random.default_rng(config.seed))
    many = config.queries * len(WORLDS)
    print(f"{machine()}\n\n{config.items:,} vectors of {gallery_ND.shape[1]}, {many:,} queries of each kind\n")
    truth = {kind: exact(queries_QD, gallery_ND) for kind, queries_QD in kinds.items()}
    print(f"| quantisation | search | {' | '.join(kinds)} | CPU ms a query | build s |")
    print("|---|---|" + "---|" * (len(kinds) + 2), flush=True)
    rows: list[dict[str, Any]] = []
    for name in config.quantizations or QUANTIZATIONS:
        quantization = QUANTIZATIONS[name]
        with tempfile.TemporaryDirectory() as folder:
            shard, seconds = build(Path(folder), gallery_ND, quantization)
            default = SearchParams().hnsw_ef
            if quantization is None:
                ways: dict[str, tuple[float | None, int]] = {
                    f"ef {ef}": (None, ef) for ef in (default, *config.hnsw_ef)
                }
            else:
                rescored = {f"rescored, ×{by:g}": (by, default) for by in config.oversampling}
                ways = {"as it is": (None, default), **rescored}
            for way, (factor, ef) in ways.items():
                found = {kind: search(shard, queries_QD, factor, ef) for kind, queries_QD in kinds.items()}
                recalls = {kind: recall(ids, truth[kind]) for kind, (ids, *_) in found.items()}
                ms = 1_000 * sum(seconds.sum() for *_, seconds in found.values()) / sum(map(len, kinds.values()))
                cells = " | ".join(f"{value:.3f}" for value in recalls.values())
                print(f"| {name} | {way} | {cells} | {ms:.2f} | {seconds:.0f} |", flush=True)
                rows.append({"quantization": name, "search": way, "recall@10": recalls, "ms": ms, "build_s": seconds})
            shard.close()
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine(), "items": config.items, "dim": int(gallery_ND.shape[1]), "rows": rows}
        config.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def drawn(config: RecallBenchmark, encoder: Encoder, composer: Composer | None) -> tuple[Vectors, dict[str, Vectors]]:
    """The vectors ``(N, D)`` of the drawn galleries, and the queries ``(Q, D)`` of each kind."""
    with tempfile.TemporaryDirectory() as scratch:
        worlds = list(_worlds(config, encoder, config.data or Path(scratch)))
        return np.concatenate([world.references("").numpy() for world in worlds]), _queries(composer, worlds)


def _worlds(config: RecallBenchmark, encoder: Encoder, folder: Path) -> Iterator[EncodedBenchmark]:
    for world in WORLDS:
        place = folder / world
        with redirect_stdout(sys.stderr):
            draw(DrawConfig(world, place, "eval", config.drawn, config.queries, config.seed))
        yield encode_benchmark(read_gallery(place), encoder, place, folder / "cache")


def _queries(composer: Composer | None, worlds: list[EncodedBenchmark]) -> dict[str, Vectors]:
    """The kinds of queries: images, sums, the composer's, and the texts of edited captions, its ideal."""
    composers = {"picture": baseline("image_only"), "sum": baseline("sum")}
    if composer is not None:
        composers["composer"] = composer
    found: dict[str, list[Vectors]] = {}
    for world in worlds:
        composed = zip(composers, world.compose(*composers.values()), strict=True)
        for kind, queries in (*composed, ("edited caption", world.oracle())):
            found.setdefault(kind, []).append(queries[""].numpy())
    return {kind: np.concatenate(rows) for kind, rows in found.items()}


def gallery(drawn_ND: Vectors, items: int, rng: np.random.Generator) -> Vectors:
    """The drawn vectors ``(N, D)`` first, then as many made of them as ``items`` needs; unit rows."""
    return np.concatenate(list(gallery_parts(drawn_ND, items, rng)))


def gallery_parts(drawn_ND: Vectors, items: int, rng: np.random.Generator) -> Iterator[Vectors]:
    """The rows of :func:`gallery`, one part after the other."""
    nearest = exact(drawn_ND, drawn_ND, _NEIGHBOURS + 1)[:, 1:]
    yield _unit(drawn_ND[:items])
    for start in range(len(drawn_ND), items, _CHUNK):
        count = min(_CHUNK, items - start)
        here = rng.integers(len(drawn_ND), size=count)
        there = nearest[here, rng.integers(_NEIGHBOURS, size=count)]
        step = drawn_ND[there] - drawn_ND[here]
        off = rng.standard_normal(step.shape, dtype=np.float32)
        off *= _OFF_THE_LINE * np.linalg.norm(step, axis=1, keepdims=True) / np.linalg.norm(off, axis=1, keepdims=True)
        yield _unit(drawn_ND[here] + rng.random((count, 1), dtype=np.float32) * step + off)


def _unit(rows_ND: Vectors) -> Vectors:
    unit: Vectors = (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)
    return unit


def exact(queries_QD: Vectors, gallery_ND: Vectors, k: int = _K) -> Rows:
    """The rows of the k nearest, ``(Q, k)``, nearest first."""
    found = []
    for start in range(0, len(queries_QD), 250):
        score = queries_QD[start : start + 250] @ gallery_ND.T
        best = np.argpartition(-score, k - 1)[:, :k]
        found.append(np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, 1), axis=1), 1))
    return np.concatenate(found)


def build(folder: Path, gallery_ND: Vectors, quantization: Any) -> tuple[edge.EdgeShard, float]:
    """A shard with one segment, indexed, and how many seconds it took."""
    begun, layout = time.monotonic(), CollectionConfig()
    hnsw = edge.HnswIndexConfig(layout.hnsw_m, layout.hnsw_ef_construct, full_scan_threshold=10)
    vectors = edge.EdgeVectorParams(size=gallery_ND.shape[1], distance=edge.Distance.Cosine)
    optimizers = edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=100, max_segment_size=2**30)
    config = edge.EdgeConfig(
        vectors=vectors, hnsw_config=hnsw, quantization_config=quantization, optimizers=optimizers, wal_enabled=False
    )
    shard = edge.EdgeShard.create(str(folder), config)
    for start in range(0, len(gallery_ND), _CHUNK):
        rows = gallery_ND[start : start + _CHUNK].tolist()
        points = [edge.Point(start + place, row) for place, row in enumerate(rows)]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.optimize()
    assert shard.info().indexed_vectors_count >= len(gallery_ND), "the engine left vectors without an index"
    return shard, time.monotonic() - begun


def search(
    shard: edge.EdgeShard, queries_QD: Vectors, oversampling: float | None, ef: int
) -> tuple[Rows, Vectors, npt.NDArray[np.float64]]:
    """The rows that the engine finds, their cosines, both ``(Q, k)``, and the processor seconds of each query ``(Q,)``.

    Without oversampling, nothing is rescored; ``ef`` is how many candidates the graph's search keeps.
    """
    rescored = edge.QuantizationSearchParams(rescore=oversampling is not None, oversampling=oversampling)
    params = edge.SearchParams(hnsw_ef=ef, quantization=rescored)
    requests = [edge.QueryRequest(_K, query=edge.Query.Nearest(row), params=params) for row in queries_QD.tolist()]
    found, seconds = [], []
    for request in requests:
        begun = time.process_time()
        found.append(shard.query(request))
        seconds.append(time.process_time() - begun)
    ids = np.array([[point.id for point in points] for points in found], dtype=np.int64)
    scores = np.array([[point.score for point in points] for points in found], dtype=np.float32)
    return ids, scores, np.array(seconds)


def recall(found_QK: Rows, truth_QK: Rows) -> float:
    """The share of the exact answer that was found, on average."""
    pairs = zip(found_QK.tolist(), truth_QK.tolist(), strict=True)
    return float(np.mean([len(set(found) & set(truth)) / len(truth) for found, truth in pairs]))


if __name__ == "__main__":
    sys.exit(flags.run("recall.py", main, RecallBenchmark))
