"""A small transformer over three tokens: the reference, the edit, and a learned query that becomes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from scot.composers.base import CenteredModule, gated_sum
from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A width of 0 means ``dim``, a hidden width of 0 four times that, heads of 0 up to 8 that divide the width."""

    dim: int
    width: int = 0
    """Of a token."""
    hidden: int = 0
    """Of the feed-forward layers."""
    depth: int = 2
    heads: int = 0
    dropout: float = 0.1
    centre: bool = True

    def __post_init__(self) -> None:
        if self.dim < 1 or self.depth < 1 or min(self.width, self.hidden, self.heads) < 0:
            raise InvalidInput(
                "a transformer's dim and depth must be at least 1, its width, hidden width and heads not negative"
            )
        if self.token % self.attention:
            raise InvalidInput(f"the width {self.token} of a transformer must be a multiple of its {self.heads} heads")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInput(f"dropout must be at least 0 and below 1, not {self.dropout}")

    @property
    def token(self) -> int:
        """The width of a token."""
        return self.width or self.dim

    @property
    def attention(self) -> int:
        """The number of heads."""
        return self.heads or math.gcd(self.token, 8)


class TransformerComposer(CenteredModule):
    """V_c = normalize(W z + λ·t + (1 − λ)·i), with z the query token after L pre-norm layers and the gate λ = σ(w·z).

    The layers (Vaswani et al., arXiv 1706.03762) read [P_i i, P_t t, q]; the biases of P_i and P_t tell the two apart.
    W and w start at zero, so the composition starts as the sum of (centred) reference and edit, and what is learned is
    the difference from it.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        dim, width = config.dim, config.token
        self.project_image, self.project_text = nn.Linear(dim, width), nn.Linear(dim, width)
        self.query_W = nn.Parameter(torch.randn(width) / width**0.5)
        layer = nn.TransformerEncoderLayer(
            width,
            config.attention,
            config.hidden or 4 * width,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.mix, self.gate = nn.Linear(width, dim), nn.Linear(width, 1)
        for last in (self.mix, self.gate):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit rows ``(B, D)`` of references and edits to unit rows ``(B, D)``."""
        image_BD, text_BD = self.centered(image_BD, text_BD)
        image_BW, text_BW = self.project_image(image_BD), self.project_text(text_BD)
        tokens_B3W = torch.stack([image_BW, text_BW, self.query_W.to(image_BW.dtype).expand_as(image_BW)], dim=1)
        query_BW = self.layers(tokens_B3W)[:, 2]
        return gated_sum(self.mix(query_BW), self.gate(query_BW), image_BD, text_BD)
