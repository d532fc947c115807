"""One captioned image, and the count of those that were refused: what every reader of a format produces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from scot.data.images import DEFAULT_LIMITS, decode_image
from scot.errors import ImageRefused

MAX_CAPTION_CHARS = 2_000
MAX_ID_CHARS = 512

REASONS: dict[str, str] = {
    "empty_caption": "no caption, or only white space",
    "caption_too_long": f"a caption of more than {MAX_CAPTION_CHARS:,} characters",
    "duplicate_id": "an id that an earlier record already had; the first one is kept",
    "empty_id": "no id, or only white space",
    "id_too_long": f"an id of more than {MAX_ID_CHARS} characters",
    "missing": "the record names no image, or the image file is not there",
    "outside_folder": "an image path that leaves the source's folder",
    "broken_record": "a record that cannot be read at all (a tar member, a JSON entry)",
    "broken_shard": "a tar that is no tar, or breaks off; its samples up to there are kept",
    "too_large": "an image of more bytes than will be decoded",
}
"""Every reason that the readers count a record under. Decoding adds :data:`scot.data.images.REASONS`."""


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One picture with at least one caption: ``image`` is a file or the encoded bytes, ``payload`` all else known."""

    image_id: str
    image: Path | bytes
    captions: tuple[str, ...]
    payload: Mapping[str, Any]

    def read(self) -> bytes:
        """The encoded bytes.

        Raises:
            ImageRefused: ``missing``, ``unreadable``, or ``too_large`` for a file that decoding would refuse unread.
        """
        if isinstance(self.image, bytes):
            return self.image
        limit = DEFAULT_LIMITS.max_bytes
        try:
            with self.image.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise ImageRefused("missing", f"there is no image file {self.image.name!r}") from None
        except OSError as error:
            said = error.strerror or type(error).__name__
            raise ImageRefused("unreadable", f"the image file {self.image.name!r} cannot be read: {said}") from None
        if len(data) > limit:
            raise ImageRefused("too_large", f"the image file {self.image.name!r} has more than {limit:,} bytes")
        return data

    def load(self) -> Image.Image:
        """The decoded image, upright RGB (:func:`scot.data.images.decode_image`). Raises ImageRefused."""
        return decode_image(self.read())


@dataclass(slots=True)
class Refusals:
    """A count of what was left out, by reason, with the first few names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    keep: int = 3
    """How many names to remember for each reason."""

    def add(self, reason: str, what: str) -> None:
        """Count one refusal of ``what`` (an id, a file name, a line number)."""
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < self.keep:
            kept.append(what if len(what) <= 80 else what[:79] + "…")

    @property
    def total(self) -> int:
        """How many were refused, for any reason."""
        return self.counts.total()

    def summary(self) -> str:
        """One sentence: how many, for which reasons, and for example which."""
        if not self.total:
            return "nothing was refused"
        return f"{self.total:,} refused: {'; '.join(self._told(*item) for item in self.counts.most_common())}"

    def _told(self, reason: str, count: int) -> str:
        names = self.examples[reason]
        return f"{count:,} {reason} ({', '.join(names)}{', …' if count > len(names) else ''})"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What a format's reader found, before the common checks. ``image`` is None where the reader found no picture."""

    image_id: str
    image: Path | bytes | None
    captions: tuple[str, ...]
    payload: Mapping[str, Any]
