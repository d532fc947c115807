"""Captioned images from any of the known sources, as one record type, read lazily.

``read_captioned(source, refusals)`` detects the format of the source:

- a folder with ``captions.parquet`` or ``captions.csv`` (:mod:`scot.data.folder`);
- WebDataset shards: a folder of ``*.tar``, one tar, or a brace pattern (:mod:`scot.data.webdataset`);
- a COCO captions JSON (:mod:`scot.data.coco`).

An invalid record is counted in :class:`~scot.data.records.Refusals` and does not affect the others; an invalid source
raises one error. :mod:`scot.data.captioned_writer` writes the folder format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from scot.data import coco, folder, webdataset
from scot.data.records import MAX_CAPTION_CHARS, MAX_ID_CHARS, CaptionedImage, RawRecord, Refusals
from scot.errors import InvalidInput, NotFound


def read_captioned(
    source: str | Path, refusals: Refusals, *, images: str | Path | None = None
) -> Iterator[CaptionedImage]:
    """Read captioned images lazily, in the source's order; refused records are counted in ``refusals``.

    Args:
        source: a folder, a tar or brace pattern of tars, or a COCO captions JSON.
        refusals: counts the refused records (:data:`scot.data.records.REASONS`).
        images: the folder of the images, if it is not the conventional one (COCO, folders).

    Raises:
        NotFound: ``source`` does not exist.
        InvalidInput: ``source`` has none of the formats, or its caption file cannot be read.
    """
    return _checked(_open(str(source), None if images is None else Path(images), refusals), refusals)


def count(sources: Iterable[str | Path]) -> int | None:
    """The number of usable records of several sources, or None if counting means reading the images too (tars).

    Raises:
        NotFound, InvalidInput: as :func:`read_captioned`.
    """
    total = 0
    for source in sources:
        if in_tars(source):
            return None
        total += sum(1 for _ in read_captioned(source, Refusals()))
    return total


def in_tars(source: str | Path) -> bool:
    """Whether a source is WebDataset shards, where the captions are stored between the images."""
    path = Path(source)
    return ".tar" in str(source) or (path.is_dir() and folder.find_table(path) is None and any(path.glob("*.tar")))


def _open(source: str, images: Path | None, refusals: Refusals) -> Iterable[RawRecord]:
    if images is not None and not images.is_dir():
        raise NotFound(f"there is no image folder {str(images)!r}")
    if webdataset.is_pattern(source):
        return webdataset.read_shards(webdataset.expand(source), refusals)
    path = Path(source)
    if not path.exists():
        raise NotFound(f"there is nothing at {source!r}")
    if path.is_dir():
        table = folder.find_table(path)
        if table is not None:
            return folder.read_table(table, images or path, refusals)
        if shards := sorted(path.glob("*.tar")):
            return webdataset.read_shards(shards, refusals)
        if captions := sorted(path.glob("captions*.json")) + sorted(path.glob("annotations/captions*.json")):
            if len(captions) > 1:
                names = ", ".join(file.name for file in captions)
                raise InvalidInput(f"{source!r} has several caption files ({names}): name one of them")
            return coco.read_coco(captions[0], images, refusals)
        what = "is empty" if not any(path.iterdir()) else "has none of them"
        raise InvalidInput(
            f"a folder of captioned images holds captions.parquet, captions.csv, *.tar shards or a COCO captions JSON; "
            f"{source!r} {what}"
        )
    suffix = path.suffix.lower()
    if suffix == ".tar":
        return webdataset.read_shards([path], refusals)
    if suffix == ".json":
        return coco.read_coco(path, images, refusals)
    if suffix in folder.TABLE_SUFFIXES:
        return folder.read_table(path, images or path.parent, refusals)
    raise InvalidInput(f"{source!r} is not a captioned folder, a .parquet, .csv or .tar file, or a COCO captions .json")


def _checked(records: Iterable[RawRecord], refusals: Refusals) -> Iterator[CaptionedImage]:
    """Apply the checks that all formats share."""
    ids: set[str] = set()
    for record in records:
        image_id = record.image_id.strip()
        reason = _id_refusal(image_id, ids)
        if not all(map(_encodable, (image_id, *record.captions))):
            reason, image_id = "broken_record", ascii(image_id)
        captions = tuple(text.strip() for text in record.captions if text and text.strip())
        if reason is None and record.image is None:
            reason = "missing"
        if reason is None and not captions:
            reason = "empty_caption"
        fitting = tuple(text for text in captions if len(text) <= MAX_CAPTION_CHARS)
        if reason is None and not fitting:
            reason = "caption_too_long"
        if reason is not None or record.image is None:
            refusals.add(reason or "missing", image_id)
            continue
        if len(fitting) < len(captions):
            # The image keeps its other captions; the long one is counted.
            refusals.add("caption_too_long", image_id)
        ids.add(image_id)
        yield CaptionedImage(image_id, record.image, fitting, record.payload)


def _encodable(text: str) -> bool:
    """Whether text is valid Unicode: JSON can contain half of a surrogate pair, which no other format can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _id_refusal(image_id: str, ids: set[str]) -> str | None:
    if not image_id:
        return "empty_id"
    if len(image_id) > MAX_ID_CHARS:
        return "id_too_long"
    return "duplicate_id" if image_id in ids else None
