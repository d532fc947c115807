"""Jobs for the composers, of one turn."""

from __future__ import annotations

from typing import Any

from scot.client import Edit
from services.search.composer.messages import ComposeJob, ComposeTurn


def job(*texts: str, image: Any = None, vector: Any = None, composer: str = "sum", **fields: Any) -> ComposeJob:
    """From the pixels of an image, a vector or nothing, and plain edits."""
    images = () if image is None else ((image, 1.0),)
    turn = ComposeTurn(images, vector, 0.0 if vector is None else 1.0, tuple(map(Edit, texts)))
    return ComposeJob((turn,), composer, **fields)
