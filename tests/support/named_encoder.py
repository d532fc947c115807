"""The name of an encoder without its towers: all that the loading of composers needs of one."""

from __future__ import annotations

from typing import NamedTuple


class NamedEncoder(NamedTuple):
    """An encoder's id and dimension."""

    id: str
    dim: int
