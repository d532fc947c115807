"""How images are resized and cropped for an encoder, with Pillow alone.

open_clip's transforms do the same, but importing torchvision takes seconds; a process without towers, such as the
Gateway of the search service, needs only this. ``tests/unit/encoders/test_resizing.py`` compares both, pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""An image ``(H, W, 3)`` as an encoder reads it: resized and cropped, not yet normalised."""
Fit = Literal["shortest", "longest", "squash"]
"""Which edge fits the size: the shorter one (then cropped), the longer one (then padded), or both (distorted)."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """Any RGB image to ``(H, W, 3)``; a value that can be sent to another process."""

    size: tuple[int, int]
    """Height and width."""
    fit: Fit = "shortest"
    resample: Image.Resampling = Image.Resampling.BICUBIC
    fill: int = 0
    """The gray level of what is padded, when the longer edge fits."""

    def __call__(self, image: Image.Image) -> Pixels:
        """Resize, then crop or pad at the center, to uint8 ``(H, W, 3)``."""
        image = image.resize(self._resized(*image.size), self.resample)
        if self.fit != "squash":
            image = _centered(image, self.size, self.fill if self.fit == "longest" else 0)
        return np.asarray(image.convert("RGB"), dtype=np.uint8)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """The width and height after resizing, rounded as torchvision and timm round them."""
        to_height, to_width = self.size
        if self.fit == "squash":
            return to_width, to_height
        if self.fit == "shortest" and to_height == to_width:
            longer = int(to_height * max(width, height) / min(width, height))
            return (to_width, longer) if width <= height else (longer, to_height)
        ratios = height / to_height, width / to_width
        ratio = min(ratios) if self.fit == "shortest" else max(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))


def _centered(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """Crop or pad at the center to a height and width."""
    height, width = size
    left, top = _offset(image.width, width), _offset(image.height, height)
    if image.width >= width and image.height >= height:
        return image.crop((left, top, left + width, top + height))
    canvas = Image.new(image.mode, (width, height), (fill,) * len(image.getbands()))
    canvas.paste(image, (-left, -top))
    return canvas


def _offset(have: int, want: int) -> int:
    """Where a crop begins; negative: how much is padded before it."""
    return round((have - want) / 2) if have >= want else -((want - have) // 2)
