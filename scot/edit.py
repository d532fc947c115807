"""One change of a query: what a caller says, and what a composer is given. Needs no other package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: applied with ``weight`` (0 to 1), or with ``negative`` in the opposite direction."""

    text: str
    weight: float = 1.0
    negative: bool = False


def joined(edits: Sequence[str]) -> str:
    """The texts of plain edits as one text."""
    return " and ".join(edits)
