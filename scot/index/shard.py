"""One collection of the embedded store: a folder with a shard of Qdrant's engine (qdrant-edge) and ``collection.json``.

``collection.json`` names the current generation of the shard: ``shard-0``, ``shard-1`` and so on. A new generation,
optimized by another process, replaces the whole shard, and an atomic rename replaces the file: if a process is killed
at any moment, one complete generation exists.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from scot.data.atomic_io import atomic_folder, write_json
from scot.index.conditions import boolean, to_edge
from scot.index.config import CollectionConfig, SearchParams
from scot.index.engine import Point, Search
from scot.index.filters import Condition, Filter, Match, path_of
from scot.index.payload import BOOLEANS_KEY, SOURCE_FIELD

MANIFEST = "collection.json"

INDEXED_FROM = 20_000
"""From this number of vectors the engine builds a graph; fewer are compared one by one, in about two milliseconds."""

_SCHEMA = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "text": edge.PayloadSchemaType.Text,
    "datetime": edge.PayloadSchemaType.Datetime,
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
    """The open collection in ``folder``. Only one thread of one process may use it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.dim, self.metadata = int(manifest["dim"]), dict(manifest["metadata"])
        self.config = CollectionConfig.from_json(manifest["config"])
        self.generation = int(manifest["generation"])
        for leftover in folder.glob("shard-*"):  # generations that were not finished, or not removed
            if leftover != self._place(self.generation):
                shutil.rmtree(leftover, ignore_errors=True)
        self._shard = edge.EdgeShard.load(str(self._place(self.generation)))

    @classmethod
    def create(cls, folder: Path, dim: int, config: CollectionConfig, metadata: Mapping[str, Any]) -> None:
        """Create an empty collection atomically."""
        with atomic_folder(folder) as new:
            (new / "shard-0").mkdir()
            shard = edge.EdgeShard.create(str(new / "shard-0"), _edge_config(dim, config))
            # The engine writes its configuration with the first operation only; an empty shard could not be loaded.
            for key in (BOOLEANS_KEY, SOURCE_FIELD):
                shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
            for field, kind in config.indexes():
                if kind in _SCHEMA:
                    shard.update(edge.UpdateOperation.create_field_index(path_of(field), _SCHEMA[kind]))
            shard.flush()
            shard.close()
            _write_manifest(new, dim, metadata, config, 0)

    @property
    def points(self) -> int:
        """The number of points."""
        return int(self._shard.info().points_count)

    @property
    def unindexed(self) -> int:
        """The number of vectors that are not in the graph yet; a search compares each of them."""
        info = self._shard.info()
        return int(info.points_count) - int(info.indexed_vectors_count)

    def upsert(self, points: Iterable[Point]) -> None:
        """Insert or replace points; when it returns, they are in the write-ahead log."""
        made = [edge.Point(each.id, each.vector.tolist(), _payload(each)) for each in points if each.vector is not None]
        self._shard.update(edge.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
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
            query=_query(search),
            filter=to_edge(search.filter, search.exclude),
            score_threshold=search.score_threshold,
            with_vector=search.with_vectors,
            with_payload=search.with_payload,
            params=edge.SearchParams(hnsw_ef=params.hnsw_ef or None, quantization=rescored),
        )
        points = (_point(each) for each in self._shard.query(request))
        # Maximal marginal relevance reads the vectors, and the engine returns them then in any case.
        return [*points] if search.with_vectors else [replace(point, vector=None) for point in points]

    def count(self, filter: Filter | None = None) -> int:
        """The number of points that the filter leaves."""
        return int(self._shard.count(edge.CountRequest(True, to_edge(filter))))

    def facet(self, field: str, kind: str, filter: Filter | None, limit: int) -> list[tuple[str | int | bool, int]]:
        """The most frequent values of an indexed field, and their numbers of points."""
        path = path_of(field)
        if kind != "bool":
            found = self._shard.facet(edge.FacetRequest(path, limit, exact=True, filter=to_edge(filter)))
            return [(hit.value, hit.count) for hit in found.hits]
        counts = [(value, self.count(_with(filter, Match(field, value)))) for value in (False, True)]
        return [(value, number) for value, number in counts if number]

    def scroll(
        self, after: str | None, limit: int, filter: Filter | None = None, keys: Sequence[str] | None = None
    ) -> tuple[list[Point], str | None]:
        """Up to ``limit`` points by id from ``after`` on, and the next id; None at the end."""
        payload = True if keys is None else list(keys)
        request = edge.ScrollRequest(after, limit, to_edge(filter), with_payload=payload, with_vector=False)
        found, following = self._shard.scroll(request)
        return [_point(each) for each in found], None if following is None else str(following)

    def copy(self) -> Path:
        """Flush and copy the shard as the next generation, for another process to optimize. Block writes meanwhile."""
        following = self._place(self.generation + 1)
        shutil.rmtree(following, ignore_errors=True)
        self._shard.flush()
        shutil.copytree(self._place(self.generation), following)
        return following

    def adopt(self, changed: Sequence[str]) -> None:
        """Switch to the next generation, after copying the points that were written since :meth:`copy`."""
        following = edge.EdgeShard.load(str(self._place(self.generation + 1)))
        for start in range(0, len(changed), 512):
            ids = changed[start : start + 512]
            existing = self._shard.retrieve(list(ids), with_payload=True, with_vector=True)
            deleted = set(ids) - {str(each.id) for each in existing}
            if existing:
                points = [edge.Point(each.id, each.vector or [], each.payload) for each in existing]
                following.update(edge.UpdateOperation.upsert_points(points))
            if deleted:
                following.update(edge.UpdateOperation.delete_points(list(deleted)))
        following.flush()
        before, self._shard = self._shard, following
        self.generation += 1
        _write_manifest(self.folder, self.dim, self.metadata, self.config, self.generation)
        before.close()
        shutil.rmtree(self._place(self.generation - 1), ignore_errors=True)

    def close(self) -> None:
        """Flush and close the shard."""
        self._shard.flush()
        self._shard.close()

    def _place(self, generation: int) -> Path:
        return self.folder / f"shard-{generation}"


def _write_manifest(
    folder: Path, dim: int, metadata: Mapping[str, Any], config: CollectionConfig, generation: int
) -> None:
    values = {"dim": dim, "metadata": dict(metadata), "config": config.to_json(), "generation": generation}
    write_json(folder / MANIFEST, values)


def _query(search: Search) -> Any:
    vector = search.vector.tolist()
    if search.mmr is None:
        return edge.Query.Nearest(vector)
    return edge.Mmr(vector, 1.0 - search.mmr.diversity, search.mmr.candidates)


def _with(filter: Filter | None, condition: Condition) -> Filter:
    filter = filter or Filter()
    return replace(filter, must=(*filter.must, condition))


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
