"""Frozen image–text encoders: open_clip behind one small interface, and the packaged tiny encoder."""

from scot.encoders.base import Encoder, Frontend, Pixels, TokenisedText, Tokens, Vectors
from scot.encoders.clip import load_encoder, load_frontend

__all__ = ["Encoder", "Frontend", "Pixels", "TokenisedText", "Tokens", "Vectors", "load_encoder", "load_frontend"]
