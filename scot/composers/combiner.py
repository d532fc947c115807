"""The Combiner of CLIP4Cir (Baldrati et al., CVPR 2022 workshops, arXiv 2111.11854 and 2203.14221)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import normalize

from scot.composers.base import ComposerModule
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


class Combiner(ComposerModule):
    """V_c = normalize(MLP(h) + λ·t + (1 − λ)·i), with h = [ReLU(P_i i); ReLU(P_t t)] and the gate λ = σ(MLP'(h)).

    i and t are the reference's and the edit's vectors, centred when the config says so.
    """

    image_mean_D: torch.Tensor
    text_mean_D: torch.Tensor

    def __init__(self, config: CombinerConfig) -> None:
        super().__init__()
        self.config = config
        dim, dropout = config.dim, config.dropout
        projection, hidden = config.projection or 4 * dim, config.hidden or 8 * dim
        self.project_image = nn.Sequential(nn.Linear(dim, projection), nn.ReLU(), nn.Dropout(dropout))
        self.project_text = nn.Sequential(nn.Linear(dim, projection), nn.ReLU(), nn.Dropout(dropout))
        self.mix = nn.Sequential(
            nn.Linear(2 * projection, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.gate = nn.Sequential(
            nn.Linear(2 * projection, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        self.register_buffer("image_mean_D", torch.zeros(dim))
        self.register_buffer("text_mean_D", torch.zeros(dim))

    def fit_statistics(self, image_ND: torch.Tensor, text_ND: torch.Tensor) -> None:
        """Take the modality means from the training pool."""
        if self.config.centre:
            self.image_mean_D.copy_(image_ND.float().mean(0))
            self.text_mean_D.copy_(text_ND.float().mean(0))

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit rows ``(B, D)`` of references and edits to unit rows ``(B, D)``."""
        if self.config.centre:
            image_BD = normalize(image_BD - self.image_mean_D, dim=-1)
            text_BD = normalize(text_BD - self.text_mean_D, dim=-1)
        joint_BH = torch.cat([self.project_image(image_BD), self.project_text(text_BD)], dim=-1)
        gate_B1 = torch.sigmoid(self.gate(joint_BH).float())
        query_BD = self.mix(joint_BH).float() + gate_B1 * text_BD + (1.0 - gate_B1) * image_BD
        return normalize(query_BD, dim=-1)
