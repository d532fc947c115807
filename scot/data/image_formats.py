"""Which format the bytes of a file are in, by their signature: how Pillow opens it."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import TypeAlias, cast

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from scot.data import foreign
from scot.errors import ImageRefused, install_hint

Opener: TypeAlias = Callable[[io.BytesIO], ImageFile]

_OPENERS: tuple[tuple[bytes, str, Opener], ...] = (
    (b"\xff\xd8\xff", "JPEG", JpegImagePlugin.JpegImageFile),  # MPO and motion photos too: their first image
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImagePlugin.PngImageFile),
    (b"GIF87a", "GIF", GifImagePlugin.GifImageFile),
    (b"GIF89a", "GIF", GifImagePlugin.GifImageFile),
    (b"BM", "BMP", BmpImagePlugin.BmpImageFile),
    (b"II*\0", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", "TIFF", TiffImagePlugin.TiffImageFile),
)

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


def opener_of(data: bytes) -> tuple[str, Opener]:
    """The format's name, and what opens its header without decoding.

    Raises:
        ImageRefused: ``unsupported_format`` or ``not_an_image`` (:mod:`scot.data.foreign`).
    """
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP", WebPImagePlugin.WebPImageFile
    for magic, name, opener in _OPENERS:
        if data.startswith(magic):
            return name, opener
    if data[4:8] == b"ftyp" and (found := _of_brands(data)) is not None:
        return found
    raise foreign.refusal(data)


def _of_brands(data: bytes) -> tuple[str, Opener] | None:
    """AVIF or HEIF, by the brands in the first box of their container (ISO/IEC 14496-12); None for videos."""
    length = min(int.from_bytes(data[:4], "big"), 256)
    major, *compatible = [data[at : at + 4] for at in (8, *range(16, length, 4))]
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and _AVIF_BRANDS.intersection(compatible)):
        return "AVIF", AvifImagePlugin.AvifImageFile
    return ("HEIC", _heif_opener()) if major in _HEIF_BRANDS else None


def _heif_opener() -> Opener:
    try:
        plugin = importlib.import_module("pillow_heif.as_plugin")
    except ImportError:
        raise ImageRefused(
            "unsupported_format",
            f"the file is a HEIC image, which needs the package pillow-heif: {install_hint('heic')}, "
            "or convert it to JPEG",
        ) from None
    return cast(Opener, plugin.HeifImageFile)
