"""Chunks and their results: what lets a killed run continue where it stopped."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from scot.data.captioned import open_sources
from scot.data.captioned_writer import write_captioned
from scot.data.records import Refusals
from scot.data.storage import Folder
from scot.data.triplets import Triplet
from scot.edits.chunks import Chunk, ChunkResults, Tally, read_chunks
from scot.errors import Unavailable


def chunk(number: int = 0, caption: str = "a red cat") -> Chunk:
    return Chunk(number, ("a", "b"), (caption, "a blue dog"))


def triplets(count: int) -> list[Triplet]:
    return [
        Triplet.make(
            f"i{n}", "a cat", f"edit {n}", f"a cat {n}", aspect="addition", generator="g", prompt_version="p", seed=0
        )
        for n in range(count)
    ]


TALLY = Tally(captions=2, accepted=3, refused=Counter(duplicate=1), prompt_tokens=10, completion_tokens=4)


def write_folder(folder: Path, ids: list[str]) -> Path:
    picture = Image.new("RGB", (4, 4))
    write_captioned(folder, ((name, picture, [f"caption of {name}", f"another of {name}"], {}) for name in ids))
    return folder


def test_a_source_always_gives_the_same_chunks(tmp_path: Path) -> None:
    source = str(write_folder(tmp_path / "s", [f"i{n}" for n in range(10)]))
    one, other = (list(read_chunks(open_sources([source]), Refusals(), size=6)) for _ in range(2))
    assert [c.hash for c in one] == [c.hash for c in other]
    assert [len(c.captions) for c in one] == [6, 6, 6, 2]
    assert [c.number for c in one] == [0, 1, 2, 3]
    for c in one:
        assert all(c.image_ids.count(name) == 2 for name in c.image_ids)  # a picture's captions stay together


def test_an_id_that_two_sources_share_counts_once(tmp_path: Path) -> None:
    one, other = write_folder(tmp_path / "1", ["a", "b"]), write_folder(tmp_path / "2", ["b", "c"])
    refusals = Refusals()
    (found,) = read_chunks(open_sources([one, other]), refusals, size=100)
    assert list(dict.fromkeys(found.image_ids)) == ["a", "b", "c"]
    assert refusals.counts == {"duplicate_id": 1}


def test_a_part_gives_back_what_was_written(tmp_path: Path) -> None:
    parts = ChunkResults(str(tmp_path), "run")
    assert parts.tally(chunk()) is None
    parts.write(chunk(), triplets(3), TALLY)
    parts.write(chunk(1), [], Tally(captions=2))
    assert parts.tally(chunk()) == TALLY
    assert parts.tally(chunk(1)) == Tally(captions=2)
    assert [table.num_rows for table in parts.tables(2)] == [3, 0]
    parts.remove()
    assert parts.tally(chunk()) is None
    assert not list(tmp_path.iterdir())


def test_a_part_of_other_captions_or_of_another_run_does_not_count(tmp_path: Path) -> None:
    ChunkResults(str(tmp_path), "run").write(chunk(), triplets(3), TALLY)
    assert ChunkResults(str(tmp_path), "run").tally(chunk(caption="a green cat")) is None
    assert ChunkResults(str(tmp_path), "other").tally(chunk()) is None


def test_a_damaged_part_does_not_count(tmp_path: Path) -> None:
    parts = ChunkResults(str(tmp_path), "run")
    parts.write(chunk(), triplets(3), TALLY)
    (file,) = (tmp_path / "_parts-run").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert parts.tally(chunk()) is None


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ChunkResults(str(tmp_path), "run")
    parts.write(chunk(), triplets(3), TALLY)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("scot.data.atomic_io.os.fsync", full)
        with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
            parts.write(chunk(1), triplets(3), TALLY)
    assert parts.tally(chunk()) == TALLY
    assert parts.tally(chunk(1)) is None
    assert Folder(tmp_path / "_parts-run").names() == ["part-000000.parquet"]
