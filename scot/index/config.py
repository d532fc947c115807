"""How a collection is laid out on a Qdrant server, and how much effort a search takes there.

The embedded store compares every vector and has no use for any of it. docs/qdrant.md says what to choose.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from qdrant_client import models

from scot.errors import InvalidInput

Quantization: TypeAlias = Literal["none", "int8", "turbo", "product", "binary"]
IndexKind: TypeAlias = Literal["keyword", "integer", "float", "bool"]
Memory: TypeAlias = Literal["cold", "cached"]

INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
MIN_OVERSAMPLING = 2.0


@dataclass(frozen=True)
class CollectionConfig:
    """What is decided when a collection is made on a Qdrant server."""

    payload_index: tuple[str, ...] = ()
    """Payload fields to filter by, each as FIELD:KIND; kinds are keyword, integer, float and bool."""
    quantization: Quantization = "none"
    """Search on copies of the vectors of 1/4 (int8), 1/8 (turbo), 1/16 (product) or 1/32 (binary) of their size."""
    hnsw_m: int = 16
    """Edges of a node of the HNSW graph."""
    hnsw_ef_construct: int = 128
    """Candidates looked at when a node is linked into the graph."""
    vectors_memory: Memory = "cached"
    """Whether the full vectors are held in memory (cached) or read from disk when needed (cold)."""
    shards: int = 0
    """Pieces of a collection, in a cluster; 0 leaves the choice to Qdrant."""
    replication_factor: int = 1
    """Copies of each piece, in a cluster."""
    strict: bool = False
    """Let Qdrant refuse filters over fields without an index."""

    def __post_init__(self) -> None:
        fields = [field for field, _ in self.indexes()]
        if len(set(fields)) != len(fields):
            raise InvalidInput("payload_index names a field twice")
        if not (4 <= self.hnsw_m <= 256 and 4 <= self.hnsw_ef_construct <= 4_096):
            raise InvalidInput("hnsw_m must be between 4 and 256, hnsw_ef_construct between 4 and 4,096")
        if self.shards < 0 or self.replication_factor < 1:
            raise InvalidInput("shards must be at least 0, replication_factor at least 1")

    def indexes(self) -> list[tuple[str, models.PayloadSchemaType]]:
        """The indexed payload fields and their kinds.

        Raises:
            InvalidInput: one is not FIELD:KIND.
        """
        found = []
        for given in self.payload_index:
            field, _, kind = given.rpartition(":")
            if not field or kind not in INDEX_KINDS:
                raise InvalidInput(f"payload_index: {given!r} is not FIELD:KIND with one of {', '.join(INDEX_KINDS)}")
            found.append((field, models.PayloadSchemaType(kind)))
        return found

    def to_json(self) -> dict[str, Any]:
        """The layout as JSON."""
        return {**dataclasses.asdict(self), "payload_index": list(self.payload_index)}

    @classmethod
    def from_json(cls, kept: object) -> CollectionConfig:
        """What :meth:`to_json` gave, be it of a version with other settings; the defaults for anything else."""
        try:
            known = {each.name for each in dataclasses.fields(cls)}
            given = {name: value for name, value in dict(kept or {}).items() if name in known}  # type: ignore[call-overload]
            return cls(**{**given, "payload_index": tuple(given.get("payload_index", ()))})
        except (TypeError, ValueError, InvalidInput):
            return cls()

    def settings(self) -> dict[str, Any]:
        """What Qdrant's ``create_collection`` is told, next to the vectors."""
        settings: dict[str, Any] = {
            "hnsw_config": models.HnswConfigDiff(m=self.hnsw_m, ef_construct=self.hnsw_ef_construct),
            "quantization_config": _quantization(self.quantization),
            "replication_factor": self.replication_factor,
        }
        if self.shards:
            settings["shard_number"] = self.shards
        if self.strict:
            settings["strict_mode_config"] = models.StrictModeConfig(
                enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False
            )
        return settings

    def vectors(self, dim: int) -> models.VectorParams:
        """The vectors of a collection: unit length, compared by cosine."""
        return models.VectorParams(size=dim, distance=models.Distance.COSINE, memory=models.Memory(self.vectors_memory))


@dataclass(frozen=True)
class SearchParams:
    """How much a search looks at before it answers."""

    oversampling: float = 3.0
    """Of quantised vectors, this many times the limit are compared again by their full vectors; at least 2."""
    hnsw_ef: int = 512
    """Candidates kept while the HNSW graph is walked; 0 is the collection's hnsw_ef_construct."""

    def __post_init__(self) -> None:
        # Unscored quantised answers lose recall, most of all those of composed queries (docs/adr/0010-quantisation.md).
        if not MIN_OVERSAMPLING <= self.oversampling <= 100:
            raise InvalidInput(f"oversampling must be between {MIN_OVERSAMPLING:g} and 100")
        if not 0 <= self.hnsw_ef <= 10_000:
            raise InvalidInput("hnsw_ef must be between 0 and 10,000")

    def params(self) -> models.SearchParams:
        """What Qdrant is told with each query; without quantised vectors it ignores the part about them."""
        return models.SearchParams(
            hnsw_ef=self.hnsw_ef or None,
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=self.oversampling),
        )


def _quantization(kind: Quantization) -> models.QuantizationConfig | None:
    # Small and read by every query: pinned in memory, wherever the full vectors are.
    pinned = models.Memory.PINNED
    match kind:
        case "none":
            return None
        case "int8":
            # The quantile cuts off the few outliers that would stretch the scale for all.
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
