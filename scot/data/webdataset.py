"""WebDataset shards: tar files whose members share a key, ``000017.jpg`` with ``000017.txt`` and/or ``000017.json``.

The caption is the ``.txt`` member, or ``caption``/``captions``/``text`` of the ``.json`` one, whose other fields become
payload. Shards are streamed, one sample in memory at a time.
"""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import braceexpand

from scot.data.folder import plain
from scot.data.images import DEFAULT_LIMITS
from scot.data.records import RawRecord, Refusals
from scot.errors import InvalidInput, NotFound

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_CAPTION_FIELDS = ("captions", "caption", "text")
_MAX_TEXT_BYTES = 2**20
_MAX_SHARDS = 100_000
_RANGE = re.compile(r"\{(-?\d{1,18})\.\.(-?\d{1,18})")


def is_pattern(source: str) -> bool:
    """Whether ``source`` is a brace pattern of tars, such as ``shard-{000..099}.tar``, and not an existing path."""
    return "{" in source and source.endswith(".tar") and not Path(source).exists()


def expand(pattern: str) -> list[Path]:
    """The shards of a brace pattern.

    Raises:
        InvalidInput: the braces do not balance, or the pattern expands to too many shards.
        NotFound: a shard does not exist.
    """
    too_many = InvalidInput(f"{pattern!r} expands to more than {_MAX_SHARDS:,} shards")
    if any(abs(int(last) - int(first)) > _MAX_SHARDS for first, last in _RANGE.findall(pattern)):
        raise too_many  # braceexpand would build the whole range before its first name
    try:
        shards = [Path(name) for name in itertools.islice(braceexpand.braceexpand(pattern), _MAX_SHARDS + 1)]
    except ValueError:
        raise InvalidInput(f"the braces of {pattern!r} do not balance") from None
    if len(shards) > _MAX_SHARDS:
        raise too_many
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent:
        raise NotFound(f"{len(absent):,} of the {len(shards):,} shards of {pattern!r} do not exist, first {absent[0]}")
    return shards


def read_shards(shards: Sequence[Path], refusals: Refusals) -> Iterator[RawRecord]:
    """The samples of tar shards, in order. A truncated shard is counted, and reading goes on with the next."""
    for shard in shards:
        sample = _Sample("")
        try:
            # Stream mode: members are read in order and nothing is ever extracted to disk.
            with tarfile.open(shard, mode="r|") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    key, extension = _split(member.name)
                    if key != sample.key:
                        yield from sample.finish(refusals)
                        sample = _Sample(key)
                    sample.add(extension, member, tar)
            yield from sample.finish(refusals)
            if shard.stat().st_size % tarfile.BLOCKSIZE:  # tarfile treats a truncated header as the end
                refusals.add("broken_shard", f"{shard.name} (its end is missing)")
        except (tarfile.TarError, OSError, EOFError) as error:
            refusals.add("broken_shard", f"{shard.name} ({error})")


def _split(name: str) -> tuple[str, str]:
    """Key and extension of a member: the extension starts at the first dot of the last path component."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


class _Sample:
    """The members read so far of one key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.image: bytes | None = None
        self.captions: list[str] = []
        self.payload: dict[str, Any] = {}
        self.refusal: str | None = None
        self.members = 0

    def add(self, extension: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Add one member; one that is too large is not read."""
        self.members += 1
        kind = extension.rpartition(".")[2]
        if kind in _IMAGES and self.image is None:
            if member.size > DEFAULT_LIMITS.max_bytes:
                self.refusal = "too_large"
            else:
                self.image = _bytes(member, tar)
        elif kind in ("txt", "json"):
            if member.size > _MAX_TEXT_BYTES:
                self.refusal = self.refusal or "caption_too_long"
                return
            try:
                text = _bytes(member, tar).decode("utf-8-sig")
                if kind == "txt":
                    self.captions.insert(0, text)
                else:
                    self._add_fields(json.loads(text))
            except (ValueError, RecursionError):
                self.refusal = self.refusal or "broken_record"

    def _add_fields(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        for name in _CAPTION_FIELDS:
            cell = fields.get(name)
            found = cell if isinstance(cell, list) else [cell]
            self.captions += [text for text in found if isinstance(text, str) and text not in self.captions]
        payload = ((key, plain(value)) for key, value in fields.items() if key not in _CAPTION_FIELDS)
        self.payload |= {key: value for key, value in payload if value is not None}

    def finish(self, refusals: Refusals) -> Iterator[RawRecord]:
        """Yield the record, after all members of the key."""
        if not self.members:
            return
        if self.refusal:
            refusals.add(self.refusal, self.key)
        else:
            yield RawRecord(self.key, self.image, tuple(self.captions), self.payload)


def _bytes(member: tarfile.TarInfo, tar: tarfile.TarFile) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()
