"""What a run reports while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run. ``held_out`` has the newest recall; ``evaluated`` is True if it was measured at this step.

    ``loss``, the separate ``terms`` (before their weights) and ``gradient_norm`` (before clipping) are means since the
    last event. ``data_wait`` is the share of the time since then spent waiting for batches, ``checkpoint_s`` how long
    the newest checkpoint took, in seconds.
    """

    step: int
    steps: int
    loss: float
    lr: float
    scale: float
    triplets_per_s: float
    held_out: dict[str, float]
    evaluated: bool
    done: bool
    batch_size: int
    data_wait: float = 0.0
    checkpoint_s: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    gradient_norm: float = 0.0

    @property
    def eta_s(self) -> float:
        """Seconds to the last step at the current speed; NaN before the first step."""
        return math.nan if not self.triplets_per_s else (self.steps - self.step) * self.batch_size / self.triplets_per_s
