"""Tables of captions in Parquet, CSV, TSV or JSON Lines: which column is what, and the rows one after the other.

Recognised columns, in any case and with blanks around them: ``image`` (also ``file_name``, ``filename`` …),
``caption`` and ``captions`` (also ``text`` …), and ``id``. Every other column is payload.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.csv_kinds import ColumnKind
from scot.data.csv_rows import read_csv
from scot.data.payload import RESERVED, nest
from scot.data.places import Place, for_arrow, unchanged
from scot.data.read_ahead import read_ahead
from scot.data.records import Refusals
from scot.errors import InvalidInput

IMAGE_COLUMNS = (
    *("image", "file_name", "filename", "image_path", "img_path", "file_path", "filepath", "image_file"),
    *("image_name", "img_name", "file", "img", "path", "picture", "photo", "image_bytes", "jpg", "png", "webp"),
)
CAPTION_COLUMNS = ("text", "texts", "sentence", "sentences", "alt_text", "alt", "comment")
"""Taken when there is neither ``caption`` nor ``captions``: the first one that is there."""

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_JSON_KINDS = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
_READ_ROWS = 4_096
_READ_IMAGES = 64  # rows with images inside
_LINES_LOOKED_AT = 1_000

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


def open_table(files: Sequence[Place], *, captions: str = "required") -> Table:
    """Open a table, or several Parquet files that are parts of one; it may have no rows.

    Raises:
        InvalidInput: the table cannot be read, lacks a column (the message names those it has), or has two
            columns of one name.
    """
    suffix = files[0].suffix.lower()
    if suffix == ".parquet":
        table = _open_parquet(files, captions)
    elif suffix == ".jsonl":
        table = _open_jsonl(files[0], captions)
    else:
        table = _open_csv(files[0], captions)
    return table


def column_names(file: Place) -> list[str]:
    """The columns of a table as they are written; empty if the table cannot be read."""
    try:
        match file.suffix.lower():
            case ".parquet":
                with for_arrow(file, ahead=False) as opened:
                    return [str(name) for name in pq.read_schema(opened).names]
            case ".jsonl":
                return _json_columns(file)[0]
            case suffix:
                return _header(file, suffix)[1]
    except (pa.ArrowException, OSError, ValueError, InvalidInput):
        return []


def has_images(names: Sequence[str]) -> bool:
    """Whether one of the columns can hold images."""
    return any(_known(name) in IMAGE_COLUMNS for name in names)


def _known(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _choose(table: str, names: Sequence[str], captions: str) -> Columns:
    """Which column is what. Raises InvalidInput as :func:`open_table`."""
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


def _with_kinds(columns: Columns, kinds: Mapping[str, str]) -> Columns:
    return replace(columns, kinds={name: kind for name, kind in kinds.items() if kind not in ("", "text")})


def _notes(columns: Columns, names: Sequence[str]) -> list[str]:
    notes = []
    if dotted := [name.strip() for name in columns.payload if "." in name]:
        notes.append(f"a dot nests: {dotted[0]!r} becomes {_braces(dotted[0])}")
    if nameless := sum(not name.strip() for name in names):
        notes.append(f"{nameless} column{'s' if nameless > 1 else ''} without a name not read")
    return notes


def _braces(key: str) -> str:
    return "{" + ": {".join(key.split(".")) + ": …" + "}" * (key.count(".") + 1)


def _open_parquet(files: Sequence[Place], captions: str) -> Table:
    name = files[0].name if len(files) == 1 else f"{files[0].name} … {files[-1].name}"
    schema, rows = _parquet_header(files[0])
    for file, (other, more) in zip(files[1:], read_ahead(files[1:], _parquet_header), strict=True):
        if other.names != schema.names:
            raise InvalidInput(f"{file.name} has other columns than {files[0].name}")
        rows += more
    columns = _choose(name, schema.names, captions)
    kind = schema.field(columns.image).type
    embedded = pa.types.is_struct(kind) or _is_binary(kind)
    binary = [each for each in columns.payload if _is_binary(schema.field(each).type)]
    notes = _notes(columns, schema.names)
    if binary:
        notes.append(f"bytes are no payload: {', '.join(binary)} not read")
    wanted = [each for each in schema.names if each.strip() and each not in binary]
    size = _READ_IMAGES if embedded else _READ_ROWS

    def read(refusals: Refusals) -> Iterator[Row]:
        number = 0
        for file in files:
            try:
                with unchanged(file), for_arrow(file, ahead=True) as opened:
                    # With its default, pre_buffer=True, a reader keeps every row group that it has read.
                    part = pq.ParquetFile(opened, pre_buffer=False)
                    for batch in part.iter_batches(batch_size=size, columns=wanted):
                        for cells in _whole_microseconds(batch).to_pylist():
                            number += 1
                            yield number, cells
            except (pa.ArrowException, OSError, ValueError) as error:
                raise InvalidInput(f"{file.name} is broken after its header ({type(error).__name__})") from error

    columns = _with_kinds(columns, {name: _arrow_kind(schema.field(name).type) for name in columns.payload})
    return Table(name, columns, rows, "row", embedded, "; ".join(notes), read)


def _parquet_header(file: Place) -> tuple[Any, int]:
    """The Arrow schema of a file, and its number of rows. Raises InvalidInput: it is no Parquet file."""
    try:
        with for_arrow(file, ahead=False) as opened, pq.ParquetFile(opened, pre_buffer=False) as part:
            return part.schema_arrow, int(part.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{file.name} is not a readable Parquet file ({type(error).__name__})") from error


def _arrow_kind(kind: Any) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "list" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else ""


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _whole_microseconds(batch: Any) -> Any:
    """Python's times have no nanoseconds; Arrow would ask pandas for them."""
    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            times = batch.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, times)
    return batch


def _open_csv(table: Place, captions: str) -> Table:
    """The table, after a pass over the file that finds wrong bytes and the kinds of the payload columns."""
    delimiter, names = _header(table, table.suffix.lower())
    columns = _choose(table.name, names, captions)
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

    notes = _notes(columns, names)
    if delimiter != ("\t" if table.suffix.lower() == ".tsv" else ","):
        notes.append(f"cells are separated by {_DELIMITERS[delimiter]}")
    columns = _with_kinds(columns, {name: str(kind) for name, kind in kinds.items()})
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
        columns = _with_kinds(_choose(table.name, names, captions), kinds)
        with table.open("rb") as lines:
            count = sum(1 for line in lines if line.strip())
    except OSError as error:
        raise InvalidInput(f"{table.name} cannot be read ({error.strerror})") from error

    def read(refusals: Refusals) -> Iterator[Row]:
        return _json_rows(table, refusals)

    return Table(table.name, columns, count, "line", False, "; ".join(_notes(columns, names)), read)


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
