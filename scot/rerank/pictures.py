"""Pictures as a judge is sent them."""

from __future__ import annotations

import io

from PIL import Image

SIDE = 448
"""The longest side of a picture, in pixels: 256 patches of 28 pixels, which the common models read at most."""
_QUALITY = 90


def picture_bytes(image: Image.Image) -> bytes:
    """An RGB image as JPEG, at most :data:`SIDE` pixels a side, never enlarged."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
