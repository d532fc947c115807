"""A Combiner that also looks at the patches of the reference and the words of the edit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from scot.composers.base import CentredModule, gated_sum
from scot.composers.combiner import layer
from scot.composers.states import States
from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TokenCombinerConfig:
    """A projection of 0 means 2 D, a hidden width of 0 means 4 D, a width of 0 means D / 2."""

    dim: int
    image_states: int
    """The width of the image tower's hidden states."""
    text_states: int
    """The width of the text tower's hidden states."""
    projection: int = 0
    hidden: int = 0
    width: int = 0
    """Of what one head reads."""
    heads: int = 4
    """How many places one query looks at, in each modality."""
    dropout: float = 0.1
    blind: float = 0.1
    """Share of the training rows whose reference shows no patches, for references that are known by their vector."""
    centre: bool = True

    def __post_init__(self) -> None:
        if min(self.dim, self.image_states, self.text_states, self.heads) < 1:
            raise InvalidInput("a token combiner's dim, widths of hidden states and heads must be at least 1")
        if min(self.projection, self.hidden, self.width) < 0:
            raise InvalidInput("a token combiner's projection, hidden width and width must not be negative")
        if not 0.0 <= self.dropout < 1.0 or not 0.0 <= self.blind <= 1.0:
            raise InvalidInput("dropout must be at least 0 and below 1, blind from 0 to 1")


class CrossAttention(nn.Module):
    """What H queries, made from reference and edit, find among L states: softmax(q_h·K / √d) V for each of them.

    A learned state stands beside the others, so that a row without any has something to look at.
    """

    def __init__(self, states: int, asking: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(states)
        self.key_value = nn.Linear(states, 2 * width)
        self.query = nn.Linear(asking, heads * width)
        self.nothing = nn.Parameter(torch.randn(2 * width) / width**0.5)

    def forward(self, asking_BA: torch.Tensor, states: States) -> torch.Tensor:
        """``(B, A)`` of what is asked to ``(B, H · width)`` of what was seen."""
        values_BLW, mask_BL = states
        seen_BLK = self.nothing.expand(len(asking_BA), 1, -1)
        if mask_BL.shape[1]:
            told_BLK = self.key_value(self.norm(values_BLW.float()))
            seen_BLK = torch.cat([told_BLK, seen_BLK.to(told_BLK.dtype)], dim=1)
        key_BLC, value_BLC = seen_BLK.chunk(2, dim=-1)
        query_BHC = self.query(asking_BA).unflatten(-1, (self.heads, -1))
        there_B1L = torch.cat([mask_BL, mask_BL.new_ones(len(mask_BL), 1)], dim=1)[:, None]
        found_BHC = nn.functional.scaled_dot_product_attention(query_BHC, key_BLC, value_BLC, attn_mask=there_B1L)
        return found_BHC.flatten(1)


class TokenCombiner(CentredModule):
    """V_c = normalize(MLP(h) + λ·t + (1 − λ)·i), h = [ReLU(P_i i); ReLU(P_t t); Look_I([i; t]); Look_T([i; t])].

    The Combiner (arXiv 2203.14221) beside attention over the last hidden states of both towers: a pooled vector keeps
    what its encoder was trained to keep, and how an edit says what it changes is not much of that (docs/adr/0009).
    """

    reads_states = True

    def __init__(self, config: TokenCombinerConfig) -> None:
        super().__init__(config)
        dim, dropout = config.dim, config.dropout
        projection, hidden, width = config.projection or 2 * dim, config.hidden or 4 * dim, config.width or dim // 2
        self.project_image, self.project_text = (layer(dim, projection, dropout) for _ in range(2))
        self.look_image = CrossAttention(config.image_states, 2 * dim, width, config.heads)
        self.look_text = CrossAttention(config.text_states, 2 * dim, width, config.heads)
        joint = 2 * (projection + config.heads * width)
        self.mix, self.gate = (
            nn.Sequential(*layer(joint, hidden, dropout), nn.Linear(hidden, outputs)) for outputs in (dim, 1)
        )

    def forward(
        self, image_BD: torch.Tensor, text_BD: torch.Tensor, image_states: States, text_states: States
    ) -> torch.Tensor:
        """Unit rows ``(B, D)`` and hidden states of references and edits to unit rows ``(B, D)``."""
        image_BD, text_BD = self.centred(image_BD, text_BD)
        if self.training and self.config.blind:
            shown_B1 = torch.rand(len(image_BD), 1, device=image_BD.device) >= self.config.blind
            image_states = States(image_states.values_BLW, image_states.mask_BL & shown_B1)
        asking_BA = torch.cat([image_BD, text_BD], dim=-1) * image_BD.shape[-1] ** 0.5
        joint_BH = torch.cat(
            [
                self.project_image(image_BD),
                self.project_text(text_BD),
                self.look_image(asking_BA, image_states),
                self.look_text(asking_BA, text_states),
            ],
            dim=-1,
        )
        return gated_sum(self.mix(joint_BH), self.gate(joint_BH), image_BD, text_BD)
