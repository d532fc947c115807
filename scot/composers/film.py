"""The edit as an operator on the reference: a residual network on the picture's vector, modulated by the edit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import layer_norm

from scot.composers.base import CenteredModule, gated_sum
from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class FilmConfig:
    """A hidden width of 0 means 4 D."""

    dim: int
    hidden: int = 0
    depth: int = 3
    dropout: float = 0.1
    centre: bool = True

    def __post_init__(self) -> None:
        if self.dim < 1 or self.depth < 1 or self.hidden < 0:
            raise InvalidInput("a film composer's dim and depth must be at least 1, its hidden width not negative")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInput(f"dropout must be at least 0 and below 1, not {self.dropout}")


class FilmBlock(nn.Module):
    """x + α(t) ⊙ MLP((1 + γ(t)) ⊙ LN(x) + β(t)); α, β and γ are linear in GELU(t') and start at zero."""

    def __init__(self, config: FilmConfig, hidden: int) -> None:
        super().__init__()
        dim = config.dim
        self.modulate = nn.Linear(hidden, 3 * dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(hidden, dim))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, state_BD: torch.Tensor, edit_BH: torch.Tensor) -> torch.Tensor:
        """The state ``(B, D)`` after the block."""
        gain_BD, shift_BD, amount_BD = self.modulate(edit_BH).chunk(3, dim=-1)
        normed_BD = layer_norm(state_BD, state_BD.shape[-1:])
        changed: torch.Tensor = state_BD + amount_BD * self.mlp((1.0 + gain_BD) * normed_BD + shift_BD)
        return changed


class FilmComposer(CenteredModule):
    """V_c = normalize(Δ + λ·t + (1 − λ)·i), with Δ = x_L − x_0, x_0 = i, x_l = block_l(x_{l−1}; t), λ = σ(w·[x_L; t]).

    Feature-wise modulation (FiLM, Perez et al., arXiv 1709.07871) in the residual form whose blocks start as the
    identity (adaLN-Zero, Peebles & Xie, arXiv 2212.09748), for the reason of TIRG (Vo et al., arXiv 1812.07119): an
    edit changes a picture rather than describes one. It starts as the sum of (centred) reference and edit.
    """

    def __init__(self, config: FilmConfig) -> None:
        super().__init__(config)
        hidden = config.hidden or 4 * config.dim
        self.read = nn.Sequential(nn.Linear(config.dim, hidden), nn.GELU(), nn.Dropout(config.dropout))
        self.blocks = nn.ModuleList(FilmBlock(config, hidden) for _ in range(config.depth))
        self.gate = nn.Linear(2 * config.dim, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit rows ``(B, D)`` of references and edits to unit rows ``(B, D)``."""
        image_BD, text_BD = self.centered(image_BD, text_BD)
        edit_BH, state_BD = self.read(text_BD), image_BD
        for block in self.blocks:
            state_BD = block(state_BD, edit_BH)
        gate_B1 = self.gate(torch.cat([state_BD, text_BD], dim=-1))
        return gated_sum(state_BD - image_BD, gate_B1, image_BD, text_BD)
