"""Edits by rules: finds the known words of a caption and rewrites one or two of them. Exact, and without a model."""

from scot.edits.rules.engine import RulesEngine

__all__ = ["RulesEngine"]
