"""The composition networks by name: the values of an artifact's ``architecture``.

To add a network, write its module and config in a file of its own, and add a line here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from scot.composers.base import ComposerModule
from scot.composers.combiner import Combiner, CombinerConfig
from scot.composers.film import FilmComposer, FilmConfig
from scot.composers.token_combiner import TokenCombiner, TokenCombinerConfig
from scot.composers.transformer import TransformerComposer, TransformerConfig
from scot.errors import InvalidInput

ARCHITECTURES: dict[str, tuple[type[Any], type[ComposerModule]]] = {
    "combiner": (CombinerConfig, Combiner),
    "transformer": (TransformerConfig, TransformerComposer),
    "film": (FilmConfig, FilmComposer),
    "token_combiner": (TokenCombinerConfig, TokenCombiner),
}
"""Name to (config dataclass, module class); the config has a ``dim`` and the module takes only the config."""

_RENAMED = {("token_combiner", "blind"): "patch_dropout"}
"""Settings that artifacts of earlier versions store under another name."""


def settings_of(architecture: str) -> frozenset[str]:
    """The names of an architecture's settings, its ``dim`` among them. Raises InvalidInput when it is unknown."""
    if architecture not in ARCHITECTURES:
        raise InvalidInput(f"there is no composer architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}")
    return frozenset(field.name for field in dataclasses.fields(ARCHITECTURES[architecture][0]))


def configure(architecture: str, config: Mapping[str, Any]) -> Any:
    """The typed config of an architecture. Raises InvalidInput as :func:`build` does."""
    config = {_RENAMED.get((architecture, name), name): value for name, value in config.items()}
    unknown = set(config) - settings_of(architecture)
    if unknown:
        raise InvalidInput(f"the architecture {architecture} has no setting {', '.join(sorted(unknown))}")
    try:
        return ARCHITECTURES[architecture][0](**config)
    except TypeError as error:
        raise InvalidInput(f"the settings of the architecture {architecture} do not fit it: {error}") from None


def build(architecture: str, config: Mapping[str, Any]) -> ComposerModule:
    """A freshly initialised module.

    Raises:
        InvalidInput: the architecture is unknown, or the config does not fit it.
    """
    typed = configure(architecture, config)
    return ARCHITECTURES[architecture][1](typed)
