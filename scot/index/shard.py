"""One collection of the embedded store: a folder with a shard of Qdrant's engine (qdrant-edge) and ``collection.json``.

``collection.json`` names the generation of the shard that counts: ``shard-0``, ``shard-1`` and so on. A generation is
replaced as a whole, by one that another process has optimized, and the file by an atomic rename: whatever is killed at
any moment, one complete generation is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from scot.data.atomic_io import atomic_folder, write_json
from scot.index.conditions import boolean, to_edge
from scot.index.config import CollectionConfig, SearchParams
from scot.index.engine import Point, Search
from scot.index.filters import path_of
from scot.index.payload import BOOLEANS_KEY

MANIFEST = "collection.json"

INDEXED_FROM = 20_000
"""Vectors from which on the engine builds a graph of them; fewer are compared one by one, in about two milliseconds."""

_SCHEMA = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
}
_QUANTIZATION: Mapping[str, Any] = {
    "none": None,
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned),
    "turbo": edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned),
    "product": edge.ProductQuantizationConfig(edge.CompressionRatio.X16, memory=edge.Memory.Pinned),
    "binary": edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
}
_MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached}


class Shard:
    """The collection in ``folder``, open. Not safe to use from two threads at once; one process may have it open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.dim, self.metadata = int(manifest["dim"]), dict(manifest["metadata"])
        self.config = CollectionConfig.from_json(manifest["config"])
        self.generation = int(manifest["generation"])
        for left in folder.glob("shard-*"):  # generations that were not finished, or not removed
            if left != self._place(self.generation):
                shutil.rmtree(left, ignore_errors=True)
        self._shard = edge.EdgeShard.load(str(self._place(self.generation)))

    @classmethod
    def create(cls, folder: Path, dim: int, config: CollectionConfig, metadata: Mapping[str, Any]) -> None:
        """Make an empty collection; ``folder`` appears as a whole, or not at all."""
        with atomic_folder(folder) as new:
            (new / "shard-0").mkdir()
            shard = edge.EdgeShard.create(str(new / "shard-0"), _edge_config(dim, config))
            # The engine writes its configuration with the first operation only; an empty shard could not be loaded.
            shard.update(edge.UpdateOperation.create_field_index(BOOLEANS_KEY, edge.PayloadSchemaType.Keyword))
            for field, kind in config.indexes():
                if kind in _SCHEMA:
                    shard.update(edge.UpdateOperation.create_field_index(path_of(field), _SCHEMA[kind]))
            shard.flush()
            shard.close()
            _write_manifest(new, dim, metadata, config, 0)

    @property
    def points(self) -> int:
        """How many points there are."""
        return int(self._shard.info().points_count)

    @property
    def unindexed(self) -> int:
        """How many vectors the graph does not have yet; a search compares each of them."""
        info = self._shard.info()
        return int(info.points_count) - int(info.indexed_vectors_count)

    def upsert(self, points: Iterable[Point]) -> None:
        """Insert or replace points; on return they are in the write-ahead log."""
        made = [edge.Point(each.id, each.vector.tolist(), _payload(each)) for each in points if each.vector is not None]
        self._shard.update(edge.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; ids that are not there are passed over."""
        self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def retrieve(self, ids: Sequence[str], *, vectors: bool = False) -> list[Point]:
        """The points that exist among ``ids``."""
        return [_point(each) for each in self._shard.retrieve(list(ids), with_payload=True, with_vector=vectors)]

    def query(self, search: Search, params: SearchParams) -> list[Point]:
        """The nearest points by cosine, best first."""
        quantized = self.config.quantization != "none"
        rescored = edge.QuantizationSearchParams(rescore=True, oversampling=params.oversampling) if quantized else None
        request = edge.QueryRequest(
            search.limit,
            offset=search.offset,
            query=edge.Query.Nearest(search.vector.tolist()),
            filter=to_edge(search.filter, search.exclude),
            score_threshold=search.score_threshold,
            with_vector=search.with_vectors,
            with_payload=True,
            params=edge.SearchParams(hnsw_ef=params.hnsw_ef or None, quantization=rescored),
        )
        return [_point(each) for each in self._shard.query(request)]

    def scroll(self, after: str | None, limit: int) -> tuple[list[Point], str | None]:
        """Up to ``limit`` points by id from ``after`` on, and the id to go on from; None when there are no more."""
        request = edge.ScrollRequest(after, limit, with_payload=True, with_vector=False)
        found, following = self._shard.scroll(request)
        return [_point(each) for each in found], None if following is None else str(following)

    def optimize(self) -> None:
        """Build the graph and merge segments, here and now. The engine holds Python's global lock meanwhile."""
        self._shard.optimize()

    def copy(self) -> Path:
        """Write all to disk and copy it as the next generation, for another process to optimize. Nothing may write."""
        following = self._place(self.generation + 1)
        shutil.rmtree(following, ignore_errors=True)
        self._shard.flush()
        shutil.copytree(self._place(self.generation), following)
        return following

    def adopt(self, changed: Sequence[str]) -> None:
        """Go on with the next generation, after bringing over the points that were written since :meth:`copy`."""
        following = edge.EdgeShard.load(str(self._place(self.generation + 1)))
        for start in range(0, len(changed), 512):
            ids = changed[start : start + 512]
            there = self._shard.retrieve(list(ids), with_payload=True, with_vector=True)
            gone = set(ids) - {str(each.id) for each in there}
            if there:
                points = [edge.Point(each.id, each.vector or [], each.payload) for each in there]
                following.update(edge.UpdateOperation.upsert_points(points))
            if gone:
                following.update(edge.UpdateOperation.delete_points(list(gone)))
        following.flush()
        before, self._shard = self._shard, following
        self.generation += 1
        _write_manifest(self.folder, self.dim, self.metadata, self.config, self.generation)
        before.close()
        shutil.rmtree(self._place(self.generation - 1), ignore_errors=True)

    def close(self) -> None:
        """Write all to disk and let go of the folder."""
        self._shard.flush()
        self._shard.close()

    def _place(self, generation: int) -> Path:
        return self.folder / f"shard-{generation}"


def _write_manifest(
    folder: Path, dim: int, metadata: Mapping[str, Any], config: CollectionConfig, generation: int
) -> None:
    values = {"dim": dim, "metadata": dict(metadata), "config": config.to_json(), "generation": generation}
    write_json(folder / MANIFEST, values)


def _edge_config(dim: int, config: CollectionConfig) -> edge.EdgeConfig:
    threshold_kb = INDEXED_FROM * dim * 4 // 1024
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(dim, edge.Distance.Cosine, memory=_MEMORY[config.vectors_memory]),
        hnsw_config=edge.HnswIndexConfig(config.hnsw_m, config.hnsw_ef_construct, full_scan_threshold=threshold_kb),
        quantization_config=_QUANTIZATION[config.quantization],
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=threshold_kb, default_segment_number=2),
    )


def _payload(point: Point) -> dict[str, Any]:
    """The payload with a list of its boolean values, for filters: the engine's binding reads True as the number 1."""
    payload = dict(point.payload)
    if booleans := sorted(set(_booleans(payload, ""))):
        payload[BOOLEANS_KEY] = booleans
    return payload


def _booleans(value: Any, path: str) -> Iterator[str]:
    match value:
        case bool():
            yield boolean(path, value)
        case dict():
            for key, each in value.items():
                yield from _booleans(each, f"{path}.{path_of(key)}" if path else path_of(key))
        case list():
            for each in value:
                yield from _booleans(each, path)


def _point(found: Any) -> Point:
    vector = None if found.vector is None else np.asarray(found.vector, dtype=np.float32)
    payload = {key: value for key, value in (found.payload or {}).items() if key != BOOLEANS_KEY}
    return Point(str(found.id), vector, payload, float(getattr(found, "score", 0.0)))
