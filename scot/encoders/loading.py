"""Encoders by name: ``tiny`` is packaged, ``blip2:…`` comes through transformers, ``st:…`` through
sentence-transformers, all else through open_clip.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from scot.encoders.base import Encoder
from scot.errors import InvalidInput

_DTYPES = ("float32", "bfloat16", "float16")


def load_encoder(name: str = "tiny", *, device: str | None = None, dtype: str | None = None) -> Encoder:
    """Load an encoder by name.

    Args:
        name: ``tiny``, ``NAME/PRETRAINED``, ``hf-hub:ORG/REPO`` or ``local-dir:PATH`` for open_clip;
            ``blip2:ORG/REPO`` or ``blip2:local-dir:PATH`` for BLIP-2; ``st:ORG/REPO`` or ``st:local-dir:PATH`` for a
            multimodal embedder.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; by default a GPU if there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16`` for the towers; by default float32 on CPU and bfloat16 on a GPU.

    Raises:
        InvalidInput: the name, device or dtype cannot be loaded; the message says why.
    """
    import torch  # here, for processes that need only scot.encoders.resizing

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    if dtype not in _DTYPES:
        raise InvalidInput(f"dtype must be float32, bfloat16 or float16, not {dtype!r}")
    try:
        loaded: Encoder = _family(name).encoder(name, device=device, dtype=getattr(torch, dtype))
    except InvalidInput:
        raise
    except Exception as error:  # of a library, the hub or the disk
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(f"encoder {name!r} cannot be loaded: {reason}") from error
    return loaded


def _family(name: str) -> Any:
    """The module that loads it; each library is imported only for its own models."""
    module = {"tiny": "packaged", "blip2:": "blip2", "st:": "embedder"}.get(name[: name.find(":") + 1] or name, "clip")
    if module == "embedder" and importlib.util.find_spec("sentence_transformers") is None:
        raise InvalidInput(f"encoder {name!r} needs sentence-transformers: pip install 'scot-search[embedders]'")
    return importlib.import_module(f"scot.encoders.{module}")
