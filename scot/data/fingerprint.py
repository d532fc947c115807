"""Whether the files of a source are still the same, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from scot.data import patterns
from scot.data.places import RemotePath, open_place


def fingerprint(source: str) -> str:
    """Changes if the names, sizes or times (of a URL: the versions) of a source's files change; no image is read.

    Raises:
        NotFound: a shard of a pattern does not exist.
        PermissionDenied, Unavailable: of a URL, :func:`scot.data.remote_errors.reaching`.
    """
    digest = hashlib.sha256(f"{open_place(source)}\n[".encode("utf-8", "surrogateescape"))
    number = 0
    for place in patterns.expand(source) if patterns.is_pattern(source) else [open_place(source)]:
        found: Iterator[tuple[str, int, str | int]] = _remote(place) if isinstance(place, RemotePath) else _local(place)
        for about in found:
            digest.update(f"{', ' if number else ''}{json.dumps(about)}".encode("utf-8", "surrogateescape"))
            number += 1
    digest.update(b"]")
    return digest.hexdigest()[:16]


def _local(path: Path) -> Iterator[tuple[str, int, str | int]]:
    """The files of a source in the order of their paths; links to folders are not followed."""
    if not path.is_dir():
        if path.exists():
            yield _about(path)
        return
    with os.scandir(path) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in names:
        if is_folder:
            yield from _local(path / name)
        elif (path / name).is_file():
            yield _about(path / name)


def _about(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def _remote(place: RemotePath) -> Iterator[tuple[str, int, str | int]]:
    if not place.is_dir():
        if place.exists():
            status = place.now()
            yield place.name, status.size, status.version
        return
    for each in place.iterdir():
        if each.is_dir():
            yield from _remote(each)
        else:
            yield each.name, each.status().size, each.status().version
