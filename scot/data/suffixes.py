"""The suffixes of files among images: what is read, and what is named when it is left out."""

from __future__ import annotations

_COMMON = [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"]
IMAGE_SUFFIXES = frozenset([*_COMMON, ".heic", ".heif", ".hif", ".avif"])
"""Files that are read as images; the decoder looks at their bytes, not at their names."""
_NOT_DECODED = [".svg", ".svgz", ".pdf", ".eps", ".ai", ".psd", ".xcf", ".ico", ".jp2", ".j2k", ".jxl", ".tga", ".exr"]
_NOT_DECODED += [".hdr", ".ppm", ".pgm", ".pbm"]
_RAW = [".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".pef", ".srw", ".x3f"]
_VIDEO = [".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".wmv", ".flv"]
OTHER_SUFFIXES = frozenset([*_NOT_DECODED, *_RAW, *_VIDEO])
"""Pictures, documents and videos that are not decoded."""
ARCHIVE_SUFFIXES = frozenset({".tar", ".tgz", ".zip", ".rar", ".7z"})
TABLE_SUFFIXES = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl")
"""The tables of captions that are read."""
