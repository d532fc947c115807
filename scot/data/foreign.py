"""The name of what is not one of the image formats that SCOT decodes, and what to do about it."""

from __future__ import annotations

from scot.errors import ImageRefused

_PICTURE, _OTHER = "unsupported_format", "not_an_image"

_SIGNATURES: tuple[tuple[int, bytes, str, str, str], ...] = (
    (0, b"version https://git-lfs", _OTHER, "a Git LFS pointer", "fetch the image itself with `git lfs pull`"),
    (0, b"%PDF", _PICTURE, "a PDF document", "export its pages as PNG"),
    (0, b"8BPS", _PICTURE, "a Photoshop document", "export it as PNG"),
    (0, b"gimp xcf", _PICTURE, "a GIMP document", "export it as PNG"),
    (0, b"%!PS", _PICTURE, "a PostScript document", "export it as PNG"),
    (0, b"\0\0\1\0", _PICTURE, "a Windows icon", "convert it to PNG"),
    (0, b"\0\0\2\0", _PICTURE, "a Windows cursor", "convert it to PNG"),
    (0, b"II+\0", _PICTURE, "a BigTIFF image", "convert it to TIFF or PNG"),
    (0, b"MM\0+", _PICTURE, "a BigTIFF image", "convert it to TIFF or PNG"),
    (0, b"\xff\x0a", _PICTURE, "a JPEG XL image", "convert it to JPEG or PNG"),
    (0, b"\0\0\0\x0cJXL ", _PICTURE, "a JPEG XL image", "convert it to JPEG or PNG"),
    (0, b"\0\0\0\x0cjP  ", _PICTURE, "a JPEG 2000 image", "convert it to JPEG or PNG"),
    (0, b"\xff\x4f\xff\x51", _PICTURE, "a JPEG 2000 image", "convert it to JPEG or PNG"),
    (0, b"FUJIFILMCCD-RAW", _PICTURE, "a camera RAW file (Fujifilm)", "develop it to JPEG"),
    (0, b"IIU\0", _PICTURE, "a camera RAW file (Panasonic)", "develop it to JPEG"),
    (0, b"IIRO", _PICTURE, "a camera RAW file (Olympus)", "develop it to JPEG"),
    (4, b"ftypcrx", _PICTURE, "a camera RAW file (Canon)", "develop it to JPEG"),
    (0, b"v/1\x01", _PICTURE, "an OpenEXR image", "convert it to PNG"),
    (0, b"#?RADIANCE", _PICTURE, "a Radiance HDR image", "convert it to PNG"),
    (0, b"SIMPLE  =", _PICTURE, "a FITS image", "convert it to PNG"),
    (128, b"DICM", _PICTURE, "a DICOM image", "convert it to PNG"),
    (0, b"DDS ", _PICTURE, "a DirectDraw texture", "convert it to PNG"),
    (0, b"\x1aE\xdf\xa3", _OTHER, "a Matroska or WebM video", "extract its frames as JPEG"),
    (0, b"\0\0\1\xba", _OTHER, "an MPEG video", "extract its frames as JPEG"),
    (8, b"AVI ", _OTHER, "an AVI video", "extract its frames as JPEG"),
    (8, b"WAVE", _OTHER, "a WAVE sound", "remove it"),
    (0, b"ID3", _OTHER, "an MP3 sound", "remove it"),
    (0, b"\0\x05\x16\x07", _OTHER, "a resource file of macOS (._…)", "remove it"),
    (0, b"PK\3\4", _OTHER, "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", _OTHER, "a gzip archive", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", _OTHER, "a 7z archive", "unpack it"),
    (0, b"\x93NUMPY", _OTHER, "a NumPy array", "save it as PNG"),
    (257, b"ustar", _OTHER, "a tar archive", "name it as a source"),
)


def refusal(data: bytes) -> ImageRefused:
    """Why bytes that no decoder takes are refused: what they are, and what to do."""
    reason, what, todo = _name(data)
    end = f": {todo}" if todo else ""
    return ImageRefused(reason, f"the file is {what}, not a PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC image{end}")


def _name(data: bytes) -> tuple[str, str, str]:
    for place, signature, reason, what, todo in _SIGNATURES:
        if data.startswith(signature, place):
            return reason, what, todo
    if data[4:8] == b"ftyp":
        return _OTHER, "a video (MP4, QuickTime)", "extract its frames as JPEG"
    if data[:1] == b"P" and data[1:2] in b"1234567" and data[2:3].isspace():
        return _PICTURE, "a Netpbm image", "convert it to PNG"
    return _text(data)


def _text(data: bytes) -> tuple[str, str, str]:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return _PICTURE, "an SVG drawing", "render it as PNG"
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return _OTHER, "an HTML page, as servers send instead of an image", "download the image again"
    if b"/annex/objects/" in head[:256]:
        return _OTHER, "a git-annex pointer", "fetch the image itself with `git annex get`"
    if head.startswith(b"<?xml"):
        return _OTHER, "an XML document, as servers send instead of an image", "download the image again"
    if head.startswith((b"{", b"[")):
        return _OTHER, "a JSON document, as servers send instead of an image", "download the image again"
    if not data.strip(b"\0"):
        return _OTHER, "nothing but zeros, as an interrupted copy leaves them", "copy the image again"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[:1024]):
        return _OTHER, "plain text", ""
    return _OTHER, "of no format that SCOT knows", ""
