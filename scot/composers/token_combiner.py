"""A Combiner that also reads the patches of the reference and the tokens of the edit, by cross-attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from scot.composers.base import CenteredModule, States, gated_sum
from scot.composers.combiner import layer
from scot.errors import InvalidInput

PATCH_DROPOUT = 0.1


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
    """The width of one head."""
    heads: int = 4
    """Attention heads for each modality."""
    dropout: float = 0.1
    patch_dropout: float = PATCH_DROPOUT
    """Share of training rows without the reference's patches: prepares for references known only by their vector.

    With 1 it reads no patch after training either."""
    centre: bool = True

    def __post_init__(self) -> None:
        if min(self.dim, self.image_states, self.text_states, self.heads) < 1:
            raise InvalidInput("a token combiner's dim, widths of hidden states and heads must be at least 1")
        if min(self.projection, self.hidden, self.width) < 0:
            raise InvalidInput("a token combiner's projection, hidden width and width must not be negative")
        if not 0.0 <= self.dropout < 1.0 or not 0.0 <= self.patch_dropout <= 1.0:
            raise InvalidInput("dropout must be at least 0 and below 1, patch_dropout from 0 to 1")


class CrossAttention(nn.Module):
    """Attention of H queries, made from reference and edit, over L hidden states: softmax(q_h·K / √d) V for each query.

    One learned state (``nothing``) is added, so that a row without states has something to attend to.
    """

    def __init__(self, states: int, query_input: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(states)
        self.key_value = nn.Linear(states, 2 * width)
        self.query = nn.Linear(query_input, heads * width)
        self.nothing = nn.Parameter(torch.randn(2 * width) / width**0.5)

    def forward(self, query_input_BA: torch.Tensor, states: States) -> torch.Tensor:
        """``(B, A)`` inputs of the queries to ``(B, H · width)`` attention outputs."""
        values_BLW, mask_BL = states
        kv_BLK = self.nothing.expand(len(query_input_BA), 1, -1)
        if mask_BL.shape[1]:
            states_BLK = self.key_value(self.norm(values_BLW.float()))
            kv_BLK = torch.cat([states_BLK, kv_BLK.to(states_BLK.dtype)], dim=1)
        key_BLC, value_BLC = kv_BLK.chunk(2, dim=-1)
        query_BHC = self.query(query_input_BA).unflatten(-1, (self.heads, -1))
        mask_B1L = torch.cat([mask_BL, mask_BL.new_ones(len(mask_BL), 1)], dim=1)[:, None]
        output_BHC = nn.functional.scaled_dot_product_attention(query_BHC, key_BLC, value_BLC, attn_mask=mask_B1L)
        return output_BHC.flatten(1)


class TokenCombiner(CenteredModule):
    """V_c = normalize(MLP(h) + λ·t + (1 − λ)·i), h = [ReLU(P_i i); ReLU(P_t t); A_I([i; t]); A_T([i; t])].

    The Combiner (arXiv 2203.14221) with cross-attention A_I and A_T over the last hidden states of both towers: a
    pooled vector keeps what its encoder was trained to keep, and this includes few details of an edit (docs/adr/0009).
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
        image_BD, text_BD = self.centered(image_BD, text_BD)
        if (hidden := self.config.patch_dropout) == 1.0 or (self.training and hidden):
            keep_B1 = torch.rand(len(image_BD), 1, device=image_BD.device) >= hidden
            image_states = States(image_states.values_BLW, image_states.mask_BL & keep_B1)
        query_input_BA = torch.cat([image_BD, text_BD], dim=-1) * image_BD.shape[-1] ** 0.5
        joint_BH = torch.cat(
            [
                self.project_image(image_BD),
                self.project_text(text_BD),
                self.look_image(query_input_BA, image_states),
                self.look_text(query_input_BA, text_states),
            ],
            dim=-1,
        )
        return gated_sum(self.mix(joint_BH), self.gate(joint_BH), image_BD, text_BD)
