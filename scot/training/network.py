"""The composition network of a run, built from the settings and the embeddings."""

from __future__ import annotations

from typing import Any

from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.base import ComposerModule
from scot.embeddings.cache import STATES, CacheInfo
from scot.errors import InvalidInput
from scot.training.config import TrainConfig


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
