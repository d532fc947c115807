"""The flags of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scot.worlds.workspace import DEMO


@dataclass(frozen=True)
class DemoConfig:
    """Index two drawn catalogs and search them; then learn a composer from captions, release it, and search again.

    Example: scot demo --once
    """

    data: Path = DEMO
    """The folder for all data; a second run reuses it."""
    once: bool = False
    """Stop after both acts; otherwise the service continues."""
    port: int = 9000
    """The port of the service."""
    web_port: int = 8080
    """The port of the HTTP service that stays up at the end; a free one if it is in use."""
    train_size: int = 2_000
    """Captioned images of each world for training."""
    gallery_size: int = 400
    """Images of each world to search, all of attribute combinations that are not in the training data."""
    queries: int = 150
    """Evaluation queries of each world."""
    edits_per_caption: int = 6
    """Training edits of each caption."""
    architecture: str = "token_combiner"
    """The composer's network: token_combiner, combiner … (docs/quality.md compares them)."""
    analogy_weight: float = 10.0
    """Weight of the analogy in the objective; 0: the edited caption is the only target (docs/adr/0016)."""
    steps: int = 300
    """Pretraining steps."""
    engine: str = "rules"
    """The engine that generates the edits: rules, openai, vllm or service (docs/edits.md)."""
    model: str = ""
    """openai, vllm: the model."""
    url: str = ""
    """openai: the endpoint; service: HOST:PORT."""
    seed: int = 0
    """The same seed gives the same demo."""

    def engine_flags(self) -> tuple[str, ...]:
        """The engine's flags of generate_edits."""
        named = {"--engine": self.engine, "--model": self.model, "--url": self.url}
        return tuple(word for name, value in named.items() if value for word in (name, value))
