"""Pairs of captions of one corpus that differ in a few words, found without a model."""

from scot.edits.pairs.index import PairIndex
from scot.edits.pairs.mining import mine

PAIRS = ("pairs", "pairs-3")
"""The generator and the version in triplets."""

__all__ = ["PAIRS", "PairIndex", "mine"]
