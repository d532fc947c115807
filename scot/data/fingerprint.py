"""Whether the files of a source are still the same, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


def fingerprint(source: str) -> str:
    """Changes if the names, sizes or times of a source's files change; the images are not read."""
    digest = hashlib.sha256(f"{Path(source)}\n[".encode("utf-8", "surrogateescape"))
    for number, file in enumerate(_files(Path(source))):
        status = file.stat()
        about = json.dumps((file.name, status.st_size, status.st_mtime_ns))
        digest.update(f"{', ' if number else ''}{about}".encode("utf-8", "surrogateescape"))
    digest.update(b"]")
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    """The files of a source in the order of their paths; links to folders are not followed."""
    if not path.is_dir():
        if path.exists():
            yield path
        return
    with os.scandir(path) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in names:
        if is_folder:
            yield from _files(path / name)
        elif (path / name).is_file():
            yield path / name
