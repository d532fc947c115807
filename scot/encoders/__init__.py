"""Frozen image–text encoders behind one small interface: open_clip, BLIP-2, multimodal embedders, and the
packaged tiny encoder.
"""

from scot.encoders.base import (
    Encoder,
    HiddenStates,
    MultiVectorEncoder,
    MultiVectors,
    PairEncoder,
    StateEncoder,
    TokenizedText,
    Tokens,
    Vectors,
    state_encoder,
)
from scot.encoders.loading import load_encoder
from scot.encoders.pixel_budget import PixelBudget
from scot.encoders.resizing import Pixels, Resizing

__all__ = [
    "Encoder",
    "HiddenStates",
    "MultiVectorEncoder",
    "MultiVectors",
    "PairEncoder",
    "PixelBudget",
    "Pixels",
    "Resizing",
    "StateEncoder",
    "TokenizedText",
    "Tokens",
    "Vectors",
    "load_encoder",
    "state_encoder",
]
