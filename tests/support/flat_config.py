"""Configs from the values of their flags, wherever in the config those are."""

from __future__ import annotations

from typing import Any, TypeVar

from scot import flags

Config = TypeVar("Config")


def configured(config: type[Config], **values: Any) -> Config:
    """A config with these values; the others have their defaults."""
    return flags.parse(config, flags.written(values), prog="test", environment={})


def changed(config: Config, **values: Any) -> Config:
    """The config with other values."""
    return configured(type(config), **(flags.flat(config) | values))
