"""Tables in Arrow's formats: Parquet, and the Arrow streams that ``Dataset.save_to_disk`` of Hugging Face writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.columns import Row, Table, choose, notes_on, with_kinds
from scot.data.places import Place, for_arrow, unchanged
from scot.data.read_ahead import read_ahead
from scot.data.records import Refusals
from scot.errors import InvalidInput

ARROW = ".arrow"
"""The suffix of Arrow streams."""
_READ_ROWS = 4_096
_READ_IMAGES = 64  # rows with images inside


def open_arrow(files: Sequence[Place], captions: str) -> Table:
    """Open a Parquet file or Arrow stream, or several that are parts of one table.

    Raises:
        InvalidInput: a file cannot be read, or has other columns than the first, or :func:`scot.data.columns.choose`.
    """
    name = files[0].name if len(files) == 1 else f"{files[0].name} … {files[-1].name}"
    schema, rows = header(files[0])
    for file, (other, more) in zip(files[1:], read_ahead(files[1:], header), strict=True):
        if other.names != schema.names:
            raise InvalidInput(f"{file.name} has other columns than {files[0].name}")
        rows = None if rows is None or more is None else rows + more
    columns = choose(name, schema.names, captions)
    kind = schema.field(columns.image).type
    embedded = pa.types.is_struct(kind) or _is_binary(kind)
    binary = [each for each in columns.payload if _is_binary(schema.field(each).type)]
    notes = notes_on(columns, schema.names)
    if binary:
        notes.append(f"bytes are no payload: {', '.join(binary)} not read")
    wanted = [each for each in schema.names if each.strip() and each not in binary]
    size = _READ_IMAGES if embedded else _READ_ROWS

    def read(refusals: Refusals) -> Iterator[Row]:
        number = 0
        for file in files:
            try:
                with unchanged(file):
                    for batch in _batches(file, wanted, size):
                        for cells in _whole_microseconds(batch).to_pylist():
                            number += 1
                            yield number, cells
            except (pa.ArrowException, OSError, ValueError) as error:
                raise InvalidInput(f"{file.name} is broken after its header ({type(error).__name__})") from error

    columns = with_kinds(columns, {name: _arrow_kind(schema.field(name).type) for name in columns.payload})
    return Table(name, columns, rows, "row", embedded, "; ".join(notes), read)


def header(file: Place) -> tuple[Any, int | None]:
    """The Arrow schema of a file, and its number of rows if it says it. Raises InvalidInput: it has none."""
    try:
        with for_arrow(file, ahead=False) as opened:
            if file.suffix.lower() == ARROW:
                with pa.input_stream(opened, compression=None) as stream, pa.ipc.open_stream(stream) as reader:
                    return reader.schema, None
            with pq.ParquetFile(opened, pre_buffer=False) as part:
                return part.schema_arrow, int(part.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        format = "Arrow stream" if file.suffix.lower() == ARROW else "Parquet file"
        raise InvalidInput(f"{file.name} is not a readable {format} ({type(error).__name__})") from error


def _batches(file: Place, columns: list[str], size: int) -> Iterator[Any]:
    """The rows of a file in record batches of at most ``size``; of a Parquet file, these columns alone are read."""
    with for_arrow(file, ahead=True) as opened:
        if file.suffix.lower() != ARROW:
            # With its default, pre_buffer=True, a reader keeps every row group that it has read.
            yield from pq.ParquetFile(opened, pre_buffer=False).iter_batches(batch_size=size, columns=columns)
            return
        with pa.input_stream(opened, compression=None) as stream, pa.ipc.open_stream(stream) as reader:
            for batch in reader:
                for start in range(0, batch.num_rows, size):
                    yield batch.slice(start, size).select(columns)


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
