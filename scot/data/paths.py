"""Files of a folder: which are images, which are hidden, how a path is spelled, and where it lies on the disk."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from scot.data.places import Place, RemotePath
from scot.data.records import Refusals
from scot.data.suffixes import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, OTHER_SUFFIXES, TABLE_SUFFIXES

CACHE_TAG, CACHE_SIGNATURE = "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"
"""The file that marks a folder as a cache, and how it begins (https://bford.info/cachedir/)."""
_HIDDEN = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_SORTED_ENTRIES = 65_536
_NAMES_COMPARED = 5_000


def suffix_of(name: str, *, lower: bool = True) -> str:
    """The last suffix of a file name, with its dot, or nothing."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem or "/" in suffix or stem.endswith("/"):
        return ""
    return f".{suffix.lower() if lower else suffix}"


def is_file(path: str | Place) -> bool:
    """Whether there is a regular file, or a link to one."""
    return path.is_file() if isinstance(path, RemotePath) else stat.S_ISREG(_mode(path))


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder, or a link to one."""
    return stat.S_ISDIR(_mode(path))


def hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or of an operating system: ``._*``, ``.DS_Store``, ``__MACOSX`` …"""
    return name.startswith(".") or name.casefold() in _HIDDEN


def hidden_path(path: str) -> bool:
    """Whether any component of a path with forward slashes is hidden."""
    return any(hidden(name) for name in path.split("/") if name not in (".", ".."))


def encodable(text: str) -> bool:
    """Whether text is Unicode throughout: a file name of other bytes is not, and neither is half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normal_path(name: str) -> str:
    """One spelling for each path: forward slashes, no ``.`` components, Unicode NFC."""
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    return unicodedata.normalize("NFC", "/".join(parts))


def inside(folder: Place, name: str) -> str | None:
    """``name`` relative to ``folder``, or None where it leaves the folder. Links in it may point anywhere."""
    spelled = name.strip().replace("\\", "/")
    if isinstance(folder, RemotePath):
        spelled = spelled.removeprefix(f"{folder.url}/")
        if spelled.startswith("/"):
            return None
    if "\0" in name or ".." in spelled.split("/") or re.match(r"[A-Za-z]:", spelled):
        return None
    if spelled.startswith("/") and isinstance(folder, Path):
        root = folder.absolute().as_posix().rstrip("/") + "/"
        if not spelled.startswith(root):
            return None
        spelled = spelled[len(root) :]
    return "/".join(part for part in spelled.split("/") if part not in ("", "."))


def locate(folder: Place, relative: str) -> str | None:
    """The path of a file as the disk spells it (Unicode NFC or NFD), or None if there is none.

    At a URL, where each look is a request, it is the path itself: whether the file exists shows when it is read.
    """
    if not relative or not encodable(relative):
        return None
    if isinstance(folder, RemotePath):
        return None if "://" in relative else relative
    if _mode(folder / relative):
        return relative
    found: list[str] = []  # on the disk; a file of a Mac is often spelled in NFD
    for part in relative.split("/"):
        spellings = (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part))
        here = next((each for each in spellings if _mode(folder.joinpath(*found, each))), None)
        if here is None:
            return None
        found.append(here)
    return "/".join(found)


def similar_name(folder: Place, relative: str) -> str | None:
    """A file whose name is nearly the one that is missing: other capitals, another suffix, a typing error."""
    if isinstance(folder, RemotePath):
        return None
    path = folder / relative
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _NAMES_COMPARED) if not hidden(entry.name)]
    except (OSError, ValueError):
        return None
    name = path.name.casefold()
    by_case = {each.casefold(): each for each in names}
    close = [name] if name in by_case else difflib.get_close_matches(name, list(by_case), n=1, cutoff=0.75)
    return by_case[close[0]] if close else None


def walk(
    root: Place, refusals: Refusals, others: Counter[str] | None = None, *, known: Container[str] = ()
) -> Iterator[tuple[str, Place]]:
    """The image files below a folder, folder by folder: relative to it, as the disk spells them, and their places.

    Names come in order, but for folders of more than 65,536 entries, which are streamed in the file system's order.
    Links to files are followed, links to folders are not: no loop, and nothing twice. A folder below ``root`` that is
    marked as a cache is left out. At a URL, an empty file is refused here: it would be a request for nothing.

    Args:
        root: the folder.
        refusals: counts what is skipped and could have been an image.
        others: counts all other files by their suffix.
        known: files to pass over, whatever they are, by their :func:`normal_path`.
    """
    others = Counter() if others is None else others
    pending = [""]
    while pending:
        folder = pending.pop()
        if folder and _is_cache(root / folder):
            refusals.add("cache_folder", folder)
            continue
        below: list[str] = []
        try:
            for entry in _entries(root / folder):
                path = folder + entry.name
                if known and normal_path(path) in known and not entry.is_dir():
                    continue
                kind = _kind(entry, top=not folder)
                if kind == "folder":
                    below.append(f"{path}/")
                elif kind == "image":
                    yield path, entry.place if isinstance(entry, _RemoteEntry) else root / path
                elif kind == "other":
                    others[suffix_of(entry.name)] += 1
                else:
                    refusals.add(kind, path)
        except (OSError, ValueError) as error:
            refusals.add("unreadable_folder", folder or ".", getattr(error, "strerror", None) or type(error).__name__)
        pending += reversed(below)


def names(folder: Place, suffixes: Sequence[str]) -> list[str]:
    """The files in a folder with one of these suffixes, hidden ones left out, in order.

    Raises:
        OSError: the folder cannot be listed.
    """
    if isinstance(folder, RemotePath):
        found_there = (each for each in folder.iterdir() if suffix_of(each.name) in suffixes and each.is_file())
        return [each.name for each in found_there if not hidden(each.name)]
    with os.scandir(folder) as entries:
        found = (entry for entry in entries if suffix_of(entry.name) in suffixes)
        return sorted(each.name for each in found if not hidden(each.name) and is_file(each.path))


def files_below(folder: Place, suffix: str) -> list[Place]:
    """The files below a folder with a suffix, in order; hidden folders are left out."""
    found: list[Place] = []
    if isinstance(folder, RemotePath):
        entries = [each for each in folder.iterdir() if not (each.is_dir() and hidden(each.name))]
        found += (each for each in entries if each.is_file() and suffix_of(each.name) == suffix)
        return found + [each for below in entries if below.is_dir() for each in files_below(below, suffix)]
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not hidden(each))
        found += [Path(path, each) for each in sorted(files) if suffix_of(each) == suffix]
    return found


class _RemoteEntry:
    """A file or folder at a URL with the methods of an entry of a local folder."""

    def __init__(self, place: RemotePath) -> None:
        self.place, self.name, self.path = place, place.name, place.url

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.place.is_dir()

    def is_file(self) -> bool:
        return self.place.is_file()

    def is_symlink(self) -> bool:
        return False


_Entry: TypeAlias = os.DirEntry[str] | _RemoteEntry


def _entries(folder: Place) -> Iterator[_Entry]:
    if isinstance(folder, RemotePath):
        yield from map(_RemoteEntry, folder.iterdir())
        return
    with os.scandir(folder) as entries:
        first = list(itertools.islice(entries, _SORTED_ENTRIES))
        if len(first) < _SORTED_ENTRIES:
            first.sort(key=lambda entry: entry.name)
        yield from first
        yield from entries


def _kind(entry: _Entry, *, top: bool) -> str:
    """``folder``, ``image``, ``other``, or the reason why an entry is skipped."""
    name = entry.name
    suffix = suffix_of(name)
    if hidden(name):
        return "hidden_file"
    if entry.is_dir(follow_symlinks=False):
        return "folder" if encodable(name) else "not_utf8_folder"
    if not encodable(name):
        return "not_utf8"
    if entry.is_symlink() and is_folder(entry.path):
        return "linked_folder"
    if isinstance(entry, _RemoteEntry) and (not suffix or suffix in IMAGE_SUFFIXES):
        return "other" if not suffix else "image" if entry.place.status().size else "empty"
    if suffix in IMAGE_SUFFIXES or not suffix:
        if is_file(entry.path) if entry.is_symlink() else entry.is_file():
            return "image" if suffix or _is_image(entry.path) else "other"
        if not suffix:
            return "other"
        return "not_a_file" if _mode(entry.path) else "missing"
    if suffix in OTHER_SUFFIXES:
        return "unsupported_format"
    if suffix in ARCHIVE_SUFFIXES or name.lower().endswith(".tar.gz"):
        return "archive"
    stem = name[: -len(suffix)].lower()
    return "table_below" if not top and stem in ("captions", "metadata") and suffix in TABLE_SUFFIXES else "other"


def _is_cache(folder: Place) -> bool:
    if isinstance(folder, RemotePath):  # a cache of this machine is not there, and a look is a request
        return False
    try:
        with (folder / CACHE_TAG).open("rb") as file:
            return file.read(len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False


def _is_image(path: str) -> bool:
    """Whether a file without a suffix begins as an image does."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:] == b"WEBP") or head[4:8] == b"ftyp"


def _mode(path: str | Path) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - for many files, and pathlib raises for a name that is too long
    except (OSError, ValueError):
        return 0
