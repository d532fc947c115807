"""Write captioned images in the folder format (see :mod:`scot.data.folder`)."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from scot.errors import InvalidInput

_FILES_PER_FOLDER = 1_000
_RESERVED = frozenset({"id", "image", "caption", "captions"})

Item = tuple[str, Image.Image, Sequence[str], Mapping[str, Any]]


def write_captioned(folder: Path, items: Iterable[Item]) -> int:
    """Write ``(id, image, captions, payload)`` items as PNG files and ``captions.parquet``; returns their number.

    ``captions.parquet`` is renamed into place last: a folder with this file is complete, an interrupted one does not
    have it. Earlier captioned images in the folder are replaced; other files stay.

    Raises:
        InvalidInput: a duplicate id, a payload key that is a column of the format, or one key with values of two types.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".captioned-", dir=folder) as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        table = _table(images, items)
        pq.write_table(table, Path(scratch) / "captions.parquet")
        # Until the last rename the folder has no captions.parquet, so it is visibly incomplete.
        (folder / "captions.parquet").unlink(missing_ok=True)
        if (folder / "images").exists():
            shutil.rmtree(folder / "images")
        images.rename(folder / "images")
        (Path(scratch) / "captions.parquet").rename(folder / "captions.parquet")
    return int(table.num_rows)


def _table(images: Path, items: Iterable[Item]) -> Any:
    ids: dict[str, None] = {}
    files: list[str] = []
    captions: list[list[str]] = []
    payloads: list[Mapping[str, Any]] = []
    for number, (image_id, image, texts, payload) in enumerate(items):
        if image_id in ids:
            raise InvalidInput(f"two images have the id {image_id!r}")
        if clash := _RESERVED & payload.keys():
            raise InvalidInput(f"image {image_id!r} has a payload key {min(clash)!r}, which is a column of the format")
        part = images / f"{number // _FILES_PER_FOLDER:03d}"
        if number % _FILES_PER_FOLDER == 0:
            part.mkdir()
        file = part / f"{number:06d}.png"
        image.save(file, compress_level=1)
        ids[image_id] = None
        files.append(f"images/{part.name}/{file.name}")
        captions.append(list(texts))
        payloads.append(payload)
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "image": pa.array(files, pa.string()),
        "captions": pa.array(captions, pa.list_(pa.string())),
    }
    for key in dict.fromkeys(itertools.chain.from_iterable(payloads)):
        try:
            columns[key] = pa.array([payload.get(key) for payload in payloads])
        except pa.ArrowException as error:
            raise InvalidInput(f"the payload key {key!r} has values of more than one type") from error
    return pa.table(columns)
