"""WebDataset shards: tar files whose members share a key, ``000017.jpg`` with ``000017.txt`` and/or ``000017.json``.

The caption is the ``.txt`` member, or ``caption``/``captions``/``text`` of the ``.json`` one, whose other fields become
payload. Shards are streamed, one sample in memory at a time (up to eight whose names differ only behind a dot).
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from scot.data.images import DEFAULT_LIMITS
from scot.data.paths import hidden, hidden_path, normal_path
from scot.data.places import Place, RemotePath, unchanged
from scot.data.records import RawRecord, Refusals
from scot.data.suffixes import IMAGE_SUFFIXES

_CAPTION_FIELDS = ("captions", "caption", "text")
_MAX_TEXT_BYTES = 2**20
_MAX_GROUP = 8  # samples whose names are equal up to the first dot, held at once


def read_shards(shards: Sequence[Place], refusals: Refusals) -> Iterator[RawRecord]:
    """The samples of tar shards, in order. A truncated shard is counted, and reading goes on with the next.

    Raises:
        InvalidInput: a shard is replaced or written while it is read.
        PermissionDenied, Unavailable: of a URL, :func:`scot.data.remote_errors.reaching`.
    """
    for shard in shards:
        if hidden(shard.name):
            refusals.add("hidden_file", shard.name)
            continue
        read = 0
        try:
            # Stream mode: members are read in order and nothing is ever extracted to disk.
            with unchanged(shard), shard.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
                for record in _read_members(tar, shard.name, refusals):
                    read += 1
                    yield record
            if not _has_end(shard):  # tarfile accepts a file that is cut before a header
                refusals.add("broken_shard", shard.name, f"its end is missing; {_samples(read)} read")
        except (tarfile.TarError, OSError, EOFError) as error:
            refusals.add("broken_shard", shard.name, f"{error}; {_samples(read)} read")


def _read_members(tar: tarfile.TarFile, shard: str, refusals: Refusals) -> Iterator[RawRecord]:
    group = _Group("", tar, shard, refusals)
    for member in tar:
        if not member.isfile():
            continue
        if hidden_path(member.name):
            refusals.add("hidden_file", member.name, shard)
            continue
        stem, key, kind = _split(member.name)
        if key != group.key:
            yield from group.finish()
            group = _Group(key, tar, shard, refusals)
        yield from group.add(stem, kind, member)
    yield from group.finish()


def _samples(count: int) -> str:
    return f"{count:,} sample{'' if count == 1 else 's'}"


def _has_end(shard: Place) -> bool:
    """Whether a tar ends as tars do, with a block of zeros."""
    if isinstance(shard, RemotePath):
        end = shard.tail(tarfile.BLOCKSIZE)[-tarfile.BLOCKSIZE :]  # a server may send more than was asked for
        return len(end) == tarfile.BLOCKSIZE and not any(end)
    with shard.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < tarfile.BLOCKSIZE or size % tarfile.BLOCKSIZE:
            return False
        file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
        return not any(file.read())


def _split(name: str) -> tuple[str, str, str]:
    """Of a member's name: all but its last suffix, all before the first dot of its last component, the last suffix.

    ``000.left.jpg`` and ``000.txt`` are one sample, ``22.05.jpg`` and ``22.06.jpg`` are two; the group of the first dot
    is where to look for both (:class:`_Group`).
    """
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, suffix = file.rpartition(".")
    return f"{folder}{slash}{stem or suffix}", f"{folder}{slash}{file.partition('.')[0]}", suffix.lower()


class _Group:
    """The samples whose names are equal up to the first dot: mostly one."""

    def __init__(self, key: str, tar: tarfile.TarFile, shard: str, refusals: Refusals) -> None:
        self.key, self._tar, self._shard, self._refusals = key, tar, shard, refusals
        self._samples: dict[str, _Sample] = {}

    def add(self, stem: str, kind: str, member: tarfile.TarInfo) -> Iterator[RawRecord]:
        """Add one member; yields the oldest sample if the group has too many."""
        if stem not in self._samples:
            if len(self._samples) >= _MAX_GROUP:
                yield from self._samples.pop(next(iter(self._samples))).finish(self._shard, self._refusals)
            self._samples[stem] = _Sample(stem)
        self._samples[stem].add(kind, member, self._tar, self._refusals)

    def finish(self) -> Iterator[RawRecord]:
        """Yield the records, after all members of the group; text without an image belongs to those that have one.

        Text named by the group alone is of all its images (``000.txt``); other text is of the only image, if that has
        none of its own (``000.caption.txt`` with ``000.jpg``).
        """
        images = [each for each in self._samples.values() if each.image is not None]
        for stem, sample in list(self._samples.items()):
            if sample.image is not None or sample.refusal or not images:
                continue
            lonely = len(images) == 1 and (not images[0].captions or images[0].key == self.key)
            if stem == self.key or lonely:
                del self._samples[stem]
                for each in images:
                    each.share(sample)
                if len(images) == 1:
                    images[0].key = self.key
        for sample in self._samples.values():
            yield from sample.finish(self._shard, self._refusals)


class _Sample:
    """The members of one sample read so far."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.image: bytes | None = None
        self.captions: list[str] = []
        self.payload: dict[str, Any] = {}
        self.refusal: str | None = None
        self._name = ""

    def add(self, kind: str, member: tarfile.TarInfo, tar: tarfile.TarFile, refusals: Refusals) -> None:
        """Add one member; one that is too large is not read."""
        if f".{kind}" in IMAGE_SUFFIXES:
            if self.image is not None:
                refusals.add("second_image", member.name)
            elif member.size > DEFAULT_LIMITS.max_bytes:
                self.refusal = "too_large"
            else:
                self.image, self._name = _bytes(member, tar), member.name
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

    def share(self, other: _Sample) -> None:
        """Add the captions and payload of a sample that has no image."""
        self.captions += other.captions
        self.payload |= other.payload

    def _add_fields(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        for name in _CAPTION_FIELDS:
            cell = fields.get(name)
            found = cell if isinstance(cell, list) else [cell]
            self.captions += [text for text in found if isinstance(text, str) and text not in self.captions]
        self.payload |= {key: value for key, value in fields.items() if key not in _CAPTION_FIELDS}

    def finish(self, shard: str, refusals: Refusals) -> Iterator[RawRecord]:
        """Yield the record, after all members of the sample."""
        if self.refusal:
            refusals.add(self.refusal, self.key, shard)
        elif self.image is not None or self.captions or self.payload:
            path = f"{shard}/{self._name}" if self._name else ""
            yield RawRecord(normal_path(self.key), self.image, tuple(self.captions), self.payload, path, shard)


def _bytes(member: tarfile.TarInfo, tar: tarfile.TarFile) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()
