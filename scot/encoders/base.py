"""What every encoder offers: pictures and texts into one space of unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from scot.errors import InvalidInput

Pixels = npt.NDArray[np.uint8]  # (H, W, 3), resized and cropped, not yet normalised
Tokens = npt.NDArray[np.int64]  # (L,)
Vectors = npt.NDArray[np.float32]  # (N, D), rows of unit length
MultiVectors = npt.NDArray[np.float32]  # (N, V, D), each of a picture's V vectors of unit length
HiddenStates = list[npt.NDArray[np.float16]]  # of each picture or text (L, W): a row for each token of its tower


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as the text tower reads it. ``truncated`` tells that its end did not fit the context."""

    tokens: Tokens
    truncated: bool


class Frontend(Protocol):
    """The part of an encoder that needs no weights: it can run in another process than the towers."""

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop an RGB picture as the model was trained, to uint8 ``(H, W, 3)``."""

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Token ids of texts, each padded or cut to the model's context length."""


class Encoder(Frontend, Protocol):
    """A frozen image–text model. ``id`` covers its weights, dimension and preprocessing: equal ids, equal vectors."""

    id: str
    dim: int

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed preprocessed pictures: N × (H, W, 3) uint8 to ``(N, D)`` float32 rows of unit length."""

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Vectors:
        """Embed tokenised texts: N × (L,) int64 to ``(N, D)`` float32 rows of unit length."""

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """:meth:`preprocess`, then :meth:`encode_pixels`, in batches."""

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """:meth:`tokenise`, then :meth:`encode_tokens`, in batches."""


@runtime_checkable
class MultiVectorEncoder(Encoder, Protocol):
    """An encoder with V vectors a picture, whose own score of a text is the largest of their cosines.

    :meth:`encode_pixels` is the :meth:`pool` of :meth:`encode_pixels_multi`, for what wants one vector a picture.
    """

    vectors_per_image: int

    def encode_pixels_multi(self, pixels: Sequence[Pixels]) -> MultiVectors:
        """Embed preprocessed pictures: N × (H, W, 3) uint8 to ``(N, V, D)`` float32, the last dimension unit."""

    def pool(self, vectors_NVD: MultiVectors) -> Vectors:
        """One unit vector a picture, ``(N, D)``."""


@runtime_checkable
class StateEncoder(Encoder, Protocol):
    """An encoder that also gives the last hidden states of its towers, for composers that read them.

    A picture has as many as its tower has patches or places, a text as many as it has tokens.
    """

    def encode_pixels_states(self, pixels: Sequence[Pixels]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_pixels` gives, and the states. Raises InvalidInput when the model has none."""

    def encode_tokens_states(self, tokens: Sequence[Tokens]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_tokens` gives, and the states. Raises InvalidInput when the model has none."""

    def encode_texts_states(self, texts: Sequence[str]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_texts` gives, and the states. Raises InvalidInput when the model has none."""


def state_encoder(encoder: Encoder) -> StateEncoder:
    """The encoder, if it tells its hidden states. Raises InvalidInput if not."""
    if not isinstance(encoder, StateEncoder):
        raise InvalidInput(f"the encoder {encoder.id} does not tell its hidden states")
    return encoder


def encode_pixels(encoder: Encoder, pixels: Sequence[Pixels], *, states: bool) -> tuple[Vectors, HiddenStates]:
    """Embed preprocessed pictures, with their hidden states if they are wanted; without, their list is empty.

    Raises:
        InvalidInput: they are wanted, and the encoder does not tell them.
    """
    return state_encoder(encoder).encode_pixels_states(pixels) if states else (encoder.encode_pixels(pixels), [])


def encode_tokens(encoder: Encoder, tokens: Sequence[Tokens], *, states: bool) -> tuple[Vectors, HiddenStates]:
    """The same for tokenised texts."""
    return state_encoder(encoder).encode_tokens_states(tokens) if states else (encoder.encode_tokens(tokens), [])
