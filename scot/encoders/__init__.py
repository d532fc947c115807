"""Frozen image–text encoders behind one small interface: open_clip, BLIP-2, and the packaged tiny encoder."""

from scot.encoders.base import (
    Encoder,
    Frontend,
    MultiVectorEncoder,
    MultiVectors,
    Pixels,
    TokenisedText,
    Tokens,
    Vectors,
)
from scot.encoders.loading import load_encoder, load_frontend

__all__ = [
    "Encoder",
    "Frontend",
    "MultiVectorEncoder",
    "MultiVectors",
    "Pixels",
    "TokenisedText",
    "Tokens",
    "Vectors",
    "load_encoder",
    "load_frontend",
]
