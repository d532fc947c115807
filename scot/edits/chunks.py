"""Captions in chunks: the unit of work, of progress and of resuming. The same source always gives the same chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from scot.data.captioned import read_captioned
from scot.data.records import CaptionedImage, Refusals


@dataclass(frozen=True, slots=True)
class Chunk:
    """Captions of whole pictures, side by side with their pictures' ids (and pictures, when they are wanted)."""

    number: int
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    images: tuple[CaptionedImage, ...] = ()

    @property
    def hash(self) -> str:
        """A hash of the ids and captions."""
        content = json.dumps([self.image_ids, self.captions], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_chunks(sources: Sequence[str], refusals: Refusals, *, size: int, with_images: bool = False) -> Iterator[Chunk]:
    """Read captioned images lazily into chunks of about ``size`` captions; a picture's captions stay together.

    A caption that a picture has twice is read once. Raises NotFound or InvalidInput when a source cannot be read.
    """
    ids: list[str] = []
    captions: list[str] = []
    images: list[CaptionedImage] = []
    number = 0
    seen: set[str] = set()
    for record in chain.from_iterable(read_captioned(source, refusals) for source in sources):
        if len(sources) > 1:  # within one source the reader sees to it
            if record.image_id in seen:
                refusals.add("duplicate_id", record.image_id)
                continue
            seen.add(record.image_id)
        for caption in dict.fromkeys(record.captions):
            ids.append(record.image_id)
            captions.append(caption)
            if with_images:
                images.append(record)
        if len(ids) >= size:
            yield Chunk(number, tuple(ids), tuple(captions), tuple(images))
            number += 1
            ids, captions, images = [], [], []
    if ids:
        yield Chunk(number, tuple(ids), tuple(captions), tuple(images))
