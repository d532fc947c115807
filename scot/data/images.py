"""Safe decoding of untrusted bytes into an upright RGB image, or a refusal with its reason.

Limits are applied to the header before any pixel is decoded, so an image that would expand to gigabytes costs nothing.
Pillow's plugins are called directly, one per signature: no other format is tried, and nothing depends on Pillow's
process-wide settings, so many threads can decode at once. An AVIF or HEIC header that hides larger images is bounded
by the limits of libavif and libheif: half a gigabyte.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin, TiffImagePlugin
from PIL.ImageFile import ImageFile

from scot.data.image_formats import opener_of
from scot.data.srgb import to_srgb
from scot.errors import ImageRefused

REASONS: dict[str, str] = {
    "empty": "no bytes at all",
    "too_large": "more bytes than the limit",
    "too_many_pixels": "more pixels, or a longer side, than the limit, according to the header",
    "too_complex": "a file built to be slow: hundreds of JPEG scans",
    "not_an_image": "bytes of no known image format: an HTML page, a Git LFS pointer, a video …",
    "unsupported_format": "an image that SCOT does not decode: SVG, PDF, CIELAB, HEIC without its extra …",
    "truncated": "the end of the file is missing",
    "corrupt": "a known format, but its content is broken",
    "missing": "no file under that name",
    "unreadable": "a file that cannot be read",
}
"""Every ``ImageRefused.reason`` of decoding or reading an image, and its meaning."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of an image. Decoding takes at most about eight bytes a pixel: 0.5 GB at the default limit."""

    max_bytes: int = 20 * 2**20
    """Size of the file, in bytes."""
    max_pixels: int = 64_000_000
    """Width times height."""
    max_side: int = 16_384
    """The longer side, in pixels."""
    max_scans: int = 100
    """Scans of a progressive JPEG; usual ones have about ten."""
    jpeg_side: int = 512
    """Decode a JPEG at 1/2, 1/4 or 1/8 of its size as long as both sides are at least this long; 0: at full size."""


DEFAULT_LIMITS = ImageLimits()

_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a JPEG segment, among the bytes of a scan too
_MAX_SEGMENTS = 10_000
_TILE_TAGS = (322, 323)  # TIFF TileWidth, TileLength


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS, *, plain: bool = False) -> Image.Image:
    """Decode PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC bytes to an upright sRGB image.

    EXIF orientation is applied, transparency becomes white, colour profiles are converted to sRGB, 16-bit grey keeps
    its brightness, and a file of several images (animation, MPO, motion photo) gives the first. A large JPEG may be
    decoded smaller (:attr:`ImageLimits.jpeg_side`). ``plain`` is Pillow's ``convert("RGB")`` instead, as in published
    evaluation code.

    Raises:
        ImageRefused: with one of :data:`REASONS`.
    """
    if not data:
        raise ImageRefused("empty", "the image is empty")
    if len(data) > limits.max_bytes:
        raise ImageRefused("too_large", f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted")
    name, opener = opener_of(data)
    try:
        _check_before_opening(name, data, limits)
        image = opener(io.BytesIO(data))
        _check_opened(name, image, limits)
        if isinstance(image, JpegImagePlugin.JpegImageFile) and limits.jpeg_side:
            image.draft("RGB", (limits.jpeg_side, limits.jpeg_side))
        image.load()
        return image.convert("RGB") if plain else upright(image)
    except ImageRefused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageRefused("too_many_pixels", f"the {name} image has too many pixels") from None
    except Exception as error:  # Pillow's plugins raise many kinds of exceptions for malicious bytes
        raise _refusal(name, error) from error


def upright(image: Image.Image) -> Image.Image:
    """A Pillow image as :func:`decode_image` returns it from its file: a new sRGB image, turned as its EXIF data says.

    Raises:
        ImageRefused: ``unsupported_format`` for CIELAB.
    """
    rgb, transpose = to_srgb(image), _UPRIGHT.get(_orientation(image))
    return rgb if transpose is None else rgb.transpose(transpose)


def _check_before_opening(name: str, data: bytes, limits: ImageLimits) -> None:
    """The checks that must come before Pillow's plugin reads the bytes."""
    if name == "WebP":
        # The plugin allocates two canvases when it opens the file, so the size must be checked first.
        if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise ImageRefused("truncated", "the WebP image is truncated")
        _check_size(name, *_webp_size(data), limits)
    elif name == "JPEG" and data.count(_SCAN) > limits.max_scans and (scans := _jpeg_scans(data)) > limits.max_scans:
        raise ImageRefused("too_complex", f"the JPEG image has {scans:,} scans; at most {limits.max_scans} are decoded")


def _check_opened(name: str, image: ImageFile, limits: ImageLimits) -> None:
    """The checks on the header that the plugin read, before it decodes."""
    _check_size(name, *image.size, limits)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A small image can declare one very large tile, for which libtiff allocates a buffer.
        tile_width, tile_height = (int(image.tag_v2.get(tag, 1)) for tag in _TILE_TAGS)
        _check_size(name, tile_width, tile_height, limits)
    if any(tile[0] == "bmp_rle" for tile in image.tile):
        # Pillow decodes these in a Python loop, at seconds per megabyte, and they are very rare.
        raise ImageRefused("unsupported_format", "run-length encoded BMP images are not supported")


def _check_size(name: str, width: int, height: int, limits: ImageLimits) -> None:
    if width < 1 or height < 1:
        raise ImageRefused("corrupt", f"the {name} image has no pixels")
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise ImageRefused(
            "too_many_pixels",
            f"the {name} image is {width:,} × {height:,} pixels; at most {limits.max_pixels:,} pixels "
            f"and {limits.max_side:,} a side are accepted",
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas width and height from the first chunk (RFC 9649); ``data`` holds at least 30 bytes."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ImageRefused("corrupt", "the WebP image is broken: its first chunk is not an image")


def _jpeg_scans(data: bytes) -> int:
    """The scans of a JPEG's first image (ITU-T T.81, B.1.1), without those of a second image or a video behind it."""
    scans, at = 0, 2
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(data, at)
        if marker is None or marker[0] == b"\xff\xd9":
            return scans
        scans += marker[0] == _SCAN
        at = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
    return data.count(_SCAN)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # an image with broken metadata is still usable
        return 1


def _refusal(name: str, error: Exception) -> ImageRefused:
    message = str(error).lower()
    words = ("truncated", "not enough", "eof", "ended", "end of file", "insufficient")
    if isinstance(error, EOFError | struct.error) or any(word in message for word in words):
        return ImageRefused("truncated", f"the {name} image is truncated")
    return ImageRefused("corrupt", f"the {name} image is broken and cannot be decoded")
