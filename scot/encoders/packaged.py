"""The packaged ``tiny`` encoder with PyTorch alone: importing open_clip takes longer than all of its work for a query.

The folder ``tiny`` is an open_clip ``local-dir`` (a small ModifiedResNet and a causal text transformer), trained with
open_clip by ``tools/tiny_encoder``; ``tests/unit/encoders/test_packaged.py`` compares both. The towers are those of
CLIP (Radford et al. 2021, arXiv 2103.00020); the names of their weights are open_clip's.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ftfy
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from scot.encoders.base import TokenizedText, Tokens, Vectors
from scot.encoders.resizing import Pixels, Resizing
from scot.encoders.towers import Towers, unit_rows, weights_hash

TINY_DIR = Path(__file__).parent / "tiny"


def encoder(name: str, *, device: str, dtype: torch.dtype) -> PackagedEncoder:
    """The packaged encoder; see :func:`scot.encoders.load_encoder`."""
    config = json.loads((TINY_DIR / "open_clip_config.json").read_text(encoding="utf-8"))
    model = _Clip(**config["model_cfg"])
    model.load_state_dict(load_file(TINY_DIR / "open_clip_model.safetensors"))
    tokenizer = Tokenizer.from_file(str(TINY_DIR / "tokenizer.json"))
    return PackagedEncoder(name, model, config["preprocess_cfg"], tokenizer, device=device, dtype=dtype)


class PackagedEncoder(Towers):
    """The packaged model as a frozen encoder (see :class:`scot.encoders.base.Encoder`)."""

    def __init__(
        self,
        name: str,
        model: _Clip,
        preprocess_cfg: dict[str, Any],
        tokenizer: Tokenizer,
        *,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.resizing = Resizing((preprocess_cfg["size"],) * 2)
        self.dim = model.text.text_projection.shape[1]
        digest = hashlib.sha256(f"{weights_hash(model)}|{json.dumps(preprocess_cfg, sort_keys=True)}".encode())
        self.id = f"{name}@{digest.hexdigest()[:12]}-{self.dim}d"
        self._mean = torch.tensor(preprocess_cfg["mean"]).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess_cfg["std"]).view(1, 3, 1, 1)
        self._device, self._dtype = torch.device(device), dtype
        model = model.eval().requires_grad_(False)
        model.visual.fold_norms()
        model.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as pixels are
        self._model = model.to(device=self._device, dtype=dtype)
        self._tokenizer, context = tokenizer, len(model.text.positional_embedding)
        tokenizer.enable_truncation(context)
        tokenizer.enable_padding(length=context)

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Token ids of texts at the model's context length."""
        encodings = self._tokenizer.encode_batch([_clean(text) for text in texts])
        return [TokenizedText(np.asarray(each.ids, np.int64), bool(each.overflowing)) for each in encodings]

    def _used_lengths(self, tokens_NL: Tokens) -> npt.NDArray[np.int64]:
        used_N: npt.NDArray[np.int64] = tokens_NL.argmax(axis=1) + 1  # the end token has the highest id
        return used_N

    def _image_rows(self, pixels_BHWC: Pixels) -> Vectors:
        return self._image_states(pixels_BHWC)[0]

    @torch.inference_mode()
    def _image_states(self, pixels_BHWC: Pixels) -> tuple[Vectors, torch.Tensor]:
        places_BCHW = self._model.visual(self._normalised(pixels_BHWC).to(self._dtype))
        places_BLC = places_BCHW.flatten(2).transpose(1, 2)
        return unit_rows(self._model.visual.attnpool(places_BLC)), places_BLC

    def _text_rows(self, tokens_BL: Tokens, used: int) -> Vectors:
        return self._text_states(tokens_BL, used)[0]

    @torch.inference_mode()
    def _text_states(self, tokens_BL: Tokens, used: int) -> tuple[Vectors, torch.Tensor]:
        tokens = torch.from_numpy(tokens_BL[:, :used]).to(self._device)  # no place reads a later one
        states_BLW = self._model.text(tokens)
        end_BW = states_BLW[torch.arange(len(tokens)), tokens.argmax(dim=1)]
        return unit_rows(end_BW @ self._model.text.text_projection), states_BLW


class _Clip(nn.Module):
    def __init__(self, embed_dim: int, vision_cfg: dict[str, Any], text_cfg: dict[str, Any], **_: Any) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.visual = _ResNet(**vision_cfg, outputs=embed_dim)
        self.text = _TextTower(**text_cfg, outputs=embed_dim)


class _ResNet(nn.Module):
    """Images ``(B, 3, H, W)`` to places ``(B, C, H/32, W/32)``; ``attnpool`` makes one vector of them."""

    def __init__(self, image_size: int, layers: list[int], width: int, head_width: int, outputs: int) -> None:
        super().__init__()
        half, channels = width // 2, width * 32
        for number, (inputs, stem) in enumerate([(3, half), (half, half), (half, width)], start=1):
            stride = 2 if number == 1 else 1
            self.add_module(f"conv{number}", nn.Conv2d(inputs, stem, 3, stride, padding=1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(stem))
        inputs = width
        for number, blocks in enumerate(layers, start=1):
            planes, stride = width * 2 ** (number - 1), 1 if number == 1 else 2
            first = _Bottleneck(inputs, planes, stride)
            inputs = 4 * planes
            rest = [_Bottleneck(inputs, planes, 1) for _ in range(1, blocks)]
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
        self.attnpool = _AttentionPool((image_size // 32) ** 2 + 1, channels, channels // head_width, outputs)

    def fold_norms(self) -> None:
        """Put each batch norm into the convolution before it: the same values up to rounding, in 3/4 of the time."""
        for block in [self, *(each for each in self.modules() if isinstance(each, _Bottleneck))]:
            for number in (1, 2, 3):
                fused = fuse_conv_bn_eval(getattr(block, f"conv{number}"), getattr(block, f"bn{number}"))
                setattr(block, f"conv{number}", fused)
                setattr(block, f"bn{number}", nn.Identity())
            if isinstance(downsample := getattr(block, "downsample", None), nn.Sequential):
                pool, conv, norm = downsample
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                block.downsample = nn.Sequential(pool, fuse_conv_bn_eval(conv, norm))

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        for number in (1, 2, 3):
            images_BCHW = F.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(images_BCHW)))
        places_BCHW = F.avg_pool2d(images_BCHW, 2)
        for number in (1, 2, 3, 4):
            places_BCHW = getattr(self, f"layer{number}")(places_BCHW)
        return places_BCHW


class _Bottleneck(nn.Module):
    """A residual block whose stride is an average pool before the last convolution."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * planes
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.pool = nn.AvgPool2d(stride)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            conv, norm = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            self.downsample = nn.Sequential(OrderedDict({"-1": nn.AvgPool2d(stride), "0": conv, "1": norm}))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.bn1(self.conv1(x_BCHW)))
        hidden = self.pool(F.relu(self.bn2(self.conv2(hidden))))
        return F.relu(self.bn3(self.conv3(hidden)) + self.downsample(x_BCHW))


class _AttentionPool(nn.Module):
    """Places ``(B, L, C)`` to one vector ``(B, outputs)``: attention whose one query is their mean."""

    def __init__(self, places: int, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(places, channels))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.c_proj = nn.Linear(channels, outputs)

    def forward(self, places_BLC: torch.Tensor) -> torch.Tensor:
        x_BLC = torch.cat([places_BLC.mean(1, keepdim=True), places_BLC], dim=1) + self.positional_embedding
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(x_BLC[:, :1]), self.k_proj(x_BLC), self.v_proj(x_BLC))
        )
        pooled_B1C = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        pooled: torch.Tensor = self.c_proj(pooled_B1C[:, 0])
        return pooled


class _TextTower(nn.Module):
    """Tokens ``(B, L)`` to hidden states ``(B, L, W)`` of a causal transformer, after its last norm."""

    def __init__(
        self, *, context_length: int, vocab_size: int, width: int, heads: int, layers: int, outputs: int, **_: Any
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(_Block(width, heads) for _ in range(layers))})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, outputs))

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        length = tokens_BL.shape[1]
        states_BLW: torch.Tensor = self.token_embedding(tokens_BL) + self.positional_embedding[:length]
        later_LL = torch.ones(length, length, dtype=torch.bool, device=tokens_BL.device).triu(1)
        for block in self.transformer["resblocks"]:  # type: ignore[attr-defined]
            states_BLW = block(states_BLW, later_LL)
        return self.ln_final(states_BLW)  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": nn.GELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x_BLW: torch.Tensor, later_LL: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(x_BLW)
        x_BLW = x_BLW + self.attn(normed, normed, normed, attn_mask=later_LL, need_weights=False)[0]
        return x_BLW + self.mlp(self.ln_2(x_BLW))  # type: ignore[no-any-return]


def _clean(text: str) -> str:
    """As open_clip cleans texts for tokenizers of its models."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
