"""The folder format: image files with one Parquet or CSV table beside them.

Columns: ``image`` (a path relative to the folder; in Parquet also the encoded bytes), ``caption`` (text) or
``captions`` (a list; in CSV a JSON list), and optionally ``id``. Every other column becomes payload. Without ``id`` the
image path is the id, and consecutive rows with the same image are its captions, as in Flickr30k.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.records import RawRecord, Refusals
from scot.errors import InvalidInput

TABLE_SUFFIXES = (".parquet", ".csv")

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_READ_ROWS = 4_096
_NOT_PAYLOAD = ("id", "image", "caption", "captions")

# An overlong caption is refused by name; with the default limit the csv module would stop reading the file.
csv.field_size_limit(2**31 - 1)


def find_table(folder: Path) -> Path | None:
    """The caption table of a folder: ``captions.parquet``, ``captions.csv``, or its only table if it has no shards.

    Raises:
        InvalidInput: several tables, none of them named ``captions``.
    """
    for suffix in TABLE_SUFFIXES:
        if (named := folder / f"captions{suffix}").is_file():
            return named
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.is_file())
    if not tables or any(folder.glob("*.tar")):
        return None
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InvalidInput(f"{str(folder)!r} has several tables ({names}): name the right one captions.parquet or .csv")
    return tables[0]


def read_table(table: Path, images: Path, refusals: Refusals) -> Iterator[RawRecord]:
    """The records of one table; image paths are relative to ``images``.

    Raises:
        InvalidInput: the table cannot be read, or lacks a column (the message names those it has).
    """
    if table.suffix.lower() == ".parquet":
        columns, rows = _open_parquet(table)
    else:
        columns, rows = _open_csv(table)
    if "image" not in columns or not {"caption", "captions"} & set(columns):
        found = ", ".join(columns) or "no columns at all"
        raise InvalidInput(f"{table.name} needs the columns 'image' and 'caption' (or 'captions'); it has {found}")
    return _records(rows, images, refusals, has_id="id" in columns)


def inside(folder: Path, name: str) -> Path | None:
    """``folder / name``, or None if that is outside of the folder. Links inside the folder may point anywhere."""
    relative = Path(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        return None
    return folder / relative


def plain(value: Any) -> Any:
    """A payload value as JSON, or None for a value that JSON cannot represent (bytes, NaN)."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):  # datetime is a date
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    return None


def _records(
    rows: Iterable[Mapping[str, Any]], images: Path, refusals: Refusals, *, has_id: bool
) -> Iterator[RawRecord]:
    numbered = enumerate(rows, 1)
    if has_id:
        groups: Iterable[Iterable[tuple[int, Mapping[str, Any]]]] = ([row] for row in numbered)
    else:
        groups = (group for _, group in itertools.groupby(numbered, key=lambda row: _group_key(*row)))
    for group in groups:
        same = list(group)
        number, row = same[0]
        name, image = _image(row.get("image"), images)
        image_id = "" if row.get("id") is None else str(row["id"])
        if not has_id:
            image_id = name or f"row-{number}"
        if name and image is None:
            refusals.add("outside_folder", image_id)
            continue
        if isinstance(image, Path) and not image.is_file():
            refusals.add("missing", image_id or name)
            continue
        captions = tuple(caption for _, other in same for caption in _captions(other))
        fields = ((key, plain(value)) for key, value in row.items() if key not in _NOT_PAYLOAD)
        yield RawRecord(image_id, image, captions, {key: value for key, value in fields if value is not None})


def _group_key(number: int, row: Mapping[str, Any]) -> object:
    cell = row.get("image")
    return cell if isinstance(cell, str) and cell else number


def _image(cell: Any, images: Path) -> tuple[str, Path | bytes | None]:
    """``(name, image)`` of an ``image`` cell; the image is None if the name is outside of the folder."""
    if isinstance(cell, Mapping):  # Hugging Face's {bytes, path}
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return "", cell
    name = cell.strip() if isinstance(cell, str) else ""
    return name, inside(images, name) if name else None


def _captions(row: Mapping[str, Any]) -> Iterator[str]:
    for column in ("caption", "captions"):
        cell = row.get(column)
        if isinstance(cell, str) and column == "captions" and cell.lstrip().startswith("["):
            with contextlib.suppress(ValueError):
                cell = json.loads(cell)
        for text in cell if isinstance(cell, list) else [cell]:
            if isinstance(text, str):
                yield text


def _open_parquet(table: Path) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    try:
        file = pq.ParquetFile(table)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{table.name} is not a readable Parquet file ({type(error).__name__})") from error
    return list(file.schema_arrow.names), _parquet_rows(file, table)


def _parquet_rows(file: Any, table: Path) -> Iterator[Mapping[str, Any]]:
    try:
        for batch in file.iter_batches(batch_size=_READ_ROWS):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{table.name} is broken after its header ({type(error).__name__})") from error


def _open_csv(table: Path) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """Header and rows, after a first pass that detects invalid bytes and the payload columns that are numbers."""
    numeric: dict[str, type] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            columns = [name for name in reader.fieldnames or [] if name]
            numeric = dict.fromkeys(columns, int)
            for row in reader:
                for name, kind in list(numeric.items()):
                    cell = row.get(name)
                    if cell and not (kind is int and _INTEGER.fullmatch(cell)):
                        if _NUMBER.fullmatch(cell):
                            numeric[name] = float
                        else:
                            del numeric[name]
    except UnicodeDecodeError:
        raise InvalidInput(f"{table.name} is not UTF-8 text: save it again as UTF-8") from None
    except (csv.Error, OSError) as error:
        raise InvalidInput(f"{table.name} is not a readable CSV file ({error})") from error
    for text in _NOT_PAYLOAD:
        numeric.pop(text, None)
    return columns, _csv_rows(table, numeric)


def _csv_rows(table: Path, numeric: Mapping[str, type]) -> Iterator[Mapping[str, Any]]:
    with table.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            cells = (
                (key, cell) for key, cell in row.items() if isinstance(key, str) and key and cell not in (None, "")
            )
            yield {key: numeric.get(key, str)(cell) for key, cell in cells}
