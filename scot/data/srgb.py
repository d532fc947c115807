"""Any mode of Pillow to 8-bit sRGB: colour profiles applied, deep greys scaled, transparency as white."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product

from PIL import Image, ImageCms

from scot.errors import ImageRefused

_WHITE = (255, 255, 255)
_MAX_PROFILE_BYTES = 4 * 2**20  # the largest profiles of printers have less; longer ones are ignored
_NEAR = 2  # of 255: a profile that changes no colour by more is sRGB under another name


def to_srgb(image: Image.Image) -> Image.Image:
    """A new RGB image of the same pixels, without metadata.

    An embedded ICC profile is converted to sRGB; one that is broken, or belongs to another mode, is ignored. Deep greys
    are not clipped, and have no profile.

    Raises:
        ImageRefused: ``unsupported_format`` for CIELAB.
    """
    rgb = _to_srgb(image)
    rgb.info = {}  # a profile or a transparent colour that is already applied would be saved with the image
    return rgb


def _to_srgb(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(image)
    if image.mode == "LAB":
        raise ImageRefused("unsupported_format", "CIELAB images are not supported")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colors = _without_profile(rgba, image.info.get("icc_profile"))
        rgb = Image.new("RGB", rgba.size, _WHITE)
        rgb.paste(colors, mask=rgba.getchannel("A"))
        return rgb
    return _without_profile(image, image.info.get("icc_profile"))


def _without_profile(image: Image.Image, profile: object) -> Image.Image:
    """RGB without alpha, converted from the profile's colours to sRGB if there is a usable one."""
    mode = {"CMYK": "CMYK", "L": "L", "LA": "L"}.get(image.mode, "RGB")
    # An RGB image is copied too: the plugin's object would keep the compressed bytes in memory.
    plain = image.copy() if image.mode == mode else image.convert(mode)
    transform = _transform(profile, mode) if isinstance(profile, bytes) else None
    if transform is not None:
        return transform.apply(plain)
    return plain if mode == "RGB" else plain.convert("RGB")


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What converts the profile's colours to sRGB; None if nothing would change, or the profile cannot be used."""
    if len(profile) > _MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.ImageCmsTransform(source, _srgb(), mode, "RGB")
        samples = _samples(mode)
        converted = transform.apply(samples)
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return None
    if mode != "CMYK":
        pairs = zip(samples.convert("RGB").tobytes(), converted.tobytes(), strict=True)
        if all(abs(before - after) <= _NEAR for before, after in pairs):
            return None
    return transform


def _samples(mode: str) -> Image.Image:
    """Colours from all over a mode's range, one a pixel."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = bytes(value for color in product(range(0, 256, 51), repeat=bands) for value in color)
    return Image.frombytes(mode, (len(values) // bands, 1), values)


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits: a 16-bit range keeps its brightness, others are stretched from their own extremes."""
    import numpy as np  # here, since the client reads images without it

    grey_HW = np.asarray(image).astype(np.float32)
    finite_HW = np.nan_to_num(grey_HW, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite_HW.min()), float(finite_HW.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0:
        bounds = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next((bound for bound in bounds if high <= bound), high)
    scaled_HW = (finite_HW - low) * (255.0 / max(high - low, 1e-12))
    result_HW = np.clip(np.rint(scaled_HW), 0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        result_HW[grey_HW == clear] = 255
    return Image.fromarray(result_HW).convert("RGB")
