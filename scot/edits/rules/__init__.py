"""Edits by rules: a caption is read for its known words, and one or two of them are rewritten. No model, and exact."""

from scot.edits.rules.engine import RulesEngine

__all__ = ["RulesEngine"]
