from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from scot.data import shards
from scot.data.triplets import (
    SCHEMA,
    Triplet,
    iterate_triplets,
    read_manifest,
    read_triplets,
    triplet_id,
    write_triplets,
)
from scot.errors import InvalidInput, NotFound


def triplet(number: int) -> Triplet:
    return Triplet.make(
        f"image-{number}", "a red shirt", "make it blue", f"a blue shirt {number}",
        aspect="colour", generator="rules", prompt_version="1", seed=0,
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = write_triplets(tmp_path / "t", [triplet(i) for i in range(5)], {"empty": 2, "never": 0})
    table = read_triplets(tmp_path / "t")
    assert table.schema == SCHEMA
    assert table.column("image_id").to_pylist() == [f"image-{i}" for i in range(5)]
    assert read_manifest(tmp_path / "t") == manifest
    assert (manifest.count, manifest.rejected) == (5, {"empty": 2})


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (3, [3]), (4, [4]), (5, [3, 2]), (8, [4, 4]), (13, [4, 4, 3, 2])]
)
def test_shards_are_even(tmp_path: Path, count: int, sizes: list[int]) -> None:
    manifest = write_triplets(tmp_path, [triplet(i) for i in range(count)], {}, shard_size=4)
    assert [shard.rows for shard in manifest.shards] == sizes
    assert [table.num_rows for table in iterate_triplets(tmp_path)] == sizes


def test_ids_depend_on_content_only() -> None:
    assert triplet(1) == triplet(1)
    content = {
        "image_id": "i",
        "caption": "c",
        "edit": "e",
        "edited_caption": "u",
        "generator": "g",
        "prompt_version": "1",
    }
    assert len({triplet_id(**content), *(triplet_id(**{**content, key: "other"}) for key in content)}) == 7


def test_the_id_separates_fields() -> None:
    assert triplet_id("a", "bc", "d", "e", generator="g", prompt_version="1") != triplet_id(
        "ab", "c", "d", "e", generator="g", prompt_version="1"
    )


def test_a_rerun_changes_nothing(tmp_path: Path) -> None:
    first = write_triplets(tmp_path, [triplet(i) for i in range(9)], {}, shard_size=4)
    second = write_triplets(tmp_path, [triplet(i) for i in range(9)], {}, shard_size=4)
    assert first == second
    assert first.hash == second.hash


def test_duplicates_are_left_out_and_counted(tmp_path: Path) -> None:
    manifest = write_triplets(tmp_path, [triplet(1), triplet(2), triplet(1)], {"duplicate": 1, "empty": 1})
    assert manifest.count == 2
    assert manifest.rejected == {"duplicate": 2, "empty": 1}


def test_rejections_counted_while_yielding_are_in_the_manifest(tmp_path: Path) -> None:
    rejected: Counter[str] = Counter()

    def generate() -> Iterator[Triplet]:
        yield triplet(1)
        rejected["same_caption"] += 1

    assert write_triplets(tmp_path, generate(), rejected).rejected == {"same_caption": 1}


def test_a_rewrite_replaces_and_a_failed_one_loses_nothing(tmp_path: Path) -> None:
    write_triplets(tmp_path, [triplet(i) for i in range(6)], {}, shard_size=2)

    def failing() -> Iterator[Triplet]:
        yield from (triplet(i) for i in range(10, 20_000))
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_triplets(tmp_path, failing(), {}, shard_size=2_000)
    assert read_triplets(tmp_path).num_rows == 6
    write_triplets(tmp_path, [triplet(7)], {})
    assert read_triplets(tmp_path).num_rows == 1
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no folder"):
        read_triplets(tmp_path / "absent")


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    write_triplets(tmp_path, [triplet(1)], {})
    (tmp_path / shards.MANIFEST).unlink()
    with pytest.raises(InvalidInput, match="has no _manifest"):
        read_triplets(tmp_path)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / shards.MANIFEST).write_text('{"kind": "triplets"')
    with pytest.raises(InvalidInput, match="is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_shard_is_refused(tmp_path: Path, damage: str) -> None:
    (shard,) = write_triplets(tmp_path, [triplet(1)], {}).shards
    path = tmp_path / shard.name
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(InvalidInput, match="lacks its shard" if damage == "remove" else "is damaged"):
        read_triplets(tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_triplets(tmp_path, [triplet(1)], {})
    with pytest.raises(InvalidInput, match="holds triplets, not embeddings"):
        shards.read_manifest(tmp_path, "embeddings")


def test_shards_of_earlier_versions_are_read_without_the_optional_columns(tmp_path: Path) -> None:
    earlier = pa.Table.from_pylist([asdict(triplet(0))]).select(SCHEMA.names[:9])
    shards.write_shards(tmp_path, "triplets", [earlier], shard_size=4)
    (row,) = read_triplets(tmp_path).to_pylist()
    assert (row["image_id"], row["kept"], row["target_image_id"]) == ("image-0", None, None)
