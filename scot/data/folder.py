"""A folder of image files, with a table of captions beside them or with none.

With a table (:mod:`scot.data.tables`), its rows are the records; image paths are relative to the folder. Without an id
column the path is the id, and all rows of one image are its several captions. Without a table, every image file below
the folder is a record, its path is its id, and a ``.txt`` beside it is its caption.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from scot.data import paths
from scot.data.columns import Row, Table, has_images
from scot.data.key_table import KeyTable
from scot.data.places import Place, RemotePath, below
from scot.data.read_ahead import read_ahead
from scot.data.records import RawRecord, Refusals, read_file
from scot.data.saved_dataset import data_files, split_folder
from scot.data.suffixes import TABLE_SUFFIXES
from scot.data.tables import column_names, open_table
from scot.errors import ImageRefused, InvalidInput

_MAX_TEXT_BYTES = 2**20
_UNREADABLE_ROWS = ("open_quote", "too_many_cells", "broken_record")
"""Reasons for which a row is refused before it is known which image it names."""
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_LIST = re.compile(rf"\[[\s,]*(?:(?:{_QUOTED})[\s,]*)+\]", re.DOTALL)
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\b.*\.(?:parquet|arrow)")  # how Hugging Face names the parts of one table


# -- image files without a table ----------------------------------------------------------------------------------


def read_images(root: Place, refusals: Refusals, *, texts: bool = True) -> Iterator[RawRecord]:
    """A record for every image file below ``root``; with ``texts``, its captions are looked for."""

    def record(found: tuple[str, Place]) -> RawRecord:
        path, image = found
        captions = _text_beside(root, path, refusals) if texts else ()
        return RawRecord(paths.normal_path(path) if "\\" not in path else path, image, captions, {}, path)

    images = paths.walk(root, refusals)
    return read_ahead(images, record) if texts and isinstance(root, RemotePath) else map(record, images)


def _text_beside(root: Place, path: str, refusals: Refusals) -> tuple[str, ...]:
    try:
        text = read_file(root / f"{path.removesuffix(paths.suffix_of(path, lower=False))}.txt", _MAX_TEXT_BYTES)
        return (text.decode("utf-8-sig"),)
    except UnicodeDecodeError:
        refusals.add("broken_caption", path)
    except ImageRefused as error:
        if error.reason != "missing":
            refusals.add("broken_caption", path)
    return ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a folder: the number of images and of text files, and what is skipped."""

    images: int
    texts: int
    others: Counter[str]
    skipped: Refusals


def survey(root: Place) -> Survey:
    """Count the files below a folder; none is opened."""
    others: Counter[str] = Counter()
    skipped = Refusals()
    images = sum(1 for _ in paths.walk(root, skipped, others))
    return Survey(images, others.pop(".txt", 0), others, skipped)


# -- a table ------------------------------------------------------------------------------------------------------


def find_table(folder: Place, *, captions: str) -> tuple[Table | None, str]:
    """The table of a folder, and what to say of tables that are not read.

    ``captions.*`` comes before ``metadata.*``, and these before the files of a data set that ``datasets`` has saved, or
    the only other table that names images of the folder.

    Raises:
        InvalidInput: several tables of one rank, the one to read cannot be read, or a data set of several splits.
    """
    tables = [folder / name for name in paths.names(folder, TABLE_SUFFIXES)]
    ranks = [[file for file in tables if file.stem.lower() == stem] for stem in ("captions", "metadata")]
    ranks[1] = [file for file in ranks[1] if has_images(column_names(file))]
    if saved := data_files(folder, tables):
        ranks.append(saved)
    else:
        others = [file for file in tables if not any(file in rank for rank in ranks)]
        ranks.append([file for file in others if _names_images(file, folder)])
    chosen = next((rank for rank in ranks if rank), None)
    if chosen is None:
        parts = [file for file in _parquet_files(folder / "data") if _names_images(file, folder)]
        if not parts and (split := split_folder(folder)) is not None:
            return find_table(split, captions=captions)
        if not parts:
            return None, _not_read([file.name for file in tables])
        chosen = parts
    if len(chosen) > 1 and not _parts_of_one(chosen):
        listed = ", ".join(below(file, folder) for file in chosen)
        raise InvalidInput(f"{str(folder)!r} has several tables ({listed}): name the one to read")
    table = open_table(chosen, captions=captions)
    return table, _not_read([file.name for file in tables if file not in chosen])


def read_table(table: Table, images: Place, refusals: Refusals) -> Iterator[RawRecord]:
    """The records of a table; image paths are relative to ``images``.

    Raises:
        InvalidInput: the table breaks off.
    """
    return _TableReader(table, images, refusals).records()


def read_folder(table: Table, images: Place, captions: str, refusals: Refusals) -> Iterator[RawRecord]:
    """The records of the table of a folder, then the image files below the folder that the table does not name.

    These are records without captions if captions are optional and every row could be read; else they are counted as
    ``not_in_table``. Subfolders with a table of their own are left out, and all files beside a table that holds the
    images itself. At a URL they are not counted: that would list every file for a number.
    """
    reader, before = _TableReader(table, images, refusals), refusals.counts.copy()
    yield from reader.records()
    if table.embedded or (captions == "required" and isinstance(images, RemotePath)):
        return
    without_captions = captions == "optional" and not refusals.since(before, _UNREADABLE_ROWS)

    @cache
    def has_table(folder: str) -> bool:
        """Whether a subfolder or one above it has a table of captions."""
        if not folder:
            return False
        stems = {PurePosixPath(name).stem.lower() for name in paths.names(images / folder, TABLE_SUFFIXES)}
        return bool(stems & {"captions", "metadata"}) or has_table(folder.rpartition("/")[0])

    skipped = refusals if captions == "optional" else Refusals(keep=0)
    for path, image in paths.walk(images, skipped, known=reader.named):
        if has_table(path.rpartition("/")[0]):
            continue
        if without_captions:
            yield RawRecord(paths.normal_path(path), image, (), {}, path, f"not in {table.name}")
        else:
            refusals.add("not_in_table", path)


def _names_images(file: Place, folder: Place) -> bool:
    """Whether a table has an image column and one of its first rows has an image."""
    if not has_images(column_names(file)):
        return False
    try:
        table = open_table([file], captions="optional")
    except InvalidInput as error:
        return "twice" in str(error) or "mean the same" in str(error)
    cells = [cells.get(table.columns.image) for cells in table.example()]
    return any(not isinstance(cell, str) or _file(folder, cell)[1] for cell in cells if cell)


def _parquet_files(folder: Place) -> list[Place]:
    return [folder / name for name in paths.names(folder, (".parquet",))] if folder.is_dir() else []


def _parts_of_one(files: list[Place]) -> bool:
    matches = [_PART.fullmatch(file.name) for file in files]
    return len({match[1] if match else file.name for match, file in zip(matches, files, strict=True)}) == 1


def _not_read(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''} not read" if names else ""


class _TableReader:
    """Turns the rows of one table into records."""

    def __init__(self, table: Table, images: Place, refusals: Refusals) -> None:
        self._table, self._images, self._refusals = table, images, refusals
        self._columns = table.columns
        self._roles = {table.columns.image, table.columns.id, *table.columns.captions}
        self.named = KeyTable()
        """The paths of the images that the rows read so far name, whether or not they are there."""

    def records(self) -> Iterator[RawRecord]:
        """The records of all rows."""
        if self._columns.id is None and not self._table.embedded:
            return self.by_image()
        return (record for row in self._table.read(self._refusals) for record in self.record(row))

    def record(self, row: Row) -> Iterator[RawRecord]:
        """The record of one row, if its image is there."""
        number, cells = row
        name, embedded = _cell(cells.get(self._columns.image))
        where = f"{self._table.name} {self._table.unit} {number}"
        image_id = paths.normal_path(name) if name else f"row-{number}"
        if embedded is None:
            self.named.add_one(paths.normal_path(paths.inside(self._images, name) or ""))
        if self._columns.id is not None:
            id_cell = _id(cells.get(self._columns.id))
            if not id_cell:
                self._refusals.add("empty_id", name, where)
                return
            image_id = id_cell
        captions = self._captions(cells, image_id, where)
        if embedded is not None:
            yield RawRecord(image_id, embedded, captions, self._payload(cells), "", where)
            return
        reason, path = _file(self._images, name)
        if path is None:
            hint = ""
            if reason == "missing" and name and self._refusals.wants(reason):
                similar = paths.similar_name(self._images, paths.inside(self._images, name) or name)
                hint = f"; there is {similar!r}" if similar else ""
            self._refusals.add(reason, image_id if self._columns.id else name or image_id, where + hint)
            return
        if self._columns.id is None:
            image_id = paths.normal_path(path)
        yield RawRecord(image_id, self._images / path, captions, self._payload(cells), path, where)

    def by_image(self) -> Iterator[RawRecord]:
        """Records of all rows of one image, wherever they stand; an image comes where its last row is."""
        numbers, remaining = KeyTable(), array("I")  # four bytes an image: a table may have hundreds of millions
        for key, _ in self._groups(self._table.read(Refusals(keep=0))):
            if (number := numbers.add_one(key)) == len(remaining):
                remaining.append(0)
            remaining[number] += 1
        begun: dict[str, list[Row]] = {}
        for key, group in self._groups(self._table.read(self._refusals)):
            rows = begun.pop(key, []) + group
            number = numbers.number(key)
            remaining[number] -= 1
            if remaining[number] > 0:
                begun[key] = rows
                continue
            yield from self._merged(rows)

    def _groups(self, rows: Iterator[Row]) -> Iterator[tuple[str, list[Row]]]:
        """Consecutive rows of one image; a row without an image is a group of its own."""
        key, group = "", list[Row]()
        for row in rows:
            name, _ = _cell(row[1].get(self._columns.image))
            following = paths.normal_path(name) or f"\0{row[0]}"
            if group and following != key:
                yield key, group
                group = []
            key = following
            group.append(row)
        if group:
            yield key, group

    def _merged(self, rows: list[Row]) -> Iterator[RawRecord]:
        for record in self.record(rows[0]):
            captions = list(record.captions)
            for number, cells in rows[1:]:
                captions += self._captions(cells, record.image_id, f"{self._table.name} {self._table.unit} {number}")
            other = next((number for number, cells in rows[1:] if self._payload(cells) != record.payload), None)
            if other is not None:
                where = f"{self._table.name} {self._table.unit} {other}"
                self._refusals.add("other_payload", record.image_id, where)
            yield RawRecord(record.image_id, record.image, tuple(captions), record.payload, record.path, record.where)

    def _payload(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        return {key.strip(): value for key, value in cells.items() if key not in self._roles and key.strip()}

    def _captions(self, cells: Mapping[str, Any], image_id: str, where: str) -> tuple[str, ...]:
        found: list[str] = []
        for column in self._columns.captions:
            texts = caption_texts(cells.get(column))
            if texts is None:
                self._refusals.add("broken_caption", image_id, where)
            else:
                found += texts
        return tuple(found)


def caption_texts(cell: Any) -> list[str] | None:
    """The captions of a cell: text, a list, or a list written as text (JSON, Python, NumPy); None if it is broken."""
    if isinstance(cell, list):
        return [text for text in cell if isinstance(text, str)]
    if not isinstance(cell, str):
        return []
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [cell]
    with contextlib.suppress(ValueError, RecursionError):
        loaded = json.loads(text)
        return [each for each in loaded if isinstance(each, str)] if any(map(_is_text, loaded)) else [cell]
    if _LIST.fullmatch(text):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError):
            return [str(ast.literal_eval(quoted)) for quoted in re.findall(_QUOTED, text, re.DOTALL)]
    return None if text[1:].lstrip()[:1] in ("'", '"') else [cell]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _cell(cell: Any) -> tuple[str, bytes | None]:
    """``(path, encoded image)`` of an image cell: a path, bytes, or Hugging Face's ``{bytes, path}``."""
    if isinstance(cell, Mapping):
        path, data = cell.get("path"), cell.get("bytes")
        return path if isinstance(path, str) else "", data if isinstance(data, bytes) else None
    if isinstance(cell, bytes):
        return "", cell
    return cell.strip() if isinstance(cell, str) else "", None


def _id(cell: Any) -> str:
    """An id as text; a whole number that a table keeps as a float is written without its ``.0``."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else str(int(cell)) if cell.is_integer() else str(cell)
    return str(cell).strip() if isinstance(cell, str | int) else ""


def _file(folder: Place, name: str) -> tuple[str, str | None]:
    """The path of an image as the disk spells it, or the reason why there is none."""
    relative = paths.inside(folder, name)
    if relative is None:
        return "outside_folder", None
    path = paths.locate(folder, relative)
    if path is None:
        return ("url" if "://" in name else "missing"), None
    found = isinstance(folder, RemotePath) or paths.is_file(folder / path)
    return ("", path) if found else ("not_a_file", None)
