"""Pictures of every common format, and what only says that it is one."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.support.image_headers import gif_header, png_chunk, png_header, tiff_header, webp_header


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(width: int, height: int, *chunks: bytes, bits: int = 8) -> bytes:
    """A PNG of RGB with this header and these chunks."""
    return png_header(width, height, bits) + b"".join(chunks) + png_chunk(b"IEND", b"")


@cache
def zeros(size: int = 2**28) -> bytes:
    """That many zeros, deflated to a thousandth."""
    deflate = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [deflate.compress(block[: min(len(block), size - at)]) for at in range(0, size, len(block))]
    return b"".join([*parts, deflate.flush()])


def png_with(*chunks: bytes) -> bytes:
    """A small PNG with more chunks before its pixels."""
    data = encoded(noise(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def _palette_alpha() -> bytes:
    image = noise().quantize(16)
    return encoded(image, "PNG", transparency=bytes(range(0, 160, 10)))


def _sixteen_bit_rgb() -> bytes:
    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    return png(8, 8, png_chunk(b"IDAT", zlib.compress(rows)), bits=16)


_FRAMES = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
_GREY_16 = Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8))

GOOD_IMAGES: dict[str, bytes] = {
    "PNG": encoded(noise(), "PNG"),
    "PNG, 16-bit grey": encoded(_GREY_16, "PNG"),
    "PNG, 16-bit RGB": _sixteen_bit_rgb(),
    "PNG, palette with alpha": _palette_alpha(),
    "PNG, RGBA": encoded(noise().convert("RGBA"), "PNG"),
    "PNG, grey with alpha": encoded(noise().convert("LA"), "PNG"),
    "PNG, one bit": encoded(noise().convert("1"), "PNG"),
    "PNG, 1 × 1": encoded(noise(1, 1), "PNG"),
    "PNG, 1 × 4,000": encoded(noise(1, 4_000), "PNG"),
    "PNG, animated": encoded(_FRAMES[0], "PNG", save_all=True, append_images=_FRAMES[1:]),
    "JPEG": encoded(noise(), "JPEG"),
    "JPEG, CMYK": encoded(noise().convert("CMYK"), "JPEG"),
    "JPEG, grey": encoded(noise().convert("L"), "JPEG"),
    "JPEG, progressive": encoded(noise(), "JPEG", progressive=True),
    "JPEG, 1 × 1": encoded(noise(1, 1), "JPEG"),
    "WebP": encoded(noise(), "WEBP"),
    "WebP, lossless with alpha": encoded(noise().convert("RGBA"), "WEBP", lossless=True),
    "WebP, animated": encoded(_FRAMES[0], "WEBP", save_all=True, append_images=_FRAMES[1:]),
    "GIF": encoded(noise().quantize(32), "GIF"),
    "GIF, animated": encoded(_FRAMES[0], "GIF", save_all=True, append_images=_FRAMES[1:], duration=50),
    "BMP": encoded(noise(), "BMP"),
    "AVIF": encoded(noise(), "AVIF"),
    "TIFF": encoded(noise(), "TIFF"),
    "TIFF, LZW": encoded(noise(), "TIFF", compression="tiff_lzw"),
    "TIFF, CMYK": encoded(noise().convert("CMYK"), "TIFF"),
    "TIFF, float": encoded(Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "TIFF"),
    # Deflated data beyond the last row is never read.
    "PNG, pixels and 256 MB of zeros": png(8, 8, png_chunk(b"IDAT", zeros())),
}


def _bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 10**6, 0, 0, 54) + info + bytes(64)


def _jpeg_header(width: int, height: int) -> bytes:
    data = encoded(noise(16, 16), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


_TEXT = {
    "zTXt": (b"zTXt", b"Comment\0\0"),
    "iTXt": (b"iTXt", b"Comment\0\1\0\0\0"),
    "iCCP": (b"iCCP", b"profile\0\0"),
}

REFUSED_IMAGES: dict[str, Callable[[], bytes]] = {
    "nothing of a picture": lambda: b"\0",
    "text": lambda: b"hello, this is no picture",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><script>alert(1)</script></svg>',
    "SVG with a prologue": lambda: b'\xef\xbb\xbf<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg/>',
    "PDF": lambda: b"%PDF-1.7\n%%EOF",
    "HEIC": lambda: b"\0\0\0\x18ftypheic" + bytes(64),
    "a Git LFS pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "ICO": lambda: b"\0\0\1\0\1\0\x10\x10" + bytes(64),
    "PNG, header of 60,000 × 60,000": lambda: png(60_000, 60_000, png_chunk(b"IDAT", zeros(2**20))),
    "PNG, all of 60,000 × 60,000": lambda: png(60_000, 60_000, png_chunk(b"IDAT", zeros())),
    "GIF, header of 60,000 × 60,000": lambda: gif_header(60_000, 60_000),
    "WebP, header of 16,384 × 16,384": lambda: webp_header(16_384, 16_384),
    "WebP, the largest header": lambda: webp_header(2**24, 2**24),
    "TIFF, header of 60,000 × 60,000": lambda: tiff_header(60_000, 60_000),
    "BMP, header of 60,000 × 60,000": lambda: _bmp_header(60_000, 60_000),
    "JPEG, header of 60,000 × 60,000": lambda: _jpeg_header(60_000, 60_000),
    **{
        f"PNG, 256 MB of {name}": lambda kind=kind, head=head: png_with(png_chunk(kind, head + zeros()))
        for name, (kind, head) in _TEXT.items()
    },
    **{
        f"{name}, cut in half": lambda name=name: GOOD_IMAGES[name][: len(GOOD_IMAGES[name]) // 2]
        for name in ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF")
    },
    "JPEG, a thousand scans": lambda: _scans(1_000),
}


def _scans(number: int) -> bytes:
    data = encoded(noise(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * number + data[-2:]
