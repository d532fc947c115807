"""Conversions of SCOT's types of collections and queries to those of Qdrant's client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import payload_to_grpc
from qdrant_client.uploader.grpc_uploader import convert_vector_struct

from scot.index.config import CollectionConfig, Quantization, SearchParams
from scot.index.engine import Point, Search


def collection_settings(config: CollectionConfig, dim: int) -> dict[str, Any]:
    """The arguments of ``create_collection`` for unit vectors ``(D,)`` that are compared by cosine."""
    memory = models.Memory(config.vectors_memory)
    settings: dict[str, Any] = {
        "vectors_config": models.VectorParams(size=dim, distance=models.Distance.COSINE, memory=memory),
        "hnsw_config": models.HnswConfigDiff(m=config.hnsw_m, ef_construct=config.hnsw_ef_construct),
        "quantization_config": _quantization(config.quantization),
        "replication_factor": config.replication_factor,
        "write_consistency_factor": config.write_consistency,
    }
    if config.shards:
        settings["shard_number"] = config.shards
    if config.strict:
        settings["strict_mode_config"] = models.StrictModeConfig(
            enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False
        )
    return settings


def search_params(params: SearchParams) -> models.SearchParams:
    """The parameters of a query; Qdrant ignores those of quantization where vectors are not quantized."""
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=params.oversampling)
    return models.SearchParams(hnsw_ef=params.hnsw_ef or None, quantization=rescored)


def query_of(search: Search) -> models.NearestQuery:
    """The query of a search: the nearest points, or a choice of them that differ."""
    mmr = search.mmr
    chosen = None if mmr is None else models.Mmr(diversity=mmr.diversity, candidates_limit=mmr.candidates)
    return models.NearestQuery(nearest=search.vector.tolist(), mmr=chosen)


def point_of(found: Any) -> Point:
    """The point of a search result or a retrieved record."""
    vector = None if found.vector is None else np.asarray(found.vector, dtype=np.float32)
    return Point(str(found.id), vector, found.payload or {}, float(getattr(found, "score", 0.0)))


def upsert_message(name: str, points: Sequence[Point]) -> Any:
    """The message that writes points, and is answered when searches see them.

    The vectors' bytes are copied, as qdrant-client's own bulk upload does it; its model of a point converts a vector
    number by number. Both functions are inside qdrant-client: tests/unit/index/test_qdrant_hooks.py names them.
    """
    sent = [
        grpc.PointStruct(
            id=grpc.PointId(uuid=each.id),
            vectors=convert_vector_struct(each.vector),
            payload=payload_to_grpc(dict(each.payload)),
        )
        for each in points
        if each.vector is not None
    ]
    return grpc.UpsertPoints(collection_name=name, wait=True, points=sent)


def quantization_name(config: models.QuantizationConfig | None) -> str:
    """As :data:`~scot.index.config.Quantization` names it."""
    match config:
        case models.ScalarQuantization():
            return "int8"
        case models.TurboQuantization():
            return "turbo"
        case models.ProductQuantization():
            return "product"
        case models.BinaryQuantization():
            return "binary"
        case _:
            return "none"


def _quantization(kind: Quantization) -> models.QuantizationConfig | None:
    # Quantized vectors are small and every query reads them: keep them in memory even if the full vectors are not.
    pinned = models.Memory.PINNED
    match kind:
        case "none":
            return None
        case "int8":
            # The quantile clips the few outliers that would widen the range of all values.
            scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, memory=pinned)
            return models.ScalarQuantization(scalar=scalar)
        case "turbo":
            turbo = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, memory=pinned)
            return models.TurboQuantization(turbo=turbo)
        case "product":
            product = models.ProductQuantizationConfig(compression=models.CompressionRatio.X16, memory=pinned)
            return models.ProductQuantization(product=product)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(memory=pinned))
