"""The columns of a table of captions: which is the image, the captions, the id, and what is payload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from scot.data.payload import RESERVED, nest
from scot.data.records import Refusals
from scot.errors import InvalidInput

IMAGE_COLUMNS = (
    *("image", "file_name", "filename", "image_path", "img_path", "file_path", "filepath", "image_file"),
    *("image_name", "img_name", "file", "img", "path", "picture", "photo", "image_bytes", "jpg", "png", "webp"),
)
CAPTION_COLUMNS = ("text", "texts", "sentence", "sentences", "alt_text", "alt", "comment")
"""Taken when there is neither ``caption`` nor ``captions``: the first one that is there."""

Row = tuple[int, Mapping[str, Any]]
"""The number of a row (of a line in text files), and its cells that are not empty."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what, by their names in the table."""

    image: str
    captions: tuple[str, ...]
    id: str | None
    payload: tuple[str, ...]
    kinds: Mapping[str, str]
    """What the values of a payload column are, where that is not plain text."""

    def __str__(self) -> str:
        parts = [f"image from {self.image!r}"]
        if self.captions:
            parts.append(f"captions from {' and '.join(map(repr, self.captions))}")
        else:
            parts.append("no captions")
        parts.append(f"id from {self.id!r}" if self.id else "the image's path is its id")
        if self.payload:
            shown = self.payload[:12]
            names = ", ".join(
                f"{name.strip()} ({self.kinds[name]})" if name in self.kinds else name.strip() for name in shown
            )
            parts.append(f"payload: {names}{f', … ({len(self.payload)} in all)' if len(self.payload) > 12 else ''}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Table:
    """An opened table: its header and first rows were read and are sound."""

    name: str
    columns: Columns
    count: int | None
    """The number of rows, where it is known before reading."""
    unit: str
    """What a row's number counts: ``line`` or ``row``."""
    embedded: bool
    """Whether the image column holds encoded images instead of paths."""
    note: str
    """More to say about how the table is read."""
    read: Callable[[Refusals], Iterator[Row]]
    """Read the rows; a row that cannot be read is counted."""

    def __str__(self) -> str:
        rows = "" if self.count is None else f" with {self.count:,} {'row' if self.count == 1 else 'rows'}"
        return f"{self.name}{rows}: {self.columns}{f'; {self.note}' if self.note else ''}"

    def example(self) -> list[Mapping[str, Any]]:
        """The first rows."""
        return [cells for _, cells in islice(self.read(Refusals()), 20)]


def has_images(names: Sequence[str]) -> bool:
    """Whether one of the columns can hold images."""
    return any(_known(name) in IMAGE_COLUMNS for name in names)


def _known(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def choose(table: str, names: Sequence[str], captions: str) -> Columns:
    """Which column is what. Raises InvalidInput as :func:`scot.data.tables.open_table`."""
    used = [name for name in names if name.strip()]
    if twice := [name for name, count in Counter(map(str.strip, used)).items() if count > 1]:
        raise InvalidInput(f"{table} has the column {twice[0]!r} twice: rename or remove one of them")
    known: dict[str, str] = {}
    roles = {*IMAGE_COLUMNS, *CAPTION_COLUMNS, "caption", "captions", "id"}
    for name in used:
        other = known.setdefault(_known(name), name)
        if other != name and _known(name) in roles:
            raise InvalidInput(
                f"{table} has the columns {other!r} and {name!r}, which mean the same: remove one of them"
            )
    image = next((known[name] for name in IMAGE_COLUMNS if name in known), None)
    texts = [known[name] for name in ("caption", "captions") if name in known]
    texts = texts or [known[name] for name in CAPTION_COLUMNS if name in known][:1]
    if image is None or (not texts and captions == "required"):
        found = ", ".join(used) or "no columns at all"
        wanted = "columns 'image' and 'caption' (or 'file_name', 'text' …)"
        if captions != "required":
            wanted = "column 'image' (or 'file_name' …)"
        raise InvalidInput(f"{table} needs the {wanted}; it has {found}")
    rest = tuple(name for name in used if name not in (image, known.get("id"), *texts))
    for name in rest:
        if name.strip().startswith(RESERVED):
            raise InvalidInput(f"{table} has the column {name!r}: names that begin with {RESERVED!r} are reserved")
    try:
        nest((name.strip(), 0) for name in rest)
    except ValueError as error:
        raise InvalidInput(f"{table} has a column that cannot become payload: {error}; rename it") from None
    return Columns(image, tuple(texts), known.get("id"), rest, {})


def with_kinds(columns: Columns, kinds: Mapping[str, str]) -> Columns:
    """The columns with the kinds of those that are not plain text."""
    return replace(columns, kinds={name: kind for name, kind in kinds.items() if kind not in ("", "text")})


def notes_on(columns: Columns, names: Sequence[str]) -> list[str]:
    """What else to say of columns that are read, and of those that are not."""
    notes = []
    if dotted := [name.strip() for name in columns.payload if "." in name]:
        notes.append(f"a dot nests: {dotted[0]!r} becomes {_braces(dotted[0])}")
    if nameless := sum(not name.strip() for name in names):
        notes.append(f"{nameless} column{'s' if nameless > 1 else ''} without a name not read")
    return notes


def _braces(key: str) -> str:
    return "{" + ": {".join(key.split(".")) + ": …" + "}" * (key.count(".") + 1)
