"""Edit generators: captions in, validated edits out."""

from scot.edits.generators.base import MAX_COUNT, EditGenerator
from scot.edits.generators.load import load_generator

__all__ = ["MAX_COUNT", "EditGenerator", "load_generator"]
