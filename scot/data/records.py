"""A captioned image, and the count of refused records: what the reader of every format produces."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from scot.data.images import DEFAULT_LIMITS, decode_image
from scot.data.payload import MAX_PAYLOAD_BYTES
from scot.data.places import Place, RemotePath
from scot.errors import ImageRefused

MAX_CAPTION_CHARS = 2_000
MAX_ID_CHARS = 512

REASONS: dict[str, str] = {
    "empty_caption": "no caption, or only white space",
    "caption_too_long": f"a caption of more than {MAX_CAPTION_CHARS:,} characters",
    "broken_caption": "a caption that is not UTF-8 text, or a list of captions that cannot be read",
    "duplicate_id": "an id that an earlier record already had; the first one is kept",
    "empty_id": "no id, or only white space",
    "id_too_long": f"an id of more than {MAX_ID_CHARS} characters",
    "missing": "the record names no image, or the image file does not exist",
    "outside_folder": "an image path that leaves the source's folder",
    "url": "an image that is a URL outside the source; download it first, for example with img2dataset",
    "not_a_file": "a pipe, a device, a socket or a folder where an image file is expected",
    "not_utf8": "a file name that is not UTF-8; rename the file, for example with convmv",
    "not_utf8_folder": "a folder whose name is not UTF-8, which is not read; rename it, for example with convmv",
    "hidden_file": "a hidden or system file or folder (._*, .DS_Store, __MACOSX, @eaDir, Thumbs.db)",
    "linked_folder": "a link to a folder, which is not followed; name that folder as a source",
    "unreadable_folder": "a folder that cannot be listed",
    "cache_folder": "a folder that a program marks as its cache (CACHEDIR.TAG)",
    "not_in_table": "an image file that no readable row of the table of captions names",
    "unsupported_format": "a drawing, document, camera RAW file or video, which SCOT does not decode",
    "archive": "an archive (tar, zip) among image files; name a tar as a source, unpack the others",
    "table_below": "a table of captions in a subfolder; name the subfolder as a source",
    "broken_record": "a record that cannot be read at all (a tar member, a JSON entry)",
    "too_many_cells": "a row with more cells than columns, as an unquoted comma in a caption makes it",
    "open_quote": "a row with a quote that is not closed",
    "other_payload": "rows of one image that differ in other columns; the values of the first row are kept",
    "second_image": "a second image in one sample; the first one is kept",
    "unknown_image": "a caption of an image that the file does not list",
    "payload_key": "a payload key that no filter can name: empty, reserved (_scot_…), with a double quote, or twice",
    "payload_too_large": f"payload of more than {MAX_PAYLOAD_BYTES:,} bytes, as the service counts them",
    "broken_shard": "a file that is not a tar, or is truncated; its samples before that point are read",
    "too_large": "an image of more bytes than the limit of decoding",
}
"""The reasons for which readers refuse a record. Decoding adds :data:`scot.data.images.REASONS`."""


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image: ``image`` is a file or its bytes, ``payload`` all other fields.

    ``captions`` is empty only if it was read with ``captions="optional"``. ``path`` is the place of the image in its
    source, as the disk spells it: relative to :attr:`scot.data.captioned.Source.root`, in a tar behind the
    tar's name, and empty for an image inside a Parquet file.
    """

    image_id: str
    image: Place | bytes
    captions: tuple[str, ...]
    payload: Mapping[str, Any]
    path: str = ""

    @property
    def remote(self) -> bool:
        """Whether the image is a file at a URL."""
        return isinstance(self.image, RemotePath)

    def fetched(self) -> CaptionedImage:
        """The record with the bytes of its image; the same one if it is a local file, or cannot be read."""
        if not self.remote:
            return self
        try:
            return replace(self, image=self.read())
        except ImageRefused:  # reading it where it is needed says why
            return self

    def located(self) -> CaptionedImage:
        """The record with the size and time of an image at a URL; the same one if it is a local file, or missing."""
        if isinstance(self.image, RemotePath) and self.image.found is None:
            with suppress(FileNotFoundError):
                return replace(self, image=replace(self.image, found=self.image.now()))
        return self

    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            ImageRefused: ``missing``, ``unreadable``, or ``too_large`` for a file above the limit of decoding.
            PermissionDenied, Unavailable, InvalidInput: of a URL, :func:`scot.data.remote_errors.reaching`.
        """
        if isinstance(self.image, bytes):
            return self.image
        data = read_file(self.image, DEFAULT_LIMITS.max_bytes)
        if len(data) > DEFAULT_LIMITS.max_bytes:
            limit = f"{DEFAULT_LIMITS.max_bytes:,}"
            raise ImageRefused("too_large", f"the image file {self.image.name!r} has more than {limit} bytes")
        return data

    def load(self) -> Image.Image:
        """The decoded image, upright RGB (:func:`scot.data.images.decode_image`). Raises ImageRefused."""
        return decode_image(self.read())


@dataclass(slots=True)
class Refusals:
    """Counts of refused records by reason, with the first few names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    keep: int = 3
    """The number of names stored for each reason."""

    def add(self, reason: str, what: str, where: str = "") -> None:
        """Count one refusal of ``what`` (an id, a file name), and where it was found (a line, a table)."""
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < self.keep:
            examples.append(f"{_shown(what)} ({_shown(where)})" if where else _shown(what))

    def wants(self, reason: str) -> bool:
        """Whether an example of the reason would still be kept."""
        return len(self.examples.get(reason, ())) < self.keep

    @property
    def total(self) -> int:
        """The number of refused records."""
        return self.counts.total()

    def summary(self) -> str:
        """One sentence with the counts, reasons and examples."""
        if not self.total:
            return "nothing was refused"
        return f"{self.total:,} refused: {self.since(Counter())}"

    def since(self, before: Counter[str], reasons: Container[str] | None = None) -> str:
        """The counts and examples of what was added after ``counts`` were ``before``; ``reasons`` limits them."""
        added = (self.counts - before).most_common()
        return "; ".join(
            self._reason(reason, count, before[reason])
            for reason, count in added
            if reasons is None or reason in reasons
        )

    def _reason(self, reason: str, count: int, before: int) -> str:
        names = self.examples[reason][before:]
        examples = f" ({', '.join(names)}{', …' if count > len(names) else ''})" if names else ""
        return f"{count:,} {reason}{examples}"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as the reader of a format returns it, before the common checks. ``image`` is None if it has none.

    ``where`` locates the record for the user: a line, a row, a table.
    """

    image_id: str
    image: Place | bytes | None
    captions: tuple[str, ...]
    payload: Mapping[str, Any]
    path: str = ""
    where: str = ""


def _shown(text: str) -> str:
    """Text for a line of output: short, and without control characters."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 80 else text[:79] + "…"


def read_file(file: Place, limit: int) -> bytes:
    """The bytes of a regular file, at most ``limit + 1`` of them; a pipe or a device is refused and not waited for.

    Raises:
        ImageRefused: ``missing``, ``not_a_file`` or ``unreadable``.
        PermissionDenied, Unavailable, InvalidInput: of a URL, :func:`scot.data.remote_errors.reaching`.
    """
    try:
        if isinstance(file, RemotePath):
            if file.found is None:
                return file.read_bytes(limit + 1)
            if file.found.size > limit:
                raise ImageRefused("too_large", f"the image file {file.name!r} has more than {limit:,} bytes")
            return file.read_bytes()
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as opened:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise ImageRefused("not_a_file", f"{file.name!r} is a pipe, a device or a socket, not an image file")
            return opened.read(limit + 1)
    except FileNotFoundError:
        raise ImageRefused("missing", f"there is no image file {file.name!r}") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageRefused("unreadable", f"the image file {file.name!r} cannot be read: {reason}") from None
