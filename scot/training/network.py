"""The composition network of a run: what it is built with depends on the settings and on the embeddings."""

from __future__ import annotations

from typing import Any

from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.base import ComposerModule
from scot.embeddings.cache import STATES, CacheInfo
from scot.errors import InvalidInput
from scot.training.config import TrainConfig


def network_settings(config: TrainConfig, info: CacheInfo) -> dict[str, Any]:
    """Everything that the architecture is told.

    Raises:
        InvalidInput: it reads hidden states, and the cache has none.
    """
    given: dict[str, Any] = {"dim": info.dim}
    if ARCHITECTURES[config.architecture][1].reads_states:
        if not info.states:
            raise InvalidInput(
                f"the architecture {config.architecture} reads hidden states, and this embedding cache has none: "
                "encode again with --states"
            )
        given |= {STATES[part]: width for part, width in info.states.items()}
    return given | config.composer_settings()


def new_network(config: TrainConfig, info: CacheInfo) -> ComposerModule:
    """A freshly initialised network. Raises InvalidInput as :func:`network_settings` does."""
    return build(config.architecture, network_settings(config, info))
