"""From bytes that someone sent to pixels that an encoder reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scot.data.images import decode_image

if TYPE_CHECKING:
    from scot.encoders.base import Frontend, Pixels


def preprocess(frontend: Frontend, image: bytes) -> Pixels:
    """Decode safely, then resize and crop as the encoder was trained, to ``(H, W, 3)`` uint8. Raises ImageRefused."""
    return frontend.preprocess(decode_image(image))
