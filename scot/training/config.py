"""The settings of composer pretraining; the defaults are tuned for cached embeddings on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from scot.composers.architectures import settings_of
from scot.composers.token_combiner import PATCH_DROPOUT
from scot.errors import InvalidInput
from scot.training.objectives.config import LossConfig
from scot.training.objectives.stand_ins import MATCHED

_SIZES = ("projection", "hidden", "width", "depth", "heads")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings that decide the trained weights; two runs with equal settings and data end with equal weights."""

    architecture: str = "combiner"
    """The composition network, by name: combiner, token_combiner … (scot/composers/architectures.py)."""
    projection: int = 0
    """Width of the projections; 0: the architecture's own."""
    hidden: int = 0
    """Width of the hidden layers; 0: the architecture's own."""
    width: int = 0
    """Width of a transformer's tokens; 0: the encoder's dimension."""
    depth: int = 0
    """Number of layers or blocks; 0: the architecture's own."""
    heads: int = 0
    """Attention heads of a layer; 0: the architecture's own."""
    dropout: float = 0.1
    """Dropout in the composition network."""
    patch_dropout: float = PATCH_DROPOUT
    """Share of the references of which a token_combiner sees no patch; 1: it reads the edit's tokens alone."""
    centre: bool = True
    """Subtract the modality means from the inputs."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The terms of the objective."""
    from_captions: float = 0.0
    """Share of the references for which their captions stand in, between the modality means; 1: no image is needed."""
    caption_noise: float = MATCHED
    """The σ of the noise on those captions, for what they do not say; below 0: as images vary around captions."""
    batch_size: int = 1024
    """The global batch, for any number of workers."""
    steps: int = 1500
    """Training steps."""
    lr: float = 1e-3
    """The highest learning rate."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises; a cosine to zero follows."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    held_out: float = 0.05
    """Share of the captions whose triplets are only evaluated; none of their texts and images is trained on."""
    eval_every: int = 150
    """Steps between two evaluations and checkpoints."""
    patience: int = 5
    """Evaluations without a better held-out recall before the run stops; 0: never."""
    precision: str = "auto"
    """float32, bfloat16 (autocast), or auto: bfloat16 if the hardware is faster with it."""
    compile: bool = False
    """Compile the composer (torch.compile); needs a C++ compiler."""
    seed: int = 0
    """The seed of the initial weights, the order of the data, dropout and noise."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of ``dataclasses.asdict``; missing settings have their defaults.

        Raises:
            InvalidInput: there is no such setting.
        """
        unknown = sorted(values.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise InvalidInput(f"training has no setting {', '.join(unknown)}")
        return cls(**{**values, "loss": LossConfig.from_dict(values.get("loss", {}))})

    def composer_settings(self) -> dict[str, Any]:
        """The architecture's settings, without the encoder's dimension."""
        known = settings_of(self.architecture)
        sizes = {name: getattr(self, name) for name in _SIZES if getattr(self, name)}
        plain = {name: getattr(self, name) for name in ("dropout", "patch_dropout", "centre") if name in known}
        return sizes | plain

    def __post_init__(self) -> None:
        known = settings_of(self.architecture)
        unused = [name for name in self.composer_settings() if name not in known]
        if self.patch_dropout != PATCH_DROPOUT and "patch_dropout" not in known:
            unused.append("patch_dropout")
        if unused:
            raise InvalidInput(f"the architecture {self.architecture} has no setting {', '.join(unused)}")
        positive = {name: getattr(self, name) for name in ("batch_size", "steps", "lr", "clip", "eval_every")}
        for name, value in positive.items():
            if not value > 0:
                raise InvalidInput(f"{name} must be above 0, not {value}")
        if not 0.0 < self.held_out < 1.0:
            raise InvalidInput(f"held_out must be between 0 and 1, not {self.held_out}")
        if not 0.0 <= self.warmup < 1.0:
            raise InvalidInput(f"warmup must be at least 0 and below 1, not {self.warmup}")
        if not 0.0 <= self.from_captions <= 1.0 or not self.caption_noise < float("inf"):
            raise InvalidInput("from_captions must be from 0 to 1, caption_noise a number")
        if self.patience < 0 or self.weight_decay < 0:
            raise InvalidInput("patience and weight_decay must not be negative")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InvalidInput(f"precision must be auto, float32 or bfloat16, not {self.precision!r}")


def training_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings as plain JSON, for manifests and model cards."""
    return {key: value for key, value in asdict(config).items() if key != "loss"} | asdict(config.loss)
