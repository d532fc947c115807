"""COCO captions: a JSON of ``images`` (``id``, ``file_name``, …) and ``annotations`` (``image_id``, ``caption``)."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scot.data.paths import inside, is_file, locate
from scot.data.places import Place, RemotePath, below
from scot.data.records import RawRecord, Refusals
from scot.errors import InvalidInput, NotFound

_NOT_PAYLOAD = ("id", "file_name", "coco_url", "flickr_url")


@dataclass(frozen=True, slots=True)
class Coco:
    """An opened COCO JSON and the folder of its images."""

    name: str
    entries: Sequence[Any]
    annotations: Sequence[Any]
    images: Place
    captioned: bool

    def __str__(self) -> str:
        holds = f"captions: {len(self.annotations):,}" if self.captioned else "object annotations, no captions"
        return f"{self.name}: COCO, images in {self.images.name}/: {len(self.entries):,}, {holds}; COCO's ids"

    def read(self, refusals: Refusals) -> Iterator[RawRecord]:
        """The images, each with all its captions; payload is the image entry's other fields."""
        captions: dict[str, list[str]] = defaultdict(list)
        for number, annotation in enumerate(self.annotations if self.captioned else ()):
            if isinstance(annotation, dict) and isinstance(annotation.get("caption"), str) and "image_id" in annotation:
                captions[str(annotation["image_id"])].append(annotation["caption"])
            else:
                refusals.add("broken_record", f"annotation {number}")
        listed = {str(entry["id"]) for entry in self.entries if isinstance(entry, dict) and "id" in entry}
        for image_id in captions.keys() - listed if captions.keys() - listed else ():
            for text in captions[image_id]:
                refusals.add("unknown_image", image_id, text)
        for number, entry in enumerate(self.entries):
            yield from self._record(number, entry, captions, refusals)

    def _record(
        self, number: int, entry: Any, captions: dict[str, list[str]], refusals: Refusals
    ) -> Iterator[RawRecord]:
        where = f"image {number}"
        if not isinstance(entry, dict) or "id" not in entry or not isinstance(entry.get("file_name"), str):
            refusals.add("broken_record", where)
            return
        image_id = str(entry["id"])
        relative = inside(self.images, entry["file_name"])
        path = None if relative is None else locate(self.images, relative)
        if path is None or not (isinstance(self.images, RemotePath) or is_file(self.images / path)):
            refusals.add("outside_folder" if relative is None else "missing", image_id, entry["file_name"])
            return
        payload = {key: value for key, value in entry.items() if key not in _NOT_PAYLOAD}
        yield RawRecord(image_id, self.images / path, tuple(captions.get(image_id, ())), payload, path, where)


def open_coco(file: Place, images: Place | None, *, captions: str) -> Coco:
    """Open a COCO captions file.

    Args:
        file: the JSON.
        images: the folder of the images; by default it is searched beside the file, as COCO is laid out.
        captions: ``required``, or ``optional``: the images of object annotations are read too.

    Raises:
        InvalidInput: not JSON, without ``images`` and ``annotations``, without images, or without captions.
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
    if not entries:
        raise InvalidInput(f"{file.name} lists no images")
    objects = any(isinstance(each, dict) and {"bbox", "category_id"} & each.keys() for each in annotations)
    captioned = any(isinstance(each, dict) and "caption" in each for each in annotations) or not objects
    if not captioned and captions == "required":
        raise InvalidInput(f"{file.name} has object annotations, no captions: name COCO's captions_*.json")
    return Coco(file.name, entries, annotations, images or _find_images(file, entries), captioned)


def _find_images(file: Place, entries: Sequence[Any]) -> Place:
    """The first conventional folder with one of the first images: ``X/`` for ``annotations/captions_X.json``."""
    names = [
        entry["file_name"]
        for entry in entries[:20]
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    ]
    split = re.sub(r"^(captions|instances|person_keypoints)(?![a-z])", "", file.stem).strip("_-") or "images"
    near, above = file.resolve().parent, file.resolve().parent.parent
    folders = [place / name for place in (near, above) for name in (split, "images", f"images/{split}")] + [near, above]
    for folder in folders:
        if any((path := inside(folder, name)) is not None and _exists(folder, path) for name in names):
            return folder
    if not names:
        return near
    tried = ", ".join(dict.fromkeys(below(folder, above) for folder in folders))
    raise NotFound(
        f"no folder beside {file.name} holds its images (looked in {tried}): put the images into one of them"
    )


def _exists(folder: Place, path: str) -> bool:
    found = locate(folder, path)
    return found is not None and (not isinstance(folder, RemotePath) or (folder / found).is_file())
