"""The settings of composer pretraining; the defaults are tuned for cached embeddings on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scot.errors import InvalidInput
from scot.training.losses import LossConfig


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What decides the trained weights; two runs with equal settings and data end with equal weights."""

    architecture: str = "combiner"
    projection: int = 0
    """Width of the two projections; 0: the architecture's own."""
    hidden: int = 0
    """Width of the hidden layer; 0: the architecture's own."""
    dropout: float = 0.1
    centre: bool = True
    """Take the modality means out of the inputs."""
    loss: LossConfig = field(default_factory=LossConfig)
    batch_size: int = 1024
    """The global batch, whatever the number of workers."""
    steps: int = 1500
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps in which the learning rate climbs; a cosine to zero follows."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    held_out: float = 0.05
    """Share of the pictures whose triplets are never trained on."""
    eval_every: int = 150
    patience: int = 5
    """Evaluations without a better held-out recall@1 before the run stops; 0: never."""
    precision: str = "auto"
    """float32, bfloat16 (autocast), or auto: bfloat16 where the hardware computes it faster."""
    compile: bool = False
    """Compile the composer (torch.compile); needs a C++ compiler."""
    seed: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**values, "loss": LossConfig(**values["loss"])})

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("batch_size", "steps", "lr", "clip", "eval_every")}
        for name, value in positive.items():
            if not value > 0:
                raise InvalidInput(f"{name} must be above 0, not {value}")
        if not 0.0 < self.held_out < 1.0:
            raise InvalidInput(f"held_out must be between 0 and 1, not {self.held_out}")
        if not 0.0 <= self.warmup < 1.0:
            raise InvalidInput(f"warmup must be at least 0 and below 1, not {self.warmup}")
        if self.patience < 0 or self.weight_decay < 0:
            raise InvalidInput("patience and weight_decay must not be negative")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InvalidInput(f"precision must be auto, float32 or bfloat16, not {self.precision!r}")
