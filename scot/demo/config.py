"""What the demo can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DemoConfig:
    """Draw two catalogues, learn a composer without labels, index, serve, and search them.

    Example: scot demo --once
    """

    data: Path = Path("scot-demo")
    """Where everything is kept; a second run reuses what is there."""
    once: bool = False
    """Stop after the searches instead of serving on."""
    port: int = 9000
    """Where the service listens."""
    train_size: int = 5_000
    """Captioned pictures of each world to learn from."""
    gallery_size: int = 4_000
    """Pictures of each world to search, all of combinations that training never saw."""
    queries: int = 1_000
    """Evaluation queries of each world."""
    edits_per_caption: int = 6
    """Edits to learn from, of each caption."""
    architecture: str = "token_combiner"
    """The composer's network: token_combiner, combiner … (docs/quality.md compares them)."""
    analogy_weight: float = 10.0
    """Weight of the analogy in the objective; 0: the edited caption alone teaches (docs/adr/0016)."""
    steps: int = 600
    """Pretraining steps."""
    engine: str = "rules"
    """What writes the edits: rules, openai, vllm or service (docs/edits.md)."""
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
