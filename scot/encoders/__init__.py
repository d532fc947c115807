"""Frozen image–text encoders behind one small interface: open_clip, BLIP-2, and the packaged tiny encoder."""

from scot.encoders.base import (
    Encoder,
    Frontend,
    HiddenStates,
    MultiVectorEncoder,
    MultiVectors,
    Pixels,
    StateEncoder,
    TokenizedText,
    Tokens,
    Vectors,
    state_encoder,
)
from scot.encoders.loading import load_encoder, load_frontend

__all__ = [
    "Encoder",
    "Frontend",
    "HiddenStates",
    "MultiVectorEncoder",
    "MultiVectors",
    "Pixels",
    "StateEncoder",
    "TokenizedText",
    "Tokens",
    "Vectors",
    "load_encoder",
    "load_frontend",
    "state_encoder",
]
