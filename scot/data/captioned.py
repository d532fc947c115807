"""Images with their captions, from whatever is found in a source, as one record type, read lazily.

``open_source(source)`` detects the format of the source and describes it in one line:

- a folder with a table of captions (``captions.csv``, ``metadata.jsonl``, … :mod:`scot.data.folder`);
- WebDataset shards: a folder of ``*.tar``, one tar, or a brace pattern (:mod:`scot.data.webdataset`);
- a COCO captions JSON (:mod:`scot.data.coco`);
- any other folder with image files in it, at any depth (:mod:`scot.data.folder`).

An invalid record is counted in :class:`~scot.data.records.Refusals` and does not affect the others; an invalid source
raises one error. :mod:`scot.data.captioned_writer` writes the folder format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from scot.data import coco, folder, paths, patterns, webdataset
from scot.data.columns import Table
from scot.data.key_table import SeenIds
from scot.data.payload import MAX_PAYLOAD_BYTES, clean, payload_bytes, stored_payload
from scot.data.places import Place, open_place
from scot.data.records import MAX_CAPTION_CHARS, MAX_ID_CHARS, CaptionedImage, RawRecord, Refusals
from scot.data.suffixes import TABLE_SUFFIXES
from scot.data.table_records import read_table
from scot.data.tables import open_table
from scot.errors import InvalidInput, NotFound

Captions = Literal["required", "optional"]
_PACKED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_LAYOUTS = "captions.csv, .tsv, .jsonl or captions.parquet, *.tar shards, a COCO captions JSON"


@dataclass(frozen=True)
class Source:
    """A source that was opened: what it is, and how to read it. Reading it twice gives the same records."""

    name: str
    """The source as it was named."""
    root: Place
    """The folder that the paths of records are relative to."""
    layout: str
    """One line: the layout that was found, with its columns."""
    captions: Captions
    """Whether an image without a caption is refused."""
    in_tars: bool
    """Whether captions are stored between the images, so that counting means reading the images too."""
    _records: Callable[[Refusals], Iterable[RawRecord]]
    _count: int | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.layout}"

    def read(self, refusals: Refusals, seen: MutableMapping[str, str] | None = None) -> Iterator[CaptionedImage]:
        """Read the images lazily, in the source's order; records that are refused are counted.

        Args:
            refusals: counts the refused records (:data:`scot.data.records.REASONS`).
            seen: the ids of other sources, by which no image of this one may be named; this source's are added.
        """
        return _checked(self, refusals, SeenIds() if seen is None else seen)

    def count(self) -> int | None:
        """The number of usable records, or None if counting means reading the images too (tars)."""
        if self._count is not None or self.in_tars:
            return self._count
        return sum(1 for _ in self.read(Refusals(keep=0)))

    def records(self, refusals: Refusals) -> Iterable[RawRecord]:
        """What the format's reader finds, before the common checks."""
        return self._records(refusals)


def open_source(source: str | Path, *, images: str | Path | None = None, captions: Captions = "required") -> Source:
    """Detect the format of a source. No image is decoded.

    Args:
        source: a folder, a table, a tar or pattern of tars or Parquet files, or a COCO captions JSON: a path or a URL.
        images: the folder of the images, where it is not the conventional one (COCO, tables).
        captions: ``optional`` if images without a caption are wanted too, as for indexing.

    Raises:
        NotFound: ``source`` does not exist.
        InvalidInput: ``source`` has none of the formats, has no images, or its table cannot be read.
        PermissionDenied, Unavailable: of a URL, :func:`scot.data.remote_errors.reaching`.
    """
    place = None if images is None else open_place(images)
    if place is not None and not place.is_dir():
        raise NotFound(f"there is no image folder {str(place)!r}")
    name = str(source)
    if not name.strip():
        raise InvalidInput("the name of a source is empty: name a folder (is a variable of the command line not set?)")
    if not paths.encodable(name):
        raise InvalidInput(f"the source {name!a} is not UTF-8: rename it")
    if patterns.is_pattern(name):
        shards = patterns.expand(name)
        root = open_place(re.split(r"[{*]", name)[0] + "x").parent
        if name.endswith(".tar"):
            return _of_shards(name, root, shards, captions)
        return _of_table(name, shards, place or root, captions)
    path = open_place(source)
    if not path.exists():
        raise NotFound(f"there is nothing at {name!r}")
    if path.is_dir():
        try:
            return _of_folder(name, path, place, captions)
        except OSError as error:
            raise InvalidInput(f"{name!r} cannot be read ({error.strerror})") from error
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".tar":
        return _of_shards(name, path.parent, [path], captions)
    if path.is_file() and suffix == ".json":
        return _of_coco(name, path, place, captions)
    if path.is_file() and suffix in TABLE_SUFFIXES:
        return _of_table(name, [path], place or path.parent, captions)
    if suffix in _PACKED:
        raise InvalidInput(f"{name!r} cannot be streamed: unpack it, or make .tar shards of what is in it")
    raise InvalidInput(
        f"{name!r} is not a folder of images, a .parquet, .arrow, .csv, .tsv, .jsonl or .tar file, or a COCO .json"
    )


def open_sources(sources: Sequence[str | Path], *, captions: Captions = "required") -> list[Source]:
    """Open several sources, before any of them is read. Raises as :func:`open_source`."""
    return [open_source(source, captions=captions) for source in sources]


def read_sources(sources: Iterable[Source], refusals: Refusals) -> Iterator[CaptionedImage]:
    """Read the images of several sources, one after the other; an id that two of them have is a ``duplicate_id``."""
    seen = SeenIds()
    for source in sources:
        yield from source.read(refusals, seen)


def read_captioned(
    source: str | Path, refusals: Refusals, *, images: str | Path | None = None, captions: Captions = "required"
) -> Iterator[CaptionedImage]:
    """Open a source and read it, both as :func:`open_source` and :meth:`Source.read`."""
    return open_source(source, images=images, captions=captions).read(refusals)


def describe(source: str | Path, *, captions: Captions = "required") -> str:
    """One line: what a source is found to be, in which layout, with which columns. Raises as :func:`open_source`."""
    return str(open_source(source, captions=captions))


def count(sources: Iterable[Source]) -> int | None:
    """The number of usable records of several sources, or None if one of them does not know (tars)."""
    counts = [source.count() for source in sources]
    return sum(each for each in counts if each is not None) if None not in counts else None


def _of_table(name: str, files: Sequence[Place], root: Place, captions: Captions) -> Source:
    table = open_table(files, captions=captions)
    _check_rows(table)
    return Source(name, root, str(table), captions, False, partial(read_table, table, root))


def _of_folder(name: str, path: Place, images: Place | None, captions: Captions) -> Source:
    table, unread = folder.find_table(path, captions=captions)
    if table is not None:
        _check_rows(table, path)
        root = images or path
        others = "" if captions == "required" or table.embedded else "images that it does not name have no caption"
        layout = "; ".join(filter(None, (str(table), others, unread)))
        return Source(name, root, layout, captions, False, partial(folder.read_folder, table, root, captions))
    found = folder.survey(path)
    shards = [] if found.images else paths.files_below(path, ".tar")
    if any(not paths.hidden(shard.name) for shard in shards):
        return _of_shards(name, path, shards, captions)
    listed = [each for each in paths.names(path, (".json",)) if each.startswith("captions")]
    if (path / "annotations").is_dir():
        below = paths.names(path / "annotations", (".json",))
        listed += [f"annotations/{each}" for each in below if each.startswith("captions")]
    if len(listed) > 1:
        raise InvalidInput(f"{name!r} has several caption files ({', '.join(listed)}): name one of them")
    if listed:
        return _of_coco(name, path / listed[0], images, captions)
    if not found.images:
        what = "is empty" if not any(path.iterdir()) else f"has none of them{_instead(found, unread)}"
        raise InvalidInput(f"a folder of images holds image files at any depth, {_LAYOUTS}; {name!r} {what}")
    number = f"{found.images:,} image file{'' if found.images == 1 else 's'}"
    if captions == "required" and not found.texts:
        raise InvalidInput(
            f"captions are needed: {_LAYOUTS}, or a .txt beside each image; "
            f"{name!r} holds {number} and has none of them"
        )
    texts = f"captions from .txt files beside them ({found.texts:,} there)" if found.texts else "no captions"
    skipped = found.skipped.summary() if found.skipped.total else ""
    layout = "; ".join(filter(None, (number, "their paths are their ids", texts, unread, skipped)))
    read = partial(folder.read_images, path, texts=found.texts > 0)
    return Source(name, path, layout, captions, False, read, found.images if captions == "optional" else None)


def _instead(found: folder.Survey, unread: str) -> str:
    """What a folder without images holds."""
    others = ", ".join(f"{number:,} {suffix or 'without a suffix'}" for suffix, number in found.others.most_common(3))
    parts = filter(
        None, (f"files: {others}" if others else "", unread, found.skipped.total and found.skipped.summary())
    )
    return "".join(f"; {part}" for part in parts)


def _check_rows(table: Table, beside: Place | None = None) -> None:
    """Raise InvalidInput for a table without rows that can be read; the sentence says what the folder has instead."""
    refusals = Refusals()
    if next(table.read(refusals), None) is None:
        empty = f"no row of {table.name} can be read: {refusals.summary()}"
        empty = empty if refusals.total else f"{table.name} has no rows below its column names"
        number = folder.survey(beside).images if beside else 0
        files = f"{number:,} image file{'' if number == 1 else 's'}"
        raise InvalidInput(f"{empty}{f'; beside it are {files}: fill or remove the table' if number else ''}")


def _of_shards(name: str, root: Place, shards: Sequence[Place], captions: Captions) -> Source:
    visible = [shard.name for shard in shards if not paths.hidden(shard.name)]
    names = visible[0] if len(visible) == 1 else f"{len(visible):,} shards, {visible[0]} … {visible[-1]}"
    read = partial(webdataset.read_shards, shards)
    return Source(name, root, f"WebDataset, {names}; keys are ids", captions, True, read)


def _of_coco(name: str, file: Place, images: Place | None, captions: Captions) -> Source:
    opened = coco.open_coco(file, images, captions=captions)
    return Source(name, opened.images, str(opened), captions, False, opened.read)


def _checked(source: Source, refusals: Refusals, seen: MutableMapping[str, str]) -> Iterator[CaptionedImage]:
    """Apply the checks that all formats share."""
    for record in source.records(refusals):
        image_id, where = record.image_id, record.where
        captions = tuple(dict.fromkeys(text.strip() for text in record.captions if text and text.strip()))
        fitting = tuple(text for text in captions if len(text) <= MAX_CAPTION_CHARS)
        reason = _id_refusal(image_id, seen)
        if reason == "duplicate_id" and seen[image_id] != source.name:
            where = "; ".join(filter(None, (where, f"also in {seen[image_id]}")))
        elif reason == "duplicate_id" and not where and paths.normal_path(record.path) == image_id:
            where = "the same name as an earlier file, in another Unicode form"
        payload = {}
        if not all(map(paths.encodable, (image_id, *record.captions))):
            reason, image_id = "broken_record", ascii(image_id)
        elif reason is None and record.image is None:
            reason = "missing"
        elif reason is None and not fitting and source.captions == "required":
            reason = "caption_too_long" if captions else "empty_caption"
        if reason is None:
            try:
                payload = clean(record.payload)
                too_large = payload_bytes(stored_payload(fitting, payload)) > MAX_PAYLOAD_BYTES
                reason = "payload_too_large" if too_large else None
            except UnicodeEncodeError:
                reason = "broken_record"
            except ValueError as error:
                reason, where = "payload_key", "; ".join(filter(None, (where, str(error))))
        if reason is not None or record.image is None:
            refusals.add(reason or "missing", image_id, where)
            continue
        if len(fitting) < len(captions):
            # The image keeps its other captions; the long one is still counted.
            refusals.add("caption_too_long", image_id, where)
        seen[image_id] = source.name
        yield CaptionedImage(image_id, record.image, fitting, payload, record.path)


def _id_refusal(image_id: str, seen: Container[str]) -> str | None:
    if not image_id:
        return "empty_id"
    if len(image_id) > MAX_ID_CHARS:
        return "id_too_long"
    return "duplicate_id" if image_id in seen else None
