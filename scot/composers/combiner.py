"""The Combiner of CLIP4Cir (Baldrati et al., CVPR 2022 workshops, arXiv 2111.11854 and 2203.14221)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from scot.composers.base import CenteredModule, gated_sum
from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class CombinerConfig:
    """A width of 0 means the original's ratio: projection 4 D, hidden 8 D (2560 and 5120 for the 640-d RN50x4)."""

    dim: int
    projection: int = 0
    hidden: int = 0
    dropout: float = 0.1
    centre: bool = True
    """Subtract each modality's mean over the training pool from the inputs: takes the modality gap out (i-CIR)."""

    def __post_init__(self) -> None:
        if self.dim < 1 or self.projection < 0 or self.hidden < 0:
            raise InvalidInput("a combiner's dim must be at least 1, its projection and hidden widths not negative")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInput(f"dropout must be at least 0 and below 1, not {self.dropout}")


def layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Linear, ReLU, dropout."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout))


class Combiner(CenteredModule):
    """V_c = normalize(MLP(h) + λ·t + (1 − λ)·i), with h = [ReLU(P_i i); ReLU(P_t t)] and the gate λ = σ(MLP'(h)).

    i and t are the reference's and the edit's vectors, centred when the config says so.
    """

    def __init__(self, config: CombinerConfig) -> None:
        super().__init__(config)
        dim, dropout = config.dim, config.dropout
        projection, hidden = config.projection or 4 * dim, config.hidden or 8 * dim
        self.project_image, self.project_text = (layer(dim, projection, dropout) for _ in range(2))
        self.mix, self.gate = (
            nn.Sequential(*layer(2 * projection, hidden, dropout), nn.Linear(hidden, outputs)) for outputs in (dim, 1)
        )

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit rows ``(B, D)`` of references and edits to unit rows ``(B, D)``."""
        image_BD, text_BD = self.centered(image_BD, text_BD)
        joint_BH = torch.cat([self.project_image(image_BD), self.project_text(text_BD)], dim=-1)
        gate_B1 = self.gate(joint_BH)
        return gated_sum(self.mix(joint_BH), gate_B1, image_BD, text_BD)
