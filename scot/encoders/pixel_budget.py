"""How pictures are resized for models that read them at their own aspect ratio, within a number of pixels.

This is ``smart_resize`` of Qwen2-VL (transformers, qwen-vl-utils), with Pillow alone: a process without towers needs
neither. An image processor that does the same leaves the result as it is. ``tests/unit/encoders/test_pixel_budget.py``
compares both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from scot.encoders.resizing import Pixels
from scot.errors import ImageRefused

_MOST_RATIO = 200


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """Any RGB image to ``(H, W, 3)`` of its own aspect ratio; a value that can be sent to another process."""

    most: int
    """Pixels at most; a larger image is shrunk."""
    least: int = 0
    """Pixels at least; a smaller image is enlarged."""
    multiple: int = 1
    """Both edges become multiples of this."""
    resample: Image.Resampling = Image.Resampling.BICUBIC

    def __call__(self, image: Image.Image) -> Pixels:
        """Resize to uint8 ``(H, W, 3)``. Raises ImageRefused: one edge is more than 200 times as long as the other."""
        size = self.resized(*image.size)
        return np.asarray((image if image.size == size else image.resize(size, self.resample)).convert("RGB"), np.uint8)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """The width and height after resizing. Raises ImageRefused as a call does."""
        if max(width, height) > _MOST_RATIO * min(width, height):
            raise ImageRefused(
                "too_narrow", f"the image has {width} x {height} pixels, and its edges differ by more than 200 times"
            )
        edges = (height, width)
        to = [round(edge / self.multiple) * self.multiple for edge in edges]
        if math.prod(to) > self.most:
            shrink = math.sqrt(height * width / self.most)
            to = [max(self.multiple, math.floor(edge / shrink / self.multiple) * self.multiple) for edge in edges]
        elif math.prod(to) < self.least:
            enlarge = math.sqrt(self.least / (height * width))
            to = [math.ceil(edge * enlarge / self.multiple) * self.multiple for edge in edges]
        return to[1], to[0]
