"""Tables of captions in Parquet, Arrow, CSV, TSV or JSON Lines: which column is what, and the rows one after the other.

Recognised columns, in any case and with blanks around them: ``image`` (also ``file_name``, ``filename`` …),
``caption`` and ``captions`` (also ``text`` …), and ``id``. Every other column is payload.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from scot.data.arrow_tables import ARROW, header, open_arrow
from scot.data.columns import Row, Table, choose, has_images, notes_on, with_kinds
from scot.data.csv_kinds import ColumnKind
from scot.data.csv_rows import read_csv
from scot.data.places import Place, unchanged
from scot.data.records import Refusals
from scot.errors import InvalidInput

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_JSON_KINDS = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
_LINES_LOOKED_AT = 1_000


def open_table(files: Sequence[Place], *, captions: str = "required") -> Table:
    """Open a table, or several Parquet or Arrow files that are parts of one; it may have no rows.

    Raises:
        InvalidInput: the table cannot be read, lacks a column (the message names those it has), or has two
            columns of one name.
    """
    suffix = files[0].suffix.lower()
    if suffix in (".parquet", ARROW):
        table = open_arrow(files, captions)
    elif suffix == ".jsonl":
        table = _open_jsonl(files[0], captions)
    else:
        table = _open_csv(files[0], captions)
    return table


def column_names(file: Place) -> list[str]:
    """The columns of a table as they are written; empty if the table cannot be read."""
    try:
        match file.suffix.lower():
            case ".parquet" | ".arrow":
                return [str(name) for name in header(file)[0].names]
            case ".jsonl":
                return _json_columns(file)[0]
            case suffix:
                return _header(file, suffix)[1]
    except (pa.ArrowException, OSError, ValueError, InvalidInput):
        return []


def _open_csv(table: Place, captions: str) -> Table:
    """The table, after a pass over the file that finds wrong bytes and the kinds of the payload columns."""
    delimiter, names = _header(table, table.suffix.lower())
    columns = choose(table.name, names, captions)
    kinds = {name: ColumnKind() for name in columns.payload}
    undecided = dict(kinds)
    count = 0
    try:
        for line, cells in _csv_rows(table, delimiter, names, Refusals(keep=0)):
            count += 1
            for name, kind in list(undecided.items()):
                if (cell := cells.get(name)) and not kind.add(line, cell):
                    del undecided[name]
    except UnicodeDecodeError:
        raise InvalidInput(f"{table.name} is not UTF-8 text: save it again as UTF-8") from None
    except OSError as error:
        raise InvalidInput(f"{table.name} cannot be read ({error.strerror})") from error

    convert = {name: kind.convert for name, kind in kinds.items() if kind.convert is not str}

    def read(refusals: Refusals) -> Iterator[Row]:
        for number, cells in _csv_rows(table, delimiter, names, refusals):
            yield number, {name: convert[name](cell) if name in convert else cell for name, cell in cells.items()}

    notes = notes_on(columns, names)
    if delimiter != ("\t" if table.suffix.lower() == ".tsv" else ","):
        notes.append(f"cells are separated by {_DELIMITERS[delimiter]}")
    columns = with_kinds(columns, {name: str(kind) for name, kind in kinds.items()})
    return Table(table.name, columns, count, "line", False, "; ".join(notes), read)


def _header(table: Place, suffix: str) -> tuple[str, list[str]]:
    """The delimiter and the column names of a CSV or TSV file: the first delimiter that gives an image column.

    Raises:
        InvalidInput: the file is not text, or its header is broken.
    """
    usual = "\t" if suffix == ".tsv" else ","
    first: list[str] = []
    for delimiter in sorted(_DELIMITERS, key=lambda each: each != usual):
        broken: list[int] = []
        try:
            names = next((cells for _, cells in read_csv(table, delimiter, broken.append)), [])
        except UnicodeDecodeError:
            raise InvalidInput(f"{table.name} is not UTF-8 text: save it again as UTF-8") from None
        except OSError as error:
            raise InvalidInput(f"{table.name} cannot be read ({error.strerror})") from error
        if broken:
            raise InvalidInput(f"{table.name} has an open quote in line {broken[0]}, where its column names should be")
        if has_images(names):
            return delimiter, names
        first = first or names
    return usual, first


def _csv_rows(
    table: Place, delimiter: str, names: Sequence[str], refusals: Refusals
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with their cells that are not empty, by column."""
    records = read_csv(table, delimiter, lambda line: refusals.add("open_quote", table.name, f"line {line}"))
    next(records, None)
    for line, cells in records:
        if any(map(str.strip, cells[len(names) :])):
            refusals.add(
                "too_many_cells", cells[0], f"{table.name} line {line}: {len(cells)} cells, {len(names)} columns"
            )
            continue
        yield line, {name: cell for name, cell in zip(names, cells, strict=False) if name.strip() and cell}


def _open_jsonl(table: Place, captions: str) -> Table:
    try:
        names, kinds = _json_columns(table)
        columns = with_kinds(choose(table.name, names, captions), kinds)
        with table.open("rb") as lines:
            count = sum(1 for line in lines if line.strip())
    except OSError as error:
        raise InvalidInput(f"{table.name} cannot be read ({error.strerror})") from error

    def read(refusals: Refusals) -> Iterator[Row]:
        return _json_rows(table, refusals)

    return Table(table.name, columns, count, "line", False, "; ".join(notes_on(columns, names)), read)


def _json_columns(table: Place) -> tuple[list[str], dict[str, str]]:
    """The keys of the first lines, in order, and the kinds of their values."""
    kinds: dict[str, dict[str, None]] = {}
    for _, cells in islice(_json_rows(table, Refusals(keep=0)), _LINES_LOOKED_AT):
        for key, value in cells.items():
            kind = kinds.setdefault(key, {})
            if value is not None:
                kind[_JSON_KINDS[type(value)]] = None
    return list(kinds), {key: " and ".join(kind) for key, kind in kinds.items()}


def _json_rows(table: Place, refusals: Refusals) -> Iterator[tuple[int, dict[str, Any]]]:
    with unchanged(table), table.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_no_key_twice)
                if not isinstance(cells, dict):
                    raise ValueError("not an object")
            except (ValueError, RecursionError):
                refusals.add("broken_record", table.name, f"line {number}")
            else:
                yield number, cells


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(cells := dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return cells
