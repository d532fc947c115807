"""What of a source has to be embedded for a gallery that has its items already: :mod:`scot.index.sync`'s plan."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PIL import Image

from scot.data.filesystems import is_url
from scot.data.images import decode_image
from scot.data.key_table import SeenIds
from scot.data.payload import stored_payload
from scot.data.places import Place, RemotePath
from scot.data.records import CaptionedImage, Refusals
from scot.errors import ImageRefused
from scot.index.origin import Origin
from scot.progress import Task

UPDATED_AT_ONCE = 256
"""Items whose payload is replaced together."""
_SETTLED_NS = 2_000_000_000
"""A file that was modified less than two seconds ago, or in the future, may change again with the same time."""


@dataclass(slots=True)
class Pending:
    """A picture that is to be embedded, and the item that it will be."""

    record: CaptionedImage
    payload: dict[str, Any]
    origin: Origin
    is_new: bool
    """Whether this source has no item of its id yet."""
    _fetched: bool = False

    def fetched(self) -> Pending:
        """The same, with the bytes of a picture at a URL; as it is if that cannot be read."""
        if self.record.remote:
            with suppress(ImageRefused):  # reading it where it is needed says why
                self.record, self._fetched = replace(self.record, image=self.read()), True
        return self

    @property
    def item_id(self) -> str:
        """The id of the item."""
        return self.record.image_id

    def read(self) -> bytes:
        """The encoded picture; the origin is that of these very bytes from now on. Raises ImageRefused."""
        if self._fetched:
            return self.record.read()
        # Before reading: if the file is replaced meanwhile, the next run finds another time and compares the content.
        _, modified_ns = _stat(self.record.image)
        data = self.record.read()
        self.origin = replace(self.origin, size=len(data), modified_ns=modified_ns, sha256=_sha256(data))
        return data

    def load(self) -> Image.Image:
        """The decoded picture. Raises ImageRefused."""
        return decode_image(self.read())


class Records(Protocol):
    """What is compared with the gallery: a source, or a part of one."""

    @property
    def name(self) -> str:
        """The source as it was named."""

    @property
    def root(self) -> Place:
        """The folder that the paths of records are relative to."""

    def read(self, refusals: Refusals, seen: SeenIds) -> Iterator[CaptionedImage]:
        """The records, lazily."""


class KnownItems(Protocol):
    """The items of a collection, which a source is compared with."""

    async def prepare(self, *, dry_run: bool) -> None:
        """Check that the collection has this encoder; create it if it is missing, unless nothing may be written.

        Raises:
            EncoderMismatch: it was made with another encoder.
        """

    async def items_of(self, source: str) -> dict[str, Origin]:
        """The items of a source by their ids."""

    async def origins(self, item_ids: Sequence[str]) -> dict[str, Origin | None]:
        """Those of the ids that exist."""

    def incomplete(self, item_id: str) -> bool:
        """Whether an item lacks something that storing its image again gives it, such as its thumbnail."""

    @property
    def captions_in_vectors(self) -> bool:
        """Whether an item's vector depends on its captions; known when :meth:`prepare` has returned."""


def source_name(source: Records) -> str:
    """A source as origins have it: the absolute path, without links, whichever way it was spelled."""
    return _real(source.name)


def _real(place: str | Place) -> str:
    return str(place) if is_url(str(place)) else os.path.realpath(str(place))


class Plan:
    """The pictures to embed. What needs no embedding is done on the way; ``known`` loses what is still there."""

    def __init__(
        self,
        source: Records,
        known: dict[str, Origin],
        refusals: Refusals,
        update: Callable[[Sequence[Pending]], None],
        items: KnownItems,
        *,
        task: Task,
    ) -> None:
        self._items = items
        self.updated = self.unchanged = 0
        self._name, self._root = source_name(source), _real(source.root)
        self._known, self._refusals, self._update, self._task = known, refusals, update, task
        self._waiting: list[Pending] = []

    def of(self, records: Iterator[CaptionedImage]) -> Iterator[Pending]:
        """What is to be embedded among the records."""
        for record in records:
            before = self._known.pop(record.image_id, None)
            picture = self._pending(record, is_new=before is None)
            try:
                same = before is not None and _same_content(picture, before)
            except ImageRefused as error:
                self._refusals.add(error.reason, record.image_id)
                self._task.advance(1, refused_so_far(self._refusals))
                continue
            if (
                before is None
                or not same
                or self._items.incomplete(record.image_id)
                or self._recaptioned(picture, before)
            ):
                yield picture
            else:
                self._keep(picture, before)
        self._flush()

    def _pending(self, record: CaptionedImage, *, is_new: bool) -> Pending:
        payload = stored_payload(record.captions, record.payload)
        path = record.path if self._root == self._name or not record.path else f"{self._root}/{record.path}"
        size, modified_ns = _stat(record.image)
        return Pending(record, payload, Origin(self._name, path, size, modified_ns, "", _digest(payload)), is_new)

    def _recaptioned(self, picture: Pending, before: Origin) -> bool:
        """Whether the item's vector has captions or may have, and they may have changed: its digest covers both."""
        return self._items.captions_in_vectors and picture.origin.metadata != before.metadata

    def _keep(self, picture: Pending, before: Origin) -> None:
        """Bring payload and origin up to date, if they are not, and keep the vector."""
        picture.origin = replace(picture.origin, sha256=before.sha256)
        if picture.origin.metadata != before.metadata:
            self.updated += 1
        else:
            self.unchanged += 1
        if picture.origin != before:
            self._waiting.append(picture)
            if len(self._waiting) == UPDATED_AT_ONCE:
                self._flush()
        self._task.skip(1)

    def _flush(self) -> None:
        if self._waiting:
            self._update(self._waiting)
            self._waiting.clear()


def _same_content(picture: Pending, before: Origin) -> bool:
    origin = picture.origin
    if origin.modified_ns and (origin.size, origin.modified_ns) == (before.size, before.modified_ns):
        return True
    return _sha256(picture.record.read()) == before.sha256


def _stat(image: Place | bytes) -> tuple[int, int]:
    """The size of an encoded picture, and when its file was modified; 0 if that says nothing of its content."""
    if isinstance(image, bytes):
        return len(image), 0
    if isinstance(image, RemotePath):
        if image.found is None:  # a look is a request, and reading it says more
            return 0, 0
        settled = image.found.modified_ns < time.time_ns() - _SETTLED_NS
        return image.found.size, image.found.modified_ns if settled else 0
    try:
        stat = image.stat()
    except OSError:
        return 0, 0  # reading it says what is wrong
    settled = stat.st_mtime_ns < time.time_ns() - _SETTLED_NS
    return stat.st_size, stat.st_mtime_ns if settled else 0


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(payload: Mapping[str, Any]) -> str:
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def refused_so_far(refusals: Refusals) -> str:
    """What a task's line says of refusals."""
    return f"{refusals.total:,} refused"
