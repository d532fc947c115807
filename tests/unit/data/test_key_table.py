"""Numbers for keys: as a dict gives them, in a table that grows, on disk or not."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from scot.data import key_table
from scot.data.key_table import KeyTable, SeenIds, disk_array
from scot.errors import Unavailable


@pytest.mark.parametrize("on_disk", [2**10, 2**30])
def test_numbers_are_those_of_a_dict(on_disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_table, "_ON_DISK", on_disk)
    generator, table = random.Random(0), KeyTable()
    expected: dict[str, int] = {}
    for _ in range(60):
        batch = [f"schlüssel {generator.randrange(20_000)}" for _ in range(generator.randrange(1, 900))]
        for key in batch:
            expected.setdefault(key, len(expected))
        assert table.add(batch).tolist() == [expected[key] for key in batch]
    everything = [f"schlüssel {n}" for n in range(-50, 20_050)]
    assert table.find(everything).tolist() == [expected.get(key, -1) for key in everything]
    one_by_one = KeyTable()
    assert [one_by_one.add_one(key) for key in [*expected, *expected]] == [*range(len(expected))] * 2
    assert one_by_one.find(everything).tolist() == table.find(everything).tolist()
    assert [table.number(key) for key in everything[::37]] == [expected.get(key, -1) for key in everything[::37]]
    assert len(table) == len(expected)
    assert isinstance(table._slot_S3, np.memmap) == (on_disk == 2**10)


def test_keys_whose_first_slot_is_the_same_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyTable, "_places", lambda self, hash_N2: np.full(len(hash_N2), self._mask, np.int64))
    table, keys = KeyTable(), [str(n) for n in range(1_500)]
    assert table.add(keys).tolist() == list(range(1_500))
    assert table.find([*keys, "absent"]).tolist() == [*range(1_500), -1]


def test_odd_keys_are_keys() -> None:
    table, keys = KeyTable(), ["", " ", "\x00", "\ud800", "\u00e9", "e\u0301"]
    assert table.add(keys).tolist() == list(range(len(keys)))
    assert table.add([]).tolist() == []
    assert "" in table
    assert 7 not in table


def test_ids_are_seen_with_the_source_that_had_them_first() -> None:
    seen = SeenIds()
    for source, first in (("one", 0), ("two", 3_000), ("three", 3_001)):
        for n in range(first, 3_001 if source == "one" else first + 1):
            if str(n) not in seen:
                seen[str(n)] = source
    assert (seen["0"], seen["3000"], seen["3001"]) == ("one", "one", "three")
    assert len(seen) == 3_002
    with pytest.raises(KeyError):
        seen["absent"]


def test_a_full_temporary_folder_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Unavailable, match=r"the temporary folder .* cannot be written: No space left on device"):
        disk_array((2**20, 3), np.uint64)
