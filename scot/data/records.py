"""A captioned image, and the count of refused records: what the reader of every format produces."""

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
    "missing": "the record names no image, or the image file does not exist",
    "outside_folder": "an image path that leaves the source's folder",
    "broken_record": "a record that cannot be read at all (a tar member, a JSON entry)",
    "broken_shard": "a file that is not a tar, or is truncated; its samples before that point are read",
    "too_large": "an image of more bytes than the limit of decoding",
}
"""The reasons for which readers refuse a record. Decoding adds :data:`scot.data.images.REASONS`."""


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image with at least one caption: ``image`` is a file or its bytes, ``payload`` all other fields."""

    image_id: str
    image: Path | bytes
    captions: tuple[str, ...]
    payload: Mapping[str, Any]

    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            ImageRefused: ``missing``, ``unreadable``, or ``too_large`` for a file above the limit of decoding.
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
            reason = error.strerror or type(error).__name__
            raise ImageRefused("unreadable", f"the image file {self.image.name!r} cannot be read: {reason}") from None
        if len(data) > limit:
            raise ImageRefused("too_large", f"the image file {self.image.name!r} has more than {limit:,} bytes")
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

    def add(self, reason: str, what: str) -> None:
        """Count one refusal of ``what`` (an id, a file name, a line number)."""
        self.counts[reason] += 1
        names = self.examples.setdefault(reason, [])
        if len(names) < self.keep:
            names.append(what if len(what) <= 80 else what[:79] + "…")

    @property
    def total(self) -> int:
        """The number of refused records."""
        return self.counts.total()

    def summary(self) -> str:
        """One sentence with the counts, reasons and examples."""
        if not self.total:
            return "nothing was refused"
        return f"{self.total:,} refused: {'; '.join(self._reason(*item) for item in self.counts.most_common())}"

    def _reason(self, reason: str, count: int) -> str:
        names = self.examples[reason]
        return f"{count:,} {reason} ({', '.join(names)}{', …' if count > len(names) else ''})"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as the reader of a format returns it, before the common checks. ``image`` is None if it has none."""

    image_id: str
    image: Path | bytes | None
    captions: tuple[str, ...]
    payload: Mapping[str, Any]
