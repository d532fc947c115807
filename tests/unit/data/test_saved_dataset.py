"""Folders that ``save_to_disk`` of ``datasets`` writes (laid out as its version 5.2 does)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scot.data.captioned import describe, open_source
from scot.data.records import Refusals
from scot.errors import InvalidInput
from tests.support.saved_datasets import arrow_stream, saved, saved_splits
from tests.unit.data.test_captioned import picture, read


def rows(start: int, count: int) -> list[dict[str, Any]]:
    numbers = range(start, start + count)
    return [{"image": {"bytes": picture(n), "path": f"{n}.png"}, "text": f"a red car {n}", "price": n} for n in numbers]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def captions(source: str | Path, **options: Any) -> list[str]:
    records, refusals = read(source, **options)
    assert refusals.total == 0
    return [text for record in records for text in record.captions]


def expected(*numbers: int) -> list[str]:
    return [f"a red car {number}" for number in numbers]


@pytest.mark.parametrize("parts", [[rows(0, 5)], [rows(0, 3), rows(3, 2)]], ids=["one file", "two files"])
def test_a_data_set_is_read_without_its_caches(tmp_path: Path, parts: Sequence[list[dict[str, Any]]]) -> None:
    folder = write(tmp_path / "set", {**saved(parts), "cache-0c1d2e3f40516273.arrow": arrow_stream(rows(90, 4))})
    records, refusals = read(folder)
    assert refusals.total == 0
    assert [record.captions for record in records] == [(text,) for text in expected(*range(5))]
    assert [record.image for record in records] == [picture(number) for number in range(5)]
    assert [dict(record.payload) for record in records] == [{"price": number} for number in range(5)]
    assert "image from 'image'; captions from 'text'" in describe(folder)


def test_long_record_batches_are_read_in_pieces(tmp_path: Path) -> None:
    folder = write(tmp_path, {"all.arrow": arrow_stream(rows(0, 150), rows(150, 7))})
    assert captions(folder / "all.arrow") == expected(*range(157))
    assert open_source(folder / "all.arrow").count() == 157


def test_files_may_be_named_and_be_a_pattern(tmp_path: Path) -> None:
    folder = write(tmp_path, saved([rows(0, 2), rows(2, 2), rows(4, 1)]))
    assert captions(folder / "data-00001-of-00003.arrow") == expected(2, 3)
    assert captions(f"{folder}/data-{{00001..00002}}-of-00003.arrow") == expected(2, 3, 4)
    assert captions(f"{folder}/data-*.arrow") == expected(0, 1, 2, 3, 4)


def test_of_several_splits_one_is_named(tmp_path: Path) -> None:
    one = write(tmp_path / "one", saved_splits({"train": [rows(0, 2)]}))
    assert captions(one) == expected(0, 1)
    two = write(tmp_path / "two", saved_splits({"train": [rows(0, 2)], "test": [rows(7, 1)]}))
    with pytest.raises(InvalidInput, match=r"^'.*/two' has the splits train, test: name one of them, .*/two/train$"):
        open_source(two)
    assert captions(two / "test") == expected(7)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"state.json": b"{"}, r"/state\.json is damaged: save the data set again"),
        ({"state.json": b'{"_data_files": 3}'}, r"/state\.json is damaged: save the data set again"),
        (
            {"state.json": json.dumps({"_data_files": [{"filename": "data-00002-of-00003.arrow"}]}).encode()},
            r"lacks data-00002-of-00003\.arrow, which its state\.json names: copy the data set again",
        ),
        ({"data-00000-of-00001.arrow": b""}, r"^data-00000-of-00001\.arrow is not a readable Arrow stream \(\w+\)$"),
        (
            {"data-00000-of-00001.arrow": arrow_stream([{"image": None, "name": "x"}])},
            r"needs the columns 'image' and 'caption' .*; it has image, name",
        ),
    ],
    ids=["no JSON", "another state", "a file is missing", "an empty file", "no captions"],
)
def test_what_is_damaged_is_one_sentence(tmp_path: Path, damage: dict[str, bytes], sentence: str) -> None:
    write(tmp_path, {**saved([rows(0, 3)]), **damage})
    with pytest.raises(InvalidInput, match=sentence):
        open_source(tmp_path)


def test_a_stream_that_breaks_off_is_refused(tmp_path: Path) -> None:
    stream = arrow_stream(rows(0, 40), rows(40, 40))
    write(tmp_path, {**saved([rows(0, 1)]), "data-00000-of-00001.arrow": stream[: len(stream) * 3 // 4]})
    read_first = Refusals()
    with pytest.raises(InvalidInput, match=r"^data-00000-of-00001\.arrow is broken after its header \(\w+\)$"):
        list(open_source(tmp_path).read(read_first))


def test_a_damaged_list_of_splits_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": []}')
    with pytest.raises(InvalidInput, match=r"/dataset_dict\.json is damaged"):
        open_source(tmp_path)
