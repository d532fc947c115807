"""Encoders by name: ``blip2:…`` through transformers (``scot.encoders.blip2``), all else through open_clip."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from scot.encoders.base import Encoder, Frontend
from scot.errors import InvalidInput

Loaded = TypeVar("Loaded")

_DTYPES = ("float32", "bfloat16", "float16")


def load_frontend(name: str) -> Frontend:
    """The preprocessing and tokenizer of an encoder, without its weights.

    Raises:
        InvalidInput: there is no such encoder, or it cannot be read.
    """
    loaded: Frontend = _clearly(name, lambda: _family(name).frontend(name))
    return loaded


def load_encoder(name: str = "tiny", *, device: str | None = None, dtype: str | None = None) -> Encoder:
    """Load an encoder by name.

    Args:
        name: ``tiny``, ``NAME/PRETRAINED``, ``hf-hub:ORG/REPO`` or ``local-dir:PATH`` for open_clip;
            ``blip2:ORG/REPO`` or ``blip2:local-dir:PATH`` for BLIP-2.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; by default a GPU if there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16`` for the towers; by default float32 on CPU and bfloat16 on a GPU.

    Raises:
        InvalidInput: the name, device or dtype cannot be loaded; the message says why.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    if dtype not in _DTYPES:
        raise InvalidInput(f"dtype must be float32, bfloat16 or float16, not {dtype!r}")
    loaded: Encoder = _clearly(name, lambda: _family(name).encoder(name, device=device, dtype=getattr(torch, dtype)))
    return loaded


def _family(name: str) -> Any:
    """The module that loads it; transformers is imported only for BLIP-2."""
    return importlib.import_module("scot.encoders.blip2" if name.startswith("blip2:") else "scot.encoders.clip")


def _clearly(name: str, load: Callable[[], Loaded]) -> Loaded:
    """Run a loader; any error of a library, the hub or the disk becomes one sentence that names the encoder."""
    try:
        return load()
    except InvalidInput:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(f"encoder {name!r} cannot be loaded: {reason}") from error
