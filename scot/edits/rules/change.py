"""What an operation is: a reading and dice in, one change out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scot.edits.rules.dice import Dice
from scot.edits.rules.reading import Reading


class Change(NamedTuple):
    """One rewritten caption: what was said to get it, and the group of words that changed."""

    group: str
    aspect: str
    edit: str
    caption: str


Operation = Callable[[Reading, Dice], Change | None]
"""Changes one thing, or finds that it cannot."""
