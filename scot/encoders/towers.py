"""The shared part of the encoder families: batches by length, normalised pixels, and a hash of the weights."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scot.encoders.base import Encoder, HiddenStates, Tokens, Vectors
from scot.encoders.resizing import Pixels

_BATCH = 128


class Towers(Encoder, Protocol):
    """The part of an encoder that all families share; a family computes the rows of one batch."""

    _device: torch.device
    _mean: torch.Tensor
    _std: torch.Tensor

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop an RGB image as in the model's training, to uint8 ``(H, W, 3)``."""
        return self.resizing(image)

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed preprocessed images: N × (H, W, 3) uint8 to ``(N, D)`` float32 rows of unit length."""
        rows = [self._image_rows(np.stack(chunk)) for chunk in in_batches(pixels)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Vectors:
        """Embed tokenized texts: N × (L,) int64 to ``(N, D)`` float32 rows of unit length."""
        vectors_ND = np.zeros((len(tokens), self.dim), np.float32)
        for rows, tokens_BL, used_B in self._by_length(tokens):
            vectors_ND[rows] = self._text_rows(tokens_BL, int(used_B[-1]))
        return vectors_ND

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed RGB images by one vector each, to ``(N, D)``."""
        return self.encode_pixels([self.preprocess(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, to ``(N, D)``; a text too long for the context is cut (see :meth:`tokenize`)."""
        return self.encode_tokens([text.tokens for text in self.tokenize(texts)])

    def encode_pixels_states(self, pixels: Sequence[Pixels]) -> tuple[Vectors, HiddenStates]:
        """:meth:`encode_pixels`, and the last hidden states of each image: float16 ``(places, W)``."""
        vectors_ND, states = np.zeros((len(pixels), self.dim), np.float32), HiddenStates()
        for rows in in_batches(range(len(pixels))):
            vectors_ND[rows], last_BLW = self._image_states(np.stack([pixels[row] for row in rows]))
            states += [*last_BLW.to(torch.float16).cpu().numpy()]
        return vectors_ND, states

    def encode_tokens_states(self, tokens: Sequence[Tokens]) -> tuple[Vectors, HiddenStates]:
        """:meth:`encode_tokens`, and the last hidden states of each text: float16 ``(tokens, W)``."""
        vectors_ND = np.zeros((len(tokens), self.dim), np.float32)
        states: dict[int, npt.NDArray[np.float16]] = {}
        for rows, tokens_BL, used_B in self._by_length(tokens):
            vectors_ND[rows], last_BLW = self._text_states(tokens_BL, int(used_B[-1]))
            half_BLW = last_BLW.to(torch.float16).cpu().numpy()
            states |= {int(row): half_LW[:own] for row, half_LW, own in zip(rows, half_BLW, used_B, strict=True)}
        return vectors_ND, [states[row] for row in range(len(tokens))]

    def encode_texts_states(self, texts: Sequence[str]) -> tuple[Vectors, HiddenStates]:
        """:meth:`encode_texts`, and the states as :meth:`encode_tokens_states` gives them."""
        return self.encode_tokens_states([text.tokens for text in self.tokenize(texts)])

    def _by_length(self, tokens: Sequence[Tokens]) -> Iterator[tuple[Any, Tokens, npt.NDArray[np.int64]]]:
        """Batches of like length, the longest last: rows, their tokens, and the number of places that each uses."""
        if not len(tokens):
            return
        tokens_NL = np.stack(tokens)
        used_N = self._used_lengths(tokens_NL)
        for rows in in_batches(np.argsort(used_N, kind="stable")):  # similar lengths together: little padding
            yield rows, tokens_NL[rows], used_N[rows]

    def _normalised(self, pixels_BHWC: Pixels) -> torch.Tensor:
        """Pixels as the image tower reads them, float32 ``(B, 3, H, W)`` on the device."""
        # Bytes travel to the device and become floats there: converted first, four times as many bytes would travel.
        images = torch.from_numpy(pixels_BHWC).to(self._device).permute(0, 3, 1, 2).to(torch.float32) / 255.0
        return (images - self._mean.to(self._device)) / self._std.to(self._device)

    @abstractmethod
    def _used_lengths(self, tokens_NL: Tokens) -> npt.NDArray[np.int64]:
        """An upper bound of the places of each row, from the first, that are not padding."""

    @abstractmethod
    def _image_rows(self, pixels_BHWC: Pixels) -> Any:
        """The unit rows of a batch of images: one for each, or the V of each of a MultiVectorEncoder."""

    @abstractmethod
    def _text_rows(self, tokens_BL: Tokens, used: int) -> Vectors:
        """The unit rows of a batch, whose texts use at most ``used`` places."""

    @abstractmethod
    def _image_states(self, pixels_BHWC: Pixels) -> tuple[Vectors, torch.Tensor]:
        """The unit rows of a batch, and the last hidden states ``(B, L, W)`` of the image tower."""

    @abstractmethod
    def _text_states(self, tokens_BL: Tokens, used: int) -> tuple[Vectors, torch.Tensor]:
        """:meth:`_text_rows`, and the last hidden states of the text tower, ``(B, used, W)`` at least."""


def in_batches(rows: Any) -> Iterator[Any]:
    """Slices of a sequence or an array, of a size that fits a tower."""
    return (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH))


def unit_rows(features: torch.Tensor) -> Vectors:
    """The last dimension normalised to length one, as float32."""
    rows: Vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return rows


def weights_hash(model: Any) -> str:
    """A hash of every weight and its name, as float32."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
