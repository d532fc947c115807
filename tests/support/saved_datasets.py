"""What ``save_to_disk`` of Hugging Face's ``datasets`` writes, without that library: names to bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

Rows = Sequence[Mapping[str, Any]]


def saved(parts: Sequence[Rows]) -> dict[str, bytes]:
    """A ``Dataset`` of several files."""
    names = [f"data-{number:05d}-of-{len(parts):05d}.arrow" for number in range(len(parts))]
    state = {
        "_data_files": [{"filename": name} for name in names], "_fingerprint": "0123456789abcdef",
        "_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False,
        "_split": None,
    }  # fmt: skip
    return {
        **{name: arrow_stream(rows) for name, rows in zip(names, parts, strict=True)},
        "state.json": json.dumps(state, indent=2).encode(),
        "dataset_info.json": json.dumps({"citation": "", "description": "", "features": {}}).encode(),
    }


def saved_splits(splits: Mapping[str, Sequence[Rows]]) -> dict[str, bytes]:
    """A ``DatasetDict``."""
    files = {f"{name}/{file}": data for name, parts in splits.items() for file, data in saved(parts).items()}
    return {**files, "dataset_dict.json": json.dumps({"splits": list(splits)}).encode()}


def arrow_stream(*batches: Rows) -> bytes:
    """An Arrow stream with these record batches."""
    tables = [pa.Table.from_pylist(list(rows)) for rows in batches]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return bytes(sink.getvalue())
