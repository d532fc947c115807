"""The kinds of payload columns: what filters match, and what the line about a table says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scot.data.captioned import describe, open_source
from scot.data.records import Refusals


def folder_of(folder: Path, cells: list[str], name: str = "price") -> Path:
    """A folder with a CSV of one payload column, a row for each cell."""
    for number in range(len(cells)):
        (folder / f"{number}.png").write_bytes(b"")
    rows = [f"{number}.png,a,{cell}" for number, cell in enumerate(cells)]
    (folder / "captions.csv").write_text("\n".join([f"image,caption,{name}", *rows]), encoding="utf-8")
    return folder


def values(folder: Path) -> list[Any]:
    return [next(iter(each.payload.values()), None) for each in open_source(folder).read(Refusals())]


def test_a_column_of_true_and_false_is_boolean(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["true", "False", "", "TRUE"], "sold")
    assert values(folder) == [True, False, None, True]
    assert describe(folder).endswith("payload: sold (boolean)")


@pytest.mark.parametrize("cells", [["true", "no"], ["true", "1"], ["1", "true", "false"]])
def test_a_column_that_is_not_all_boolean_is_text(tmp_path: Path, cells: list[str]) -> None:
    folder = folder_of(tmp_path, cells, "sold")
    assert values(folder) == cells
    assert describe(folder).endswith("payload: sold")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["5", "7.5"], " (number)"),
        (["5", "7", "x"], " (text: 'x' in line 4 is no number)"),
        (["sold", *"123456789"], " (text: 'sold' in line 2 is no number)"),
        ([*"123456789" * 2, "n/a", "?"], " (text: 'n/a' in line 20 is no number)"),
        ([*"123", "007"], " (text: '007' in line 5 would change as a number)"),
        ([*"12", "9007199254740993"], " (text: '9007199254740993' in line 4 would change as a number)"),
        ([*"12", "x" * 99], f" (text: '{'x' * 39}…' in line 4 is no number)"),
        ([*"12345678", "a", "b"], ""),
        (["5", "x"], ""),
        (["x"] * 30 + ["1"], ""),
        ([""], ""),
    ],
)
def test_the_line_says_which_cell_made_a_column_of_numbers_text(tmp_path: Path, cells: list[str], said: str) -> None:
    assert describe(folder_of(tmp_path, cells)).endswith(f"payload: price{said}")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_tables_with_types_say_them(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    row = {"image": "a.png", "caption": "a", "price": 1.5, "count": 2, "sold": True, "kind": "shirt", "tags": ["x"]}
    file = tmp_path / f"captions.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), file)
    else:
        file.write_text("\n".join(map(json.dumps, [row, {**row, "kind": 3, "price": None}])), encoding="utf-8")
    kind = "kind (text and number)" if suffix == "jsonl" else "kind"
    assert describe(tmp_path).endswith(f"payload: price (number), count (number), sold (boolean), {kind}, tags (list)")
