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
    steps: int = 800
    """Pretraining steps."""
    seed: int = 0
    """The same seed gives the same demo."""
