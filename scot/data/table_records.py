"""The records of the rows of one table: its cells' captions, ids and images."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from scot.data import paths
from scot.data.columns import Row, Table
from scot.data.key_table import KeyTable
from scot.data.places import Place, RemotePath
from scot.data.records import RawRecord, Refusals

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_LIST = re.compile(rf"\[[\s,]*(?:(?:{_QUOTED})[\s,]*)+\]", re.DOTALL)


def read_table(table: Table, images: Place, refusals: Refusals) -> Iterator[RawRecord]:
    """The records of a table; image paths are relative to ``images``.

    Raises:
        InvalidInput: the table breaks off.
    """
    return TableReader(table, images, refusals).records()


class TableReader:
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
        reason, path = image_path(self._images, name)
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


def image_path(folder: Place, name: str) -> tuple[str, str | None]:
    """The path of an image as the disk spells it, or the reason why there is none."""
    relative = paths.inside(folder, name)
    if relative is None:
        return "outside_folder", None
    path = paths.locate(folder, relative)
    if path is None:
        return ("url" if "://" in name else "missing"), None
    found = isinstance(folder, RemotePath) or paths.is_file(folder / path)
    return ("", path) if found else ("not_a_file", None)


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
