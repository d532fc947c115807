"""The configuration of a collection, of its searches, and of a Qdrant server; docs/qdrant.md explains what to choose.

``shards``, ``replication_factor``, ``write_consistency`` and ``strict`` apply only to a Qdrant server,
``caption_weight`` to every store.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from scot.errors import InvalidInput

Quantization: TypeAlias = Literal["none", "int8", "turbo", "product", "binary"]
IndexKind: TypeAlias = Literal["keyword", "integer", "float", "bool", "text", "datetime"]
Memory: TypeAlias = Literal["cold", "cached"]

INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
MIN_OVERSAMPLING = 2.0
QUANTIZED_SIZE: Mapping[Quantization, float] = {
    "none": 0.0, "int8": 1 / 4, "turbo": 1 / 8, "product": 1 / 16, "binary": 1 / 32,
}  # fmt: skip
"""The size of the compressed copies beside that of the full vectors."""
MAX_CAPTION_WEIGHT = 2.0
ITEMS_OF_A_SHARD = 10_000_000
"""The most items for which one shard is created: docs/scale.md has the reasons."""
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^/:@?#\s]+)(:\d{1,5})?/?")


def shards_for(items: int) -> int:
    """The shards of a collection of so many items."""
    return max(1, math.ceil(items / ITEMS_OF_A_SHARD))


@dataclass(frozen=True)
class CollectionConfig:
    """Settings that are fixed when a collection is created."""

    payload_index: tuple[str, ...] = ()
    """Payload fields to filter by, each as FIELD:KIND; kinds are keyword, integer, float, bool, text and datetime."""
    quantization: Quantization = "none"
    """Search on compressed copies of the vectors: 1/4 (int8), 1/8 (turbo), 1/16 (product) or 1/32 (binary) the size."""
    hnsw_m: int = 16
    """Edges of a node of the HNSW graph."""
    hnsw_ef_construct: int = 128
    """Candidates compared when a node is inserted into the graph."""
    vectors_memory: Memory = "cached"
    """Keep the full vectors in memory (cached), or read them from disk when needed (cold)."""
    shards: int = 0
    """Shards of a collection in a cluster; 0: Qdrant's default."""
    replication_factor: int = 1
    """Copies of each shard in a cluster."""
    write_consistency: int = 1
    """Copies that must have a write before Qdrant confirms it; those that are away get it when they are back."""
    strict: bool = False
    """Let Qdrant refuse filters over fields without an index."""
    caption_weight: float = 0.0
    """Weight of an item's caption in its vector, beside its image, at most 2; 0: images alone, or as a collection that
    exists has it."""

    def __post_init__(self) -> None:
        fields = [field for field, _ in self.indexes()]
        if len(set(fields)) != len(fields):
            raise InvalidInput("payload_index names a field twice")
        if not (4 <= self.hnsw_m <= 256 and 4 <= self.hnsw_ef_construct <= 4_096):
            raise InvalidInput("hnsw_m must be between 4 and 256, hnsw_ef_construct between 4 and 4,096")
        if self.shards < 0 or self.replication_factor < 1:
            raise InvalidInput("shards must be at least 0, replication_factor at least 1")
        if not 1 <= self.write_consistency <= self.replication_factor:
            raise InvalidInput("write_consistency must be between 1 and replication_factor")
        if not 0.0 <= self.caption_weight <= MAX_CAPTION_WEIGHT:
            raise InvalidInput(f"caption_weight must be between 0 and {MAX_CAPTION_WEIGHT:g}")

    def indexes(self) -> list[tuple[str, IndexKind]]:
        """The indexed payload fields and their kinds.

        Raises:
            InvalidInput: one is not FIELD:KIND.
        """
        found: list[tuple[str, IndexKind]] = []
        for given in self.payload_index:
            field, _, kind = given.rpartition(":")
            if not field or kind not in INDEX_KINDS:
                raise InvalidInput(f"payload_index: {given!r} is not FIELD:KIND with one of {', '.join(INDEX_KINDS)}")
            found.append((field, kind))
        return found

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return {**dataclasses.asdict(self), "payload_index": list(self.payload_index)}

    @classmethod
    def from_json(cls, stored: object) -> CollectionConfig:
        """The reverse of :meth:`to_json`. Unknown settings are ignored; invalid ones give the defaults."""
        try:
            known = {each.name for each in dataclasses.fields(cls)}
            given = {name: value for name, value in dict(stored or {}).items() if name in known}  # type: ignore[call-overload]
            return cls(**{**given, "payload_index": tuple(given.get("payload_index", ()))})
        except (TypeError, ValueError, InvalidInput):
            return cls()


@dataclass(frozen=True)
class SearchParams:
    """Parameters that trade the speed of a search for recall."""

    oversampling: float = 3.0
    """With quantised vectors, rescore this many times the limit with the full vectors; at least 2."""
    hnsw_ef: int = 1_024
    """Size of the candidate list of a search in the HNSW graph; 0: the collection's hnsw_ef_construct."""

    def __post_init__(self) -> None:
        # Without rescoring, quantisation loses recall, most of all of composed queries (docs/adr/0010-quantisation.md).
        if not MIN_OVERSAMPLING <= self.oversampling <= 100:
            raise InvalidInput(f"oversampling must be between {MIN_OVERSAMPLING:g} and 100")
        if not 0 <= self.hnsw_ef <= 10_000:
            raise InvalidInput("hnsw_ef must be between 0 and 10,000")


@dataclass(frozen=True)
class ServerConfig:
    """The address of a Qdrant server and the settings of the connection."""

    qdrant_url: str | None = None
    """Address of a Qdrant server, http://HOST:6333, or https:// for TLS."""
    qdrant_grpc_port: int = 6334
    """Its gRPC port; SCOT uses only this port."""
    qdrant_api_key_file: Path | None = None
    """A file with the server's API key; by default the key is SCOT_QDRANT_API_KEY, if set."""
    qdrant_ca: Path | None = None
    """The certificate authority (PEM) of the server's certificate; by default those that gRPC trusts."""
    qdrant_timeout_s: float = 10.0
    """Deadline of a call in seconds, retries included."""

    def __post_init__(self) -> None:
        if self.qdrant_url is not None and not _URL.fullmatch(self.qdrant_url):
            raise InvalidInput(f"qdrant_url {self.qdrant_url!r} is not an address like http://host:6333")
        if not 0 < self.qdrant_grpc_port < 65_536:
            raise InvalidInput("qdrant_grpc_port must be between 1 and 65,535")
        if not (math.isfinite(self.qdrant_timeout_s) and self.qdrant_timeout_s > 0):
            raise InvalidInput("qdrant_timeout_s must be a number of seconds above 0")
        if self.qdrant_ca is not None and not (self.qdrant_url or "https:").startswith("https:"):
            raise InvalidInput("qdrant_ca is for an https:// address")

    def resolved(self) -> ServerConfig:
        """A copy with absolute paths, for a process with another working directory."""
        key, ca = self.qdrant_api_key_file, self.qdrant_ca
        return replace(self, qdrant_api_key_file=key and key.resolve(), qdrant_ca=ca and ca.resolve())
