"""The configuration of the edit service; every flag is also an environment variable, ``SCOT_…``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from scot.edits.engines import EngineConfig
from scot.errors import InvalidFlag, InvalidInput


@dataclass(frozen=True, slots=True)
class EditServiceConfig:
    """Serve edits of captions over gRPC.

    Example: python -m services.edits --engine vllm --model Qwen/Qwen2.5-7B-Instruct
    """

    engine: EngineConfig = field(default_factory=EngineConfig)
    """What writes the edits."""
    host: str = "0.0.0.0"
    """The address to listen on."""
    port: int = 9100
    """The gRPC port."""
    metrics_port: int = 9101
    """The port of Prometheus metrics, vLLM's own among them; 0: none."""
    most_waiting: int = 4_096
    """Captions under way at a time; a call that would exceed it is refused with RESOURCE_EXHAUSTED."""
    api_keys: Path | None = None
    """The file of API keys (`scot keys new`), read again when it changes; none: the service needs no key."""
    tls_certificate: Path | None = None
    """A PEM file; with --tls-key the service speaks TLS."""
    tls_key: Path | None = None
    """The PEM file of the certificate's key."""
    drain_s: float = 30.0
    """At SIGTERM, how long calls under way may take."""

    def __post_init__(self) -> None:
        if self.engine.engine in ("service", "pairs", "auto"):
            raise InvalidInput(f"engine must be one of rules, slots, openai, vllm, not {self.engine.engine!r}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidFlag("--tls-certificate and --tls-key belong together")
        if self.most_waiting < 1:
            raise InvalidInput(f"most_waiting must be at least 1, not {self.most_waiting}")
