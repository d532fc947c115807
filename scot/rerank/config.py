"""The endpoint that judges, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from scot.errors import InvalidFlag, InvalidInput

MAX_TOP = 100
"""The most candidates of a query that are judged."""


@dataclass(frozen=True, slots=True)
class RerankConfig:
    """A vision-language model that judges the first hits."""

    rerank_url: str = ""
    """An OpenAI-compatible endpoint that takes pictures, e.g. http://localhost:8000/v1; empty: no reranking."""
    rerank_model: str = ""
    """The model's name there."""
    rerank_api_key_file: Path | None = None
    """A file with the endpoint's key; none: no key is sent."""
    rerank_prompt: str = "rerank-1"
    """The version of the question."""
    rerank_top: int = 20
    """How many of the first hits are judged, unless a request says it; at most 100."""
    rerank_weight: float = 1.0
    """The weight of a verdict beside the rank, unless a request says it; `scot evaluate` fits it."""
    rerank_deadline_s: float = 2.0
    """Seconds after which the first order is returned, unless a request says it."""
    rerank_concurrency: int = 32
    """The largest number of candidates at the endpoint at once, of all queries."""
    rerank_timeout_s: float = 30.0
    """The longest wait for one verdict."""

    def __post_init__(self) -> None:
        if bool(self.rerank_url) != bool(self.rerank_model):
            raise InvalidFlag("--rerank-url and --rerank-model are given together")
        if not 1 <= self.rerank_top <= MAX_TOP:
            raise InvalidInput(f"rerank_top must be between 1 and {MAX_TOP}, not {self.rerank_top}")
        if not (math.isfinite(self.rerank_weight) and self.rerank_weight >= 0):
            raise InvalidInput(f"rerank_weight must be a number of at least 0, not {self.rerank_weight:g}")
        for name in ("rerank_deadline_s", "rerank_timeout_s"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise InvalidInput(f"{name} must be a number of seconds above 0, not {value:g}")
        if self.rerank_concurrency < 1:
            raise InvalidInput(f"rerank_concurrency must be at least 1, not {self.rerank_concurrency}")

    def api_key(self) -> str:
        """The endpoint's key; empty without one. Raises InvalidInput when its file cannot be read."""
        if self.rerank_api_key_file is None:
            return ""
        try:
            return self.rerank_api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the key file {self.rerank_api_key_file} cannot be read: {error}") from None
