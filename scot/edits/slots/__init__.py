"""Edits by a grammar and a packaged vocabulary: finds what can change in a caption and writes both texts."""

from scot.edits.slots.engine import SlotsEngine

__all__ = ["SlotsEngine"]
