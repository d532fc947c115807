"""The parts of open_clip that are not its public interface, in one place.

``tests/unit/encoders/test_open_clip_hooks.py`` names each of them, so that an upgrade that changes one fails by name.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import open_clip
import torch
from open_clip.transformer import TextTransformer
from PIL import Image

from scot.encoders.resizing import Fit, Resizing
from scot.errors import InvalidInput


def preprocessing_and_tokenizer(model_name: str, pretrained: str | None) -> tuple[dict[str, Any], Any]:
    """The preprocessing settings and the tokenizer of a model, without loading its weights.

    Raises:
        ValueError: open_clip knows no such model, or it has no text tower.
    """
    if model_name.startswith(("local-dir:", "hf-hub:")):
        place = model_name.split(":", 1)[1]
        if model_name.startswith("hf-hub:"):
            raw = open_clip.factory._get_hf_config(place)
        else:
            raw = json.loads((Path(place) / "open_clip_config.json").read_text(encoding="utf-8"))
        settings, model = dict(raw.get("preprocess_cfg") or {}), raw["model_cfg"]
    else:
        model = open_clip.get_model_config(model_name)
        if model is None:
            raise ValueError(f"open_clip knows no model {model_name!r}")
        known = open_clip.pretrained.get_pretrained_cfg(model_name, str(pretrained)) or {}
        names = open_clip.transform.PreprocessCfg.__dataclass_fields__
        settings = {name: value for name, value in known.items() if name in names and value is not None}
    if not model.get("text_cfg"):
        raise ValueError("it has no text tower")
    settings.setdefault("size", model["vision_cfg"].get("image_size", 224))
    return settings, open_clip.get_tokenizer(model_name)


def preprocessing(settings: dict[str, Any]) -> tuple[Resizing, Sequence[float], Sequence[float]]:
    """How an image is resized and cropped, and the mean and standard deviation that normalise it.

    Raises:
        InvalidInput: the settings name a way to resize that open_clip does not have.
    """
    config = open_clip.transform.PreprocessCfg(**settings)
    if config.resize_mode not in get_args(Fit):
        raise InvalidInput(f"resize_mode must be one of {', '.join(get_args(Fit))}, not {config.resize_mode!r}")
    height, width = (config.size, config.size) if isinstance(config.size, int) else tuple(config.size)
    # As in open_clip: if the size is not square and the shorter edge fits, interpolation is always bicubic.
    bilinear = config.interpolation == "bilinear" and (config.resize_mode != "shortest" or height == width)
    resample = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    return Resizing((height, width), config.resize_mode, resample, config.fill_color), config.mean, config.std


def shorter_towers(model: Any) -> dict[int, Any]:
    """The text tower for each number of tokens, if tokens after the end token cannot change the output.

    This holds for a causal text tower that is pooled at the end token, a TextTransformer or the parts of a CLIP model
    itself (all of OpenAI's). The towers share their weights; each has the part of the causal mask that it needs. Empty
    for any other text tower.
    """
    text: Any = getattr(model, "text", None)
    if isinstance(text, TextTransformer):
        causal = text.attn_mask is not None and text.cls_emb is None and not text.use_pad_mask
        if not causal or text.pool_type not in ("argmax", "eos") or text.output_tokens:
            return {}
        return {used: shorter_tower(text, used) for used in range(1, text.attn_mask.shape[0])}
    if type(model) is not open_clip.CLIP or model.attn_mask is None or model.text_pool_type not in ("argmax", "eos"):
        return {}
    return {used: ShorterClip(model, used) for used in range(1, model.attn_mask.shape[0])}


def shorter_tower(text: TextTransformer, used: int) -> Any:
    """A causal text tower that reads only the first ``used`` tokens, with the same weights."""
    shorter = copy.copy(text)
    shorter._buffers = {**text._buffers, "attn_mask": text.attn_mask[:used, :used].contiguous()}
    return shorter


class ShorterClip:
    """The same of a CLIP model whose text tower is no module of its own; it is called as a TextTransformer is."""

    def __init__(self, model: open_clip.CLIP, used: int) -> None:
        self._model = copy.copy(model)
        self._model._buffers = {**model._buffers, "attn_mask": model.attn_mask[:used, :used].contiguous()}
        places = torch.nn.Parameter(model.positional_embedding[:used], requires_grad=False)
        self._model._parameters = {**model._parameters, "positional_embedding": places}

    def __call__(self, text_BL: torch.Tensor) -> torch.Tensor:
        """The text features ``(B, D)``, not normalised."""
        features_BD: torch.Tensor = self._model.encode_text(text_BL)
        return features_BD

    def forward_intermediates(
        self, text: torch.Tensor, *, indices: int, output_fmt: str, normalize_intermediates: bool
    ) -> dict[str, Any]:
        """The features, and the hidden states of the last ``indices`` layers."""
        found: dict[str, Any] = self._model.forward_intermediates(
            text=text, text_indices=indices, text_output_fmt=output_fmt, normalize=False,
            normalize_intermediates=normalize_intermediates,
        )  # fmt: skip
        return found
