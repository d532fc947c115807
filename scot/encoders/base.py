"""The interface of encoders: images and texts to unit vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from scot.encoders.pixel_budget import PixelBudget
from scot.encoders.resizing import Pixels, Resizing
from scot.errors import InvalidInput

Tokens = npt.NDArray[np.int64]  # (L,)
Vectors = npt.NDArray[np.float32]  # (N, D), rows of unit length
MultiVectors = npt.NDArray[np.float32]  # (N, V, D), each of an image's V vectors of unit length
HiddenStates = list[npt.NDArray[np.float16]]  # of each image or text (L, W): a row for each token of its tower


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as the text tower reads it. ``truncated``: the end of the text did not fit the context."""

    tokens: Tokens
    truncated: bool


class Encoder(Protocol):
    """A frozen image–text model. ``id`` covers its weights, dimension and preprocessing: equal ids, equal vectors."""

    id: str
    dim: int
    resizing: Resizing | PixelBudget
    """What :meth:`preprocess` does; it can be sent to a process without towers."""

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop an RGB image as in the model's training, to uint8 ``(H, W, 3)``."""

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Token ids of texts, each padded or cut to the model's context length."""

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed preprocessed images: N × (H, W, 3) uint8 to ``(N, D)`` float32 rows of unit length."""

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Vectors:
        """Embed tokenized texts: N × (L,) int64 to ``(N, D)`` float32 rows of unit length."""

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """:meth:`preprocess`, then :meth:`encode_pixels`, in batches."""

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """:meth:`tokenize`, then :meth:`encode_tokens`, in batches."""


@runtime_checkable
class MultiVectorEncoder(Encoder, Protocol):
    """An encoder with V vectors for each image, whose score of a text is the largest of their cosines.

    :meth:`encode_pixels` is the :meth:`pool` of :meth:`encode_pixels_multi`, for callers that need one
    vector for each image.
    """

    vectors_per_image: int

    def encode_pixels_multi(self, pixels: Sequence[Pixels]) -> MultiVectors:
        """Embed preprocessed images: N × (H, W, 3) uint8 to ``(N, V, D)`` float32, the last dimension unit."""

    def pool(self, vectors_NVD: MultiVectors) -> Vectors:
        """One unit vector for each image, ``(N, D)``."""


@runtime_checkable
class StateEncoder(Encoder, Protocol):
    """An encoder that also gives the last hidden states of its towers, for composers that read them.

    An image has one for each patch or place of its tower, a text one for each token.
    """

    def encode_pixels_states(self, pixels: Sequence[Pixels]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_pixels` gives, and the states. Raises InvalidInput when the model has none."""

    def encode_tokens_states(self, tokens: Sequence[Tokens]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_tokens` gives, and the states. Raises InvalidInput when the model has none."""

    def encode_texts_states(self, texts: Sequence[str]) -> tuple[Vectors, HiddenStates]:
        """What :meth:`encode_texts` gives, and the states. Raises InvalidInput when the model has none."""


@runtime_checkable
class PairEncoder(Encoder, Protocol):
    """An encoder that embeds pictures and a text in one input: a query that composes itself."""

    def encode_pairs(self, pixels: Sequence[Sequence[Pixels]], texts: Sequence[str]) -> tuple[Vectors, list[bool]]:
        """Embed N inputs, each the preprocessed images (or none) and the text of a query.

        Returns:
            ``(N, D)`` float32 rows of unit length, and which texts did not fit the context beside their images.

        Raises:
            InvalidInput: the images of an input alone are too many for the context.
        """


def state_encoder(encoder: Encoder) -> StateEncoder:
    """The encoder, if it gives its hidden states. Raises InvalidInput if not."""
    if not isinstance(encoder, StateEncoder):
        raise InvalidInput(f"the encoder {encoder.id} does not give its hidden states")
    return encoder


def encode_pixels(encoder: Encoder, pixels: Sequence[Pixels], *, states: bool) -> tuple[Vectors, HiddenStates]:
    """Embed preprocessed images, with their hidden states if ``states``; otherwise that list is empty.

    Raises:
        InvalidInput: ``states``, and the encoder does not give them.
    """
    return state_encoder(encoder).encode_pixels_states(pixels) if states else (encoder.encode_pixels(pixels), [])


class EmbeddedTexts(NamedTuple):
    """N embedded texts: their vectors ``(N, D)``, their hidden states or none, and which did not fit the context."""

    vectors_ND: Vectors
    states_NLW: HiddenStates
    truncated_N: list[bool]


def embed_texts(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    states: bool = False,
    turn: AbstractContextManager[object] | None = None,
) -> EmbeddedTexts:
    """Tokenize and embed texts.

    Args:
        encoder: the encoder of the texts.
        texts: N texts.
        states: return hidden states too.
        turn: held while the text tower works, such as a lock of several threads that share it.

    Raises:
        InvalidInput: ``states``, and the encoder does not give them.
    """
    tokenized = encoder.tokenize(texts)
    tokens = [each.tokens for each in tokenized]
    with turn or nullcontext():
        vectors_ND, states_NLW = (
            state_encoder(encoder).encode_tokens_states(tokens) if states else (encoder.encode_tokens(tokens), [])
        )
    return EmbeddedTexts(vectors_ND, states_NLW, [each.truncated for each in tokenized])
