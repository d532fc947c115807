"""COCO captions: a JSON of ``images`` (``id``, ``file_name``, …) and ``annotations`` (``image_id``, ``caption``)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scot.data.folder import inside, plain
from scot.data.records import RawRecord, Refusals
from scot.errors import InvalidInput, NotFound

_NOT_PAYLOAD = ("id", "file_name", "coco_url", "flickr_url")


def read_coco(file: Path, images: Path | None, refusals: Refusals) -> Iterator[RawRecord]:
    """The images of a COCO captions file, each with all its captions; payload is the image entry's other fields.

    Args:
        file: the JSON.
        images: the folder of the images; by default it is searched beside the file, as COCO is laid out.
        refusals: counts missing files and broken entries.

    Raises:
        InvalidInput: not JSON, or without ``images`` and ``annotations``.
        NotFound: no folder near the file contains the images.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InvalidInput(f"{file.name} is not a readable JSON file ({type(error).__name__})") from error
    entries, annotations = (
        content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations")
    )
    if not isinstance(entries, list) or not isinstance(annotations, list):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else f"a JSON {type(content).__name__}"
        raise InvalidInput(f"{file.name} needs the lists 'images' and 'annotations'; it has {found[:200]}")
    return _records(entries, annotations, images or _find_images(file, entries), refusals)


def _records(
    entries: Sequence[Any], annotations: Sequence[Any], images: Path, refusals: Refusals
) -> Iterator[RawRecord]:
    captions: dict[str, list[str]] = defaultdict(list)
    for number, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and isinstance(annotation.get("caption"), str) and "image_id" in annotation:
            captions[str(annotation["image_id"])].append(annotation["caption"])
        else:
            refusals.add("broken_record", f"annotation {number}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry or not isinstance(entry.get("file_name"), str):
            refusals.add("broken_record", f"image {number}")
            continue
        image_id = str(entry["id"])
        image = inside(images, entry["file_name"])
        if image is None or not image.is_file():
            refusals.add("outside_folder" if image is None else "missing", image_id)
            continue
        fields = ((key, plain(value)) for key, value in entry.items() if key not in _NOT_PAYLOAD)
        payload = {key: value for key, value in fields if value is not None}
        yield RawRecord(image_id, image, tuple(captions.get(image_id, ())), payload)


def _find_images(file: Path, entries: Sequence[Any]) -> Path:
    """The first conventional folder with one of the first images: ``X/`` for ``annotations/captions_X.json``."""
    names = [
        entry["file_name"]
        for entry in entries[:20]
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    ]
    split = file.stem.removeprefix("captions").strip("_-") or "images"
    near, above = file.resolve().parent, file.resolve().parent.parent
    folders = [place / name for place in (near, above) for name in (split, "images", f"images/{split}")] + [near, above]
    for folder in folders:
        if any((path := inside(folder, name)) is not None and path.is_file() for name in names):
            return folder
    if not names:
        return near
    tried = ", ".join(dict.fromkeys(folder.relative_to(above).as_posix() for folder in folders))
    raise NotFound(f"no folder beside {file.name} holds its images (looked in {tried}): name the folder with --images")
