"""Which operations a caption allows."""

from __future__ import annotations

from collections.abc import Set
from functools import cache

from scot.edits.rules import garments, scenes
from scot.edits.rules.change import Operation
from scot.edits.rules.colours import change_colour
from scot.edits.rules.lengths import change_length
from scot.edits.rules.lexicon import GARMENTS


@cache
def operations(groups: Set[str]) -> tuple[Operation, ...]:
    """What can be done to a caption with words of these groups, each as likely as the others."""
    allowed: list[Operation] = []
    if not groups.isdisjoint(GARMENTS):
        allowed += [garments.change_pattern, change_length, garments.change_detail, garments.change_detail]
        allowed += [change_colour] if "colour" in groups else []
        allowed += [garments.swap_sleeves] if "sleeve" in groups else []
        allowed += [garments.change_neck, garments.change_garment] if "top" in groups else []
    elif "thing" in groups:
        allowed += [scenes.change_thing, scenes.change_companion, scenes.change_count]
        allowed += [change_colour] if "colour" in groups else []
        allowed += [scenes.change_size] if "size" in groups else []
        allowed += [scenes.change_place] if "place" in groups else []
        allowed += [scenes.change_setting] if "setting" in groups else []
    elif "colour" in groups:
        allowed.append(change_colour)
    return tuple(allowed)
