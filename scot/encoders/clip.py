"""open_clip models as encoders: any built-in name, hub repository or local folder that open_clip itself can load.

Names: ``NAME/PRETRAINED`` (``ViT-L-14/openai``), ``hf-hub:ORG/REPO``, ``local-dir:PATH``.
Preprocessing and tokenizer are the model's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch

from scot.encoders import open_clip_hooks
from scot.encoders.base import TokenizedText, Tokens, Vectors
from scot.encoders.resizing import Pixels
from scot.encoders.towers import Towers, unit_rows, weights_hash
from scot.errors import InvalidInput


def encoder(name: str, *, device: str, dtype: torch.dtype) -> ClipEncoder:
    """A model; see :func:`scot.encoders.load_encoder`."""
    model_name, pretrained = _split(name)
    preprocess_cfg, tokenizer = open_clip_hooks.preprocessing_and_tokenizer(model_name, pretrained)
    model = open_clip.create_model(model_name, pretrained=pretrained, precision="fp32", require_pretrained=True)
    # The id of a folder is that of its weights, wherever the folder is and whatever its name.
    label = "local-dir" if name.startswith("local-dir:") else name
    return ClipEncoder(label, model, preprocess_cfg, tokenizer, device=device, dtype=dtype)


class ClipEncoder(Towers):
    """An open_clip model as a frozen encoder (see :class:`scot.encoders.base.Encoder`)."""

    def __init__(
        self,
        name: str,
        model: Any,
        preprocess_cfg: dict[str, Any],
        tokenizer: Any,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.resizing, mean, std = open_clip_hooks.preprocessing(preprocess_cfg)
        self._tokenizer = tokenizer
        self._mean = torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1)
        weights = weights_hash(model)
        self._device, self._dtype = torch.device(device), dtype
        self._model = model.eval().requires_grad_(False).to(device=self._device, dtype=dtype)
        self._towers = open_clip_hooks.shorter_towers(self._model)
        with torch.inference_mode():
            probe = self._model.encode_text(torch.from_numpy(self.tokenize(["a"])[0].tokens)[None].to(self._device))
        self.dim = int(probe.shape[-1])
        preprocessing = json.dumps(preprocess_cfg, sort_keys=True)
        digest = hashlib.sha256(f"{weights}|{preprocessing}".encode()).hexdigest()[:12]
        self.id = f"{name}@{digest}-{self.dim}d"

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Token ids of texts at the model's context length."""
        if not texts:
            return []
        tokens_NL = self._tokenizer(list(texts)).numpy()
        return [
            TokenizedText(tokens, self._truncated(text, tokens)) for text, tokens in zip(texts, tokens_NL, strict=True)
        ]

    def _truncated(self, text: str, tokens: Tokens) -> bool:
        """Whether a text was cut: tokenizes a text that fills the context again, with a longer context."""
        context = len(tokens)
        if context < 2 or tokens[-1] == tokens[-2]:
            return False
        longer = self._tokenizer([text], context_length=context + 2)[0].numpy()
        # If the last two places differ, the longer context is full too, or the end token is not the padding token
        # (which it is for SigLIP) and needed one more place.
        return bool(longer[-1] != longer[-2]) or _end(longer, longer[-1]) > _end(tokens, longer[-1])

    @torch.inference_mode()
    def _image_rows(self, pixels_BHWC: Pixels) -> Vectors:
        return unit_rows(self._model.encode_image(self._normalised(pixels_BHWC).to(self._dtype)))

    @torch.inference_mode()
    def _image_states(self, pixels_BHWC: Pixels) -> tuple[Vectors, torch.Tensor]:
        images = self._normalised(pixels_BHWC).to(self._dtype)
        found = self._inside(self._model, image=images, image_indices=1, normalize=False)
        return unit_rows(found["image_features"]), found["image_intermediates"][0].flatten(2).transpose(1, 2)

    @torch.inference_mode()
    def _text_states(self, tokens_BL: Tokens, used: int) -> tuple[Vectors, torch.Tensor]:
        tower = self._towers.get(used)
        if tower is None:
            text_BL = torch.from_numpy(tokens_BL).to(self._device)
            found = self._inside(self._model, text=text_BL, text_indices=1, normalize=False)
        else:
            text_BL = torch.from_numpy(tokens_BL[:, :used]).to(self._device)
            found = self._inside(tower, text=text_BL, indices=1, output_fmt="NLC")
        return unit_rows(found["text_features"]), found["text_intermediates"][0]

    def _inside(self, module: Any, **inputs: Any) -> dict[str, Any]:
        """open_clip's intermediate features of a tower, with the last norm applied."""
        try:
            found: dict[str, Any] = module.forward_intermediates(**inputs, normalize_intermediates=True)
        except (AttributeError, AssertionError) as error:
            raise InvalidInput(f"the encoder {self.id} does not give its hidden states: {error}") from error
        return found

    def _used_lengths(self, tokens_NL: Tokens) -> npt.NDArray[np.int64]:
        """An upper bound of the places of each row that are not padding; equal last two places are padding."""
        length = tokens_NL.shape[1]
        if length < 2:
            return np.full(len(tokens_NL), length)
        text_NL = tokens_NL != tokens_NL[:, -1:]
        padded_N = (tokens_NL[:, -1] == tokens_NL[:, -2]) & text_NL.any(axis=1)
        return np.where(padded_N, length - text_NL[:, ::-1].argmax(axis=1), length)

    @torch.inference_mode()
    def _text_rows(self, tokens_BL: Tokens, used: int) -> Vectors:
        tower = self._towers.get(used)
        if tower is None:
            return unit_rows(self._model.encode_text(torch.from_numpy(tokens_BL).to(self._device)))
        return unit_rows(tower(torch.from_numpy(tokens_BL[:, :used]).to(self._device)))


def _end(tokens: Tokens, pad: int) -> int:
    """The place after the last token that is not padding."""
    return int(np.max(np.nonzero(tokens != pad)[0], initial=-1)) + 1


def _split(name: str) -> tuple[str, str | None]:
    """``(model name for open_clip, pretrained tag)``."""
    if name.startswith(("hf-hub:", "local-dir:")):
        return name, None
    model, slash, tag = name.partition("/")
    if not slash or not model or not tag:
        raise InvalidInput(
            f"encoder {name!r} is not tiny, NAME/PRETRAINED (ViT-L-14/openai), hf-hub:ORG/REPO, local-dir:PATH, "
            "blip2:ORG/REPO, blip2:local-dir:PATH, st:ORG/REPO or st:local-dir:PATH"
        )
    return model, tag
