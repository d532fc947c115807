from __future__ import annotations

import io
import struct
import sys
import threading
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from scot.data.images import REASONS, ImageLimits, decode_image, upright
from scot.errors import ImageRefused, InvalidInput
from tests.support.bad_images import GOOD_IMAGES
from tests.support.foreign_images import FOREIGN_IMAGES, QUARTERS
from tests.support.image_headers import gif_header, png_chunk, png_header, tiff_header, webp_header

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def quarters() -> Image.Image:
    """32 × 48: red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (32, 48), WHITE)
    image.paste(RED, (0, 0, 16, 24))
    image.paste(GREEN, (16, 0, 32, 24))
    image.paste(BLUE, (0, 24, 16, 48))
    return image


def noise(width: int = 60, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(width: int, height: int) -> bytes:
    """A header, and pixels that are far too few for it."""
    return png_header(width, height) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def decoded_or_reason(data: bytes) -> Image.Image | str:
    try:
        return decode_image(data)
    except ImageRefused as refusal:
        return refusal.reason


def bmp_header(width: int, height: int, compression: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 if compression else 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 10**6, 0, 0, 54 + 1024) + info + bytes(1024 + 64)


def jpeg_header(width: int, height: int) -> bytes:
    data = encoded(noise(16, 16), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_decodes_to_rgb_of_its_own_size(format: str) -> None:
    image = decode_image(encoded(quarters(), format))
    assert (image.mode, image.size) == ("RGB", (32, 48))
    for at, colour in {(8, 12): RED, (24, 12): GREEN, (8, 36): BLUE, (24, 36): WHITE}.items():
        assert np.abs(np.subtract(image.getpixel(at), colour)).max() < 40, at


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = quarters()
    if orientation in turned:
        # Store the picture turned the other way: 6 and 8 undo each other, the rest undo themselves.
        stored = stored.transpose(Image.Transpose(turned[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 95} if format != "PNG" else {}
    image = decode_image(encoded(stored, format, exif=exif, **options))
    assert image.size == (32, 48)
    assert np.abs(np.subtract(image.getpixel((8, 12)), RED)).max() < 40
    assert np.abs(np.subtract(image.getpixel((24, 12)), GREEN)).max() < 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_cost_the_picture() -> None:
    assert decode_image(encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 20)).size == (60, 40)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_white(format: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 4, 8))
    image.putpixel((7, 7), (0, 0, 0, 128))
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode_image(encoded(image, format, **options))
    assert decoded.getpixel((1, 1)) == RED
    assert decoded.getpixel((6, 1)) == WHITE
    assert decoded.getpixel((7, 7)) == (127, 127, 127)


def test_grey_with_alpha_is_laid_on_white() -> None:
    image = Image.new("LA", (8, 8), (0, 0))
    image.paste((0, 255), (0, 0, 4, 8))
    decoded = decode_image(encoded(image, "PNG"))
    assert (decoded.getpixel((1, 1)), decoded.getpixel((6, 1))) == ((0, 0, 0), WHITE)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_transparency_is_laid_on_white(format: str) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(1, (0, 0, 4, 8))
    decoded = decode_image(encoded(image, format, transparency=0))
    assert (decoded.getpixel((1, 1)), decoded.getpixel((6, 1))) == (RED, WHITE)


def test_palette_with_partial_alpha_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert decode_image(encoded(image, "PNG", transparency=bytes([128, 255]))).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize(("mode", "clear"), [("RGB", (0, 0, 0)), ("L", 0), ("1", 0), ("I;16", 0)])
def test_a_transparent_colour_is_laid_on_white(mode: str, clear: Any) -> None:
    image = Image.new(mode, (4, 4), 0)
    assert decode_image(encoded(image, "PNG", transparency=clear)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert decode_image(data).getpixel((4, 4)) == RED


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_brightness(format: str) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, axis=0)
    decoded = np.asarray(decode_image(encoded(Image.fromarray(ramp), format)))
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_dark_16_bit_grey_stays_dark() -> None:
    dark = np.full((4, 4), 300, dtype=np.uint16)
    assert decode_image(encoded(Image.fromarray(dark), "PNG")).getpixel((0, 0)) == (1, 1, 1)


def test_float_grey_from_zero_to_one_is_scaled() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    decoded = np.asarray(decode_image(encoded(Image.fromarray(ramp), "TIFF")))
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_float_grey_with_nan_and_infinity_decodes() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.0, 1.0]], dtype=np.float32)
    assert decode_image(encoded(Image.fromarray(values), "TIFF")).getpixel((4, 0)) == WHITE


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colours(format: str) -> None:
    decoded = decode_image(encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), format))
    assert np.abs(np.subtract(decoded.getpixel((8, 8)), RED)).max() < 8


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(format: str) -> None:
    image = Image.new("1", (16, 16), 0)
    image.paste(1, (0, 0, 8, 16))
    decoded = decode_image(encoded(image, format))
    assert (decoded.getpixel((2, 2)), decoded.getpixel((12, 2))) == (WHITE, (0, 0, 0))


@pytest.mark.parametrize("format", FORMATS)
def test_grey_becomes_rgb(format: str) -> None:
    decoded = decode_image(encoded(Image.new("L", (16, 16), 100), format))
    assert np.abs(np.subtract(decoded.getpixel((8, 8)), (100, 100, 100))).max() <= 2


def test_a_large_jpeg_is_decoded_smaller_and_a_limit_turns_that_off() -> None:
    data = encoded(noise(2400, 1600), "JPEG", quality=50)
    assert decode_image(data).size == (1200, 800)
    assert decode_image(data, ImageLimits(jpeg_side=0)).size == (2400, 1600)


BOMBS = {
    "PNG": png(60_000, 60_000),
    "GIF": gif_header(60_000, 60_000),
    "WebP": webp_header(16_384, 16_384),
    "WebP, the largest header": webp_header(2**24, 2**24),
    "TIFF": tiff_header(60_000, 60_000),
    "TIFF, one tile": tiff_header(64, 64, tile=60_000),
    "BMP": bmp_header(60_000, 60_000),
    "BMP, upside down": bmp_header(60_000, -60_000),
    "JPEG": jpeg_header(60_000, 60_000),
    "PNG, thin": png(1, 2**31 - 1),
    "PNG, just over": png(8_001, 8_001),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_from_its_header(name: str) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ImageRefused, match="pixels") as refused:
        decode_image(BOMBS[name])
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.reason == "too_many_pixels"
    assert peak < 4 * 2**20
    assert seconds < 1  # milliseconds; a loaded machine may take its time


def test_a_bomb_does_not_grow_the_process() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in BOMBS.values():
        with pytest.raises(ImageRefused):
            decode_image(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB on Linux


def test_a_png_whose_text_expands_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2**26, 9))
    data = encoded(noise(), "PNG")
    with pytest.raises(ImageRefused):
        decode_image(data[:33] + bomb + data[33:])


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageRefused) as refused:
        decode_image(data[:-2] + scan * 1000 + data[-2:])
    assert refused.value.reason == "too_complex"


def test_run_length_bmp_is_refused() -> None:
    with pytest.raises(ImageRefused) as refused:
        decode_image(bmp_header(64, 64, compression=1))
    assert refused.value.reason == "unsupported_format"


def test_too_many_bytes_are_refused_before_anything_else() -> None:
    with pytest.raises(ImageRefused, match="at most 100") as refused:
        decode_image(b"x" * 101, ImageLimits(max_bytes=100))
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not_an_image"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not_an_image"),
        (b"\0" * 5000, "not_an_image"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_format"),
        (b"\xef\xbb\xbf  <SVG></SVG>", "unsupported_format"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"8BPS\0\1", "unsupported_format"),
        (b"\0\0\1\0\1\0\x10\x10", "unsupported_format"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused) as refused:
        decode_image(data)
    assert refused.value.reason == reason


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_truncated_picture_is_refused(format: str, part: float) -> None:
    data = encoded(noise(), format)
    with pytest.raises(ImageRefused) as refused:
        decode_image(data[: int(len(data) * part)])
    # An AVIF file's boxes come first: without their end it is not known that something is missing.
    assert refused.value.reason == "truncated" or (format, part, refused.value.reason) == ("AVIF", 0.5, "corrupt")


@pytest.mark.parametrize("format", FORMATS)
def test_any_shorter_prefix_is_refused_or_whole(format: str) -> None:
    data = encoded(noise(), format)
    whole = decode_image(data)
    for length in range(1, len(data), 37):
        outcome = decoded_or_reason(data[:length])
        if isinstance(outcome, Image.Image):
            assert outcome.tobytes() == whole.tobytes()
        else:
            assert outcome in ("truncated", "corrupt", "not_an_image")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(64), "the AVIF image is broken"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(64), "is a camera RAW file"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42" + bytes(64), r"is a video \(MP4, QuickTime\)"),
        (b"<!doctype html><title>404</title>", "is an HTML page.*: download the image again"),
        (b"\n<HTML lang=en>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer.*`git lfs pull`"),
        (b"../.git/annex/objects/xx/MD5E-s1--0.jpg", "is a git-annex pointer"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
        (b'{"error": "rate limit"}', "is a JSON document"),
        (b"<svg/>", "is an SVG drawing.*: render it as PNG"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"PK\3\4zip", "is a ZIP archive"),
        (b"\0\5\x16\7" + bytes(100), "is a resource file of macOS"),
        (b"P6\n1 1\n255\nxxx", "is a Netpbm image"),
        (bytes(100), "is nothing but zeros"),
        (b"hello", "is plain text"),
        (b"\x9c\x81\x02", "is of no format that SCOT knows"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ImageRefused, match=message):
        decode_image(data)


def test_a_cielab_picture_is_unsupported() -> None:
    with pytest.raises(ImageRefused) as refused:
        decode_image(encoded(Image.new("LAB", (4, 4)), "TIFF"))
    assert refused.value.reason == "unsupported_format"


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(ImageRefused, match=r"is a HEIC image, which needs .*scot-search\[heic\]") as refused:
        decode_image(FOREIGN_IMAGES["HEIC"])
    assert refused.value.reason == "unsupported_format"


@pytest.mark.parametrize("name", FOREIGN_IMAGES)
def test_images_of_other_programs_have_the_same_colours(name: str) -> None:
    if name.startswith("HEIC"):
        pytest.importorskip("pillow_heif")
    image = decode_image(FOREIGN_IMAGES[name])
    if "on its side" in name:
        image = image.transpose(Image.Transpose.ROTATE_270)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    for at, colour in QUARTERS.items():
        assert np.abs(np.subtract(image.getpixel(at), colour)).max() <= 5, at


def test_a_heic_image_is_refused_by_its_size_and_when_it_is_cut() -> None:
    pytest.importorskip("pillow_heif")
    data = FOREIGN_IMAGES["HEIC"]
    with pytest.raises(ImageRefused, match="64 × 48 pixels") as refused:
        decode_image(data, ImageLimits(max_pixels=64 * 48 - 1))
    assert refused.value.reason == "too_many_pixels"
    for length in range(12, len(data), 31):
        with pytest.raises(ImageRefused) as refused:
            decode_image(data[:length])
        assert refused.value.reason in ("truncated", "corrupt")


@pytest.mark.parametrize("name", [name for name in FOREIGN_IMAGES if "Adobe" in name and not name.startswith("HEIC")])
def test_the_profile_makes_the_colours(name: str) -> None:
    data = FOREIGN_IMAGES[name]
    assert np.abs(np.subtract(decode_image(data, plain=True).getpixel((50, 10)), QUARTERS[50, 10])).max() > 50
    without = Image.open(io.BytesIO(data)).convert("RGB")
    without.info.pop("icc_profile")
    assert np.abs(np.subtract(upright(without).getpixel((50, 10)), QUARTERS[50, 10])).max() > 50


def adobe_rgb() -> bytes:
    profile = Image.open(io.BytesIO(FOREIGN_IMAGES["JPEG, Adobe RGB"])).info["icc_profile"]
    assert isinstance(profile, bytes)
    return profile


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", b"no profile"), ("RGB", adobe_rgb()[:300]), ("L", adobe_rgb()), ("CMYK", adobe_rgb())],
    ids=["broken", "cut", "grey with a profile of RGB", "CMYK with a profile of RGB"],
)
def test_a_profile_that_does_not_fit_is_ignored(mode: str, profile: bytes) -> None:
    image = quarters().convert(mode)
    assert (
        decode_image(encoded(image, "JPEG", icc_profile=profile)).tobytes()
        == decode_image(encoded(image, "JPEG")).tobytes()
    )


def test_a_profile_of_srgb_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_image(encoded(noise(), "PNG", icc_profile=profile)).tobytes() == noise().tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_a_profile_and_transparency_together(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (115, 198, 56, 255))  # of Adobe RGB
    image.paste((115, 198, 56, 0), (0, 0, 2, 4))
    decoded = decode_image(encoded(image.convert(mode), "PNG", icc_profile=adobe_rgb()))
    assert decoded.getpixel((0, 0)) == WHITE
    assert np.abs(np.subtract(decoded.getpixel((3, 0)), (30, 200, 30))).max() <= 5


def test_of_an_mpo_the_first_image_is_decoded() -> None:
    data = encoded(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 48), BLUE)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert decode_image(data).tobytes() == decode_image(encoded(quarters(), "JPEG")).tobytes()


def test_of_a_motion_photo_the_video_is_not_read() -> None:
    photo = encoded(noise(), "JPEG", progressive=True)
    video = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + b"\xff\xda\0\x0c" * 10_000
    assert decode_image(photo + video).tobytes() == decode_image(photo).tobytes()


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_a_pil_image_has_the_pixels_of_its_bytes(name: str) -> None:
    assert upright(Image.open(io.BytesIO(GOOD_IMAGES[name]))).tobytes() == decode_image(GOOD_IMAGES[name]).tobytes()


def test_what_was_applied_is_not_in_the_result_again() -> None:
    image = Image.new("RGB", (4, 4), (115, 198, 56))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(image, "PNG", icc_profile=adobe_rgb(), exif=exif, transparency=(1, 2, 3))
    decoded = decode_image(data)
    assert decode_image(encoded(decoded, "PNG")).tobytes() == decoded.tobytes()
    assert not decoded.info


def test_a_refusal_is_invalid_input_with_a_documented_reason() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_image(b"hello")
    assert isinstance(refused.value, ImageRefused)
    assert refused.value.reason in REASONS


def test_pillow_is_left_as_it_was_found() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decode_image(encoded(noise(), "PNG"))
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


def test_many_threads_decode_alike() -> None:
    data = {format: encoded(noise(200, 200), format) for format in FORMATS}
    alone = {format: decode_image(bytes_).tobytes() for format, bytes_ in data.items()}
    failures: list[str] = []

    def work() -> None:
        for format, bytes_ in data.items():
            if decode_image(bytes_).tobytes() != alone[format]:
                failures.append(format)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


MAGICS = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\0\0\0\0WEBP",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x18ftypavif",
)
SAMPLES = [encoded(noise(24, 16), format) for format in FORMATS] + [
    encoded(noise(24, 16).convert("P"), "GIF", transparency=3),
    encoded(noise(24, 16), "JPEG", progressive=True),
    encoded(noise(24, 16), "TIFF", compression="tiff_lzw"),
    encoded(noise(24, 16), "TIFF", compression="jpeg"),
    encoded(noise(24, 16).convert("RGBA"), "WEBP", lossless=True),
    FOREIGN_IMAGES["JPEG, Adobe RGB"],
    FOREIGN_IMAGES["AVIF, 10 bit, stored on its side"],
    FOREIGN_IMAGES["HEIC, Adobe RGB"],
]


def decodes_or_is_refused(data: bytes) -> None:
    outcome = decoded_or_reason(data)
    assert outcome.mode == "RGB" if isinstance(outcome, Image.Image) else outcome in REASONS


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_a_refusal(magic: bytes, rest: bytes) -> None:
    decodes_or_is_refused(magic + rest)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.2, 1),
)
def test_a_mutated_picture_raises_nothing_but_a_refusal(
    sample: bytes, changes: list[tuple[float, int]], part: float
) -> None:
    data = bytearray(sample)
    for place, value in changes:
        # Squared, so that most changes hit the header.
        data[int(place * place * len(data))] = value
    decodes_or_is_refused(bytes(data[: int(len(data) * part) + 1]))
