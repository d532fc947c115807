"""The configuration of ``scot serve``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from scot import flags
from services.search.settings import SearchSettings, ServiceSettings, from_args


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """Serve composed image search on this machine.

    Example: scot serve --data ./scot-data --port 9000
    """

    data: Path = Path("scot-data")
    """The workspace: the vector store is DATA/qdrant, the composers DATA/composers, the thumbnails DATA/thumbnails."""
    no_thumbnails: bool = False
    """Make no thumbnails of new items."""
    port: int = 9000
    """The port of the gRPC service."""
    metrics_port: int = 0
    """The port of the Prometheus metrics of Ray and SCOT; 0: Ray chooses one."""
    web: bool = False
    """Also serve HTTP and JSON, as `scot web` does, on --web-port of this machine's loopback interface."""
    web_port: int = 8080
    """The port of --web."""
    service: ServiceSettings = field(default_factory=ServiceSettings)
    """What answers requests, and where it runs."""

    def settings(self) -> SearchSettings:
        """The settings of the application; relative paths become absolute. Raises InvalidInput."""
        keys, qdrant = self.service.api_keys, self.service.qdrant
        judge_key = self.service.rerank.rerank_api_key_file
        rerank = replace(self.service.rerank, rerank_api_key_file=judge_key and judge_key.resolve())
        service = replace(self.service, qdrant=qdrant.resolved(), api_keys=keys and keys.resolve(), rerank=rerank)
        return from_args(
            {
                **flags.flat(service),
                "composers": str((self.data / "composers").resolve()),
                "encoder_on_demand": True,
                "drain_s": 0.1,  # nobody else runs here who could ask a replica that ends
                "thumbnails": str((self.data / "thumbnails").resolve()) if not self.no_thumbnails else None,
                "store": None if qdrant.qdrant_url else str((self.data / "qdrant").resolve()),
            }
        )
