"""The composition network of a run, built from the settings and the embeddings, and its objective as one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.base import ComposerModule
from scot.embeddings.cache import STATES, CacheInfo
from scot.errors import InvalidInput
from scot.training.config import TrainConfig
from scot.training.objectives import ContrastiveLoss, TripletBatch


def network_settings(config: TrainConfig, info: CacheInfo) -> dict[str, Any]:
    """All settings of the architecture.

    Raises:
        InvalidInput: it reads hidden states, and the cache has none.
    """
    settings: dict[str, Any] = {"dim": info.dim}
    if ARCHITECTURES[config.architecture][1].reads_states:
        if not info.states:
            raise InvalidInput(
                f"the architecture {config.architecture} reads hidden states, and this embedding cache has none: "
                "encode again with --states"
            )
        settings |= {STATES[part]: width for part, width in info.states.items()}
    return settings | config.composer_settings()


def new_network(config: TrainConfig, info: CacheInfo) -> ComposerModule:
    """A freshly initialised network. Raises InvalidInput as :func:`network_settings` does."""
    return build(config.architecture, network_settings(config, info))


class Objective(nn.Module):
    """Composer and loss as one module, so that data parallelism has all parameters."""

    def __init__(self, composer: ComposerModule, loss: ContrastiveLoss, bfloat16: bool) -> None:
        super().__init__()
        self.composer, self.loss, self._bfloat16 = composer, loss, bfloat16

    def forward(self, batch: TripletBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, and its terms."""
        with torch.autocast(batch.image_BD.device.type, torch.bfloat16, enabled=self._bfloat16):
            query_BD = self.composer(batch.image_BD, batch.edit_BD, *batch.states)
        # The loss is in float32: logits of a large scale need the mantissa.
        loss: tuple[torch.Tensor, dict[str, torch.Tensor]] = self.loss(query_BD, batch)
        return loss
