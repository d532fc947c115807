from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scot.data import patterns
from scot.data.captioned import read_captioned
from scot.data.captioned_writer import write_captioned
from scot.data.images import decode_image
from scot.data.records import REASONS, CaptionedImage, Refusals
from scot.errors import ImageRefused, InvalidInput, NotFound

Rows = Sequence[Mapping[str, Any]]


def picture(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures ``0.png`` … ``9.png`` and no captions yet."""
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    return tmp_path


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_table(path: Path, rows: Rows) -> None:
    if path.suffix == ".csv":
        write_csv(path, rows)
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)


def read(source: str | Path, **options: Any) -> tuple[list[CaptionedImage], Refusals]:
    """The records, and all that was refused but the ten pictures (:mod:`tests.unit.data.test_unnamed_images`)."""
    refusals = Refusals()
    records = list(read_captioned(source, refusals, **options))
    del refusals.counts["not_in_table"]
    return records, refusals


def ids(records: Sequence[CaptionedImage]) -> list[str]:
    return [record.image_id for record in records]


# -- a folder with a table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["captions.parquet", "captions.csv", "anything.parquet", "anything.csv"])
def test_a_folder_gives_records_with_payload(folder: Path, table: str) -> None:
    rows = [
        {"id": f"item-{n}", "image": f"{n}.png", "caption": f"picture {n}", "price": n * 1.5, "brand": "Ü"}
        for n in range(3)
    ]
    write_table(folder / table, rows)
    records, refusals = read(folder)
    assert ids(records) == ["item-0", "item-1", "item-2"]
    assert records[2].captions == ("picture 2",)
    assert records[2].payload == {"price": 3.0, "brand": "Ü"}
    assert records[2].read() == picture(2)
    assert refusals.total == 0


def test_a_table_itself_may_be_named(folder: Path) -> None:
    write_csv(folder / "train.csv", [{"image": "0.png", "caption": "train"}])
    write_csv(folder / "val.csv", [{"image": "1.png", "caption": "val"}])
    assert read(folder / "val.csv")[0][0].captions == ("val",)
    assert read(str(folder / "train.csv"))[0][0].captions == ("train",)


def test_images_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    write_csv(tmp_path / "tables" / "captions.csv", [{"image": "0.png", "caption": "a"}])
    assert ids(read(tmp_path / "tables", images=folder)[0]) == ["0.png"]
    with pytest.raises(NotFound, match="no image folder"):
        read(tmp_path / "tables", images=tmp_path / "nowhere")


def test_several_captions_come_as_a_list(folder: Path) -> None:
    write_table(folder / "captions.parquet", [{"image": "0.png", "captions": ["one", " two ", ""]}])
    assert read(folder)[0][0].captions == ("one", "two")


def test_several_captions_come_as_a_json_list_in_csv(folder: Path) -> None:
    rows = [{"image": "0.png", "captions": '["one", "two"]'}, {"image": "1.png", "captions": "[not json"}]
    write_csv(folder / "captions.csv", rows)
    assert [record.captions for record in read(folder)[0]] == [("one", "two"), ("[not json",)]


def test_without_ids_consecutive_rows_of_one_image_are_its_captions(folder: Path) -> None:
    rows = [{"image": name, "caption": f"{name} {n}"} for name in ("0.png", "1.png") for n in range(5)]
    write_csv(folder / "captions.csv", rows)
    records, refusals = read(folder)
    assert ids(records) == ["0.png", "1.png"]
    assert records[1].captions == tuple(f"1.png {n}" for n in range(5))
    assert refusals.total == 0


def test_parquet_may_hold_the_images(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "image": {"bytes": picture(1), "path": None}, "caption": "red"},
        {"id": "b", "image": {"bytes": picture(2), "path": None}, "caption": "redder"},
    ]
    write_table(tmp_path / "captions.parquet", rows)
    assert [record.image for record in read(tmp_path)[0]] == [picture(1), picture(2)]
    write_table(tmp_path / "captions.parquet", [{"image": picture(3), "caption": "reddest"}])
    (record,), _ = read(tmp_path)
    assert (record.image, record.image_id) == (picture(3), "row-1")


def test_csv_numbers_become_numbers_only_where_the_whole_column_is(folder: Path) -> None:
    rows = [
        {"image": "0.png", "caption": "7", "count": "3", "price": "1.50", "zip": "01234", "size": "10", "none": ""},
        {"image": "1.png", "caption": "8", "count": "-4", "price": "2", "zip": "98765", "size": "M", "none": ""},
    ]
    write_csv(folder / "captions.csv", rows)
    records, _ = read(folder)
    assert records[0].payload == {"count": 3, "price": 1.5, "zip": "01234", "size": "10"}
    assert records[1].payload == {"count": -4, "price": 2.0, "zip": "98765", "size": "M"}
    assert records[0].captions == ("7",)


def test_payload_is_what_json_knows(folder: Path) -> None:
    row = {
        "image": "0.png",
        "caption": "a",
        "when": pa.scalar(0, pa.timestamp("s")).as_py(),
        "blob": b"\0",
        "nan": float("nan"),
        "tags": ["x", "y"],
        "box": {"w": 1},
    }
    write_table(folder / "captions.parquet", [row])
    payload = read(folder)[0][0].payload
    assert payload == {"when": "1970-01-01T00:00:00", "tags": ["x", "y"], "box": {"w": 1}}
    json.dumps(payload, allow_nan=False)


def test_a_byte_order_mark_and_windows_lines_are_read(folder: Path) -> None:
    (folder / "captions.csv").write_bytes("\ufeffimage,caption\r\n0.png,café\r\n".encode())
    assert read(folder)[0][0].captions == ("café",)


def test_a_link_inside_the_folder_may_point_out_of_it(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "big.png"
    elsewhere.write_bytes(picture(9))
    (folder / "link.png").symlink_to(elsewhere)
    write_csv(folder / "captions.csv", [{"image": "link.png", "caption": "a"}])
    assert read(folder)[0][0].read() == picture(9)


# -- what is refused, and costs nobody else -------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["captions.parquet", "captions.csv"])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"caption": ""}, "empty_caption"),
        ({"caption": "  \n "}, "empty_caption"),
        ({"caption": "x" * 2_001}, "caption_too_long"),
        ({"caption": "megabyte " * 120_000}, "caption_too_long"),
        ({"id": "first"}, "duplicate_id"),
        ({"id": " first "}, "duplicate_id"),
        ({"id": ""}, "empty_id"),
        ({"id": "é" * 513}, "id_too_long"),
        ({"image": "gone.png"}, "missing"),
        ({"image": ""}, "missing"),
        ({"image": "."}, "missing"),
        ({"image": "../0.png"}, "outside_folder"),
        ({"image": "a/../../0.png"}, "outside_folder"),
        ({"image": "..\\0.png"}, "outside_folder"),
        ({"image": "/etc/passwd"}, "outside_folder"),
        ({"image": "C:\\0.png"}, "outside_folder"),
    ],
)
def test_a_bad_row_is_counted_and_its_neighbours_are_kept(
    folder: Path, table: str, row: dict[str, str], reason: str
) -> None:
    good = [{"id": name, "image": f"{n}.png", "caption": "fine"} for n, name in enumerate(["first", "last"])]
    bad = {"id": "bad", "image": "5.png", "caption": "fine"} | row
    write_table(folder / table, [good[0], bad, good[1]])
    records, refusals = read(folder)
    assert ids(records) == ["first", "last"]
    assert refusals.counts == {reason: 1}
    assert reason in REASONS


def test_a_row_of_the_longest_allowed_id_and_caption_is_kept(folder: Path) -> None:
    write_csv(folder / "captions.csv", [{"id": "é" * 512, "image": "0.png", "caption": "x" * 2_000}])
    assert len(read(folder)[0]) == 1


def test_an_image_keeps_its_other_captions(folder: Path) -> None:
    write_table(folder / "captions.parquet", [{"image": "0.png", "captions": ["short", "x" * 3_000]}])
    records, refusals = read(folder)
    assert records[0].captions == ("short",)
    assert refusals.counts == {"caption_too_long": 1}


def test_ids_in_any_script_are_kept_apart(folder: Path) -> None:
    names = ["мак", "罌粟", "🌺", "a b/c"]
    write_csv(folder / "captions.csv", [{"id": n, "image": f"{i}.png", "caption": "a"} for i, n in enumerate(names)])
    assert ids(read(folder)[0]) == names


def test_short_and_long_csv_rows_are_survived(folder: Path) -> None:
    (folder / "captions.csv").write_text("image,caption\n0.png\n1.png,a,b,c\n\n2.png,d\n", encoding="utf-8")
    records, refusals = read(folder)
    assert ids(records) == ["2.png"]
    assert refusals.counts == {"empty_caption": 1, "too_many_cells": 1}


# -- what ends the read, in one sentence ----------------------------------------------------------------------------


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        read_captioned(tmp_path / "nowhere", Refusals())


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        read_captioned(tmp_path, Refusals())


def test_a_folder_of_images_without_captions(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"captions\.parquet.*has none of them"):
        read_captioned(folder, Refusals())


def test_a_file_of_no_known_format(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="not a folder of images"):
        read_captioned(folder / "0.png", Refusals())


@pytest.mark.parametrize("table", ["captions.parquet", "captions.csv"])
@pytest.mark.parametrize("columns", [("image", "title"), ("author", "caption")])
def test_missing_columns_are_answered_with_those_found(folder: Path, table: str, columns: tuple[str, str]) -> None:
    write_table(folder / table, [dict.fromkeys(columns, "0.png")])
    with pytest.raises(InvalidInput, match=f"needs the columns.*it has {columns[0]}, {columns[1]}"):
        read_captioned(folder, Refusals())


def test_an_empty_table(folder: Path) -> None:
    (folder / "captions.csv").touch()
    with pytest.raises(InvalidInput, match="no columns at all"):
        read_captioned(folder, Refusals())


def test_a_csv_in_another_encoding_is_refused_before_the_first_record(folder: Path) -> None:
    text = "image,caption\n" + "0.png,fine\n" * 5_000 + "1.png,café\n"
    (folder / "captions.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_captioned(folder, Refusals())


def test_several_tables_want_a_choice(folder: Path) -> None:
    for name in ("train.csv", "val.csv"):
        write_csv(folder / name, [{"image": "0.png", "caption": "a"}])
    with pytest.raises(InvalidInput, match=r"train\.csv, val\.csv"):
        read_captioned(folder, Refusals())


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1", b"\xff" * 100])
def test_a_broken_parquet_file(folder: Path, content: bytes) -> None:
    (folder / "captions.parquet").write_bytes(content)
    with pytest.raises(InvalidInput, match="not a readable Parquet file"):
        read_captioned(folder, Refusals())


# -- WebDataset ---------------------------------------------------------------------------------------------------


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def shards(folder: Path) -> None:
    for shard in range(3):
        members: dict[str, bytes] = {}
        for key in (f"{shard}-a", f"{shard}-b"):
            members[f"{key}.png"] = picture(shard)
            members[f"{key}.txt"] = f"caption of {key}\n".encode()
            members[f"{key}.json"] = json.dumps({"shard": shard, "caption": "another"}).encode()
        write_tar(folder / f"part-{shard:03}.tar", members)


def test_shards_are_read_from_a_folder_a_file_or_a_pattern(tmp_path: Path) -> None:
    shards(tmp_path)
    records, refusals = read(tmp_path)
    assert ids(records) == ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b"]
    assert records[3].captions == ("caption of 1-b", "another")
    assert records[3].payload == {"shard": 1}
    assert records[3].read() == picture(1)
    assert refusals.total == 0
    assert ids(read(tmp_path / "part-001.tar")[0]) == ["1-a", "1-b"]
    assert ids(read(f"{tmp_path}/part-{{001..002}}.tar")[0]) == ["1-a", "1-b", "2-a", "2-b"]


def test_a_sample_may_have_only_json(tmp_path: Path) -> None:
    members = {"a.jpg": picture(), "a.json": json.dumps({"captions": ["x", "y"], "n": 1}).encode(), "b.webp": picture()}
    write_tar(tmp_path / "one.tar", members | {"b.json": b'{"text": "z"}', "b.cls": b"7"})
    records, _ = read(tmp_path)
    assert [record.captions for record in records] == [("x", "y"), ("z",)]


def test_bad_samples_are_counted_and_the_rest_are_kept(tmp_path: Path) -> None:
    members = {
        "good.png": picture(),
        "good.txt": b"good",
        "imageless.txt": b"text",
        "captionless.png": picture(),
        "latin.png": picture(),
        "latin.txt": "café".encode("latin-1"),
        "nojson.png": picture(),
        "nojson.json": b"{",
        "deep.png": picture(),
        "deep.json": b"[" * 100_000,
        "half.png": picture(),
        "half.json": b'{"caption": "\\ud83d"}',
        "long.png": picture(),
        "long.txt": b"x" * (2**20 + 1),
        "huge.png": bytes(21 * 2**20),
        "huge.txt": b"huge",
        "dir/last.png": picture(),
        "dir/last.txt": b"last",
    }
    write_tar(tmp_path / "one.tar", members)
    records, refusals = read(tmp_path)
    assert ids(records) == ["good", "dir/last"]
    expected = {"missing": 1, "empty_caption": 1, "broken_record": 4, "caption_too_long": 1, "too_large": 1}
    assert refusals.counts == expected
    assert set(refusals.counts) <= set(REASONS)


def test_the_same_key_in_two_shards_is_a_duplicate(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / name, {"k.png": picture(), "k.txt": b"caption"})
    records, refusals = read(tmp_path)
    assert (ids(records), refusals.counts) == (["k"], {"duplicate_id": 1})


@pytest.mark.parametrize("cut", [1_500, 0])
def test_a_broken_shard_does_not_cost_the_next(tmp_path: Path, cut: int) -> None:
    shards(tmp_path)
    first = tmp_path / "part-000.tar"
    first.write_bytes(first.read_bytes()[:cut] if cut else b"not a tar at all, but long enough" * 100)
    records, refusals = read(tmp_path)
    assert ids(records)[-4:] == ["1-a", "1-b", "2-a", "2-b"]
    assert refusals.counts["broken_shard"] == 1


def test_a_pattern_must_name_shards_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path)
    with pytest.raises(NotFound, match=r"7 of the 10 shards .* first part-003\.tar"):
        read_captioned(f"{tmp_path}/part-{{000..009}}.tar", Refusals())
    with pytest.raises(InvalidInput, match="do not balance"):
        read_captioned(f"{tmp_path}/part-{{000..009.tar", Refusals())
    with pytest.raises(InvalidInput, match="more than"):
        read_captioned(f"{tmp_path}/{{0..99999999}}.tar", Refusals())
    monkeypatch.setattr(patterns, "_MAX_SHARDS", 100)
    with pytest.raises(InvalidInput, match="more than"):
        read_captioned(f"{tmp_path}/{'{a,b}' * 30}.tar", Refusals())


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        caption = tarfile.TarInfo("a.txt")
        caption.size = 1
        tar.addfile(caption, io.BytesIO(b"x"))
    records, refusals = read(tmp_path)
    assert (records, refusals.counts) == ([], {"missing": 1})


# -- COCO -----------------------------------------------------------------------------------------------------------


def coco(**changes: Any) -> str:
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 4, "coco_url": "x"} for n in range(3)],
        "annotations": [{"id": 9 - n, "image_id": n // 2, "caption": f"caption {n}"} for n in range(6)],
    }
    return json.dumps(content | changes)


@pytest.mark.parametrize("place", ["val2017", "images", "annotations", "annotations/images", "images/val2017", "."])
def test_coco_images_are_found_in_the_usual_places(tmp_path: Path, place: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for number in range(3):
        (tmp_path / place / f"{number}.png").write_bytes(picture(number))
    captions = tmp_path / "annotations" / "captions_val2017.json"
    captions.write_text(coco(), encoding="utf-8")
    records, refusals = read(captions)
    assert ids(records) == ["0", "1", "2"]
    assert records[1].captions == ("caption 2", "caption 3")
    assert records[1].payload == {"width": 4}
    assert refusals.total == 0
    assert ids(read(tmp_path)[0]) == ["0", "1", "2"]


def test_coco_images_may_be_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    captions = tmp_path_factory.mktemp("elsewhere") / "captions.json"
    captions.write_text(coco(), encoding="utf-8")
    assert len(read(captions, images=folder)[0]) == 3
    with pytest.raises(NotFound, match="put the images into one of them"):
        read_captioned(captions, Refusals())


def test_bad_coco_entries_are_counted(folder: Path) -> None:
    images = [
        {"id": 0, "file_name": "0.png"},
        {"id": 1, "file_name": "gone.png"},
        {"id": 2, "file_name": "../0.png"},
        {"id": 3},
        "what",
        {"id": 4, "file_name": "4.png"},
        {"id": 0, "file_name": "5.png"},
    ]
    annotations = [{"image_id": 0, "caption": "a"}, {"image_id": 0, "caption": None}, {"caption": "b"}, 7]
    (folder / "captions.json").write_text(coco(images=images, annotations=annotations), encoding="utf-8")
    records, refusals = read(folder / "captions.json")
    assert ids(records) == ["0"]
    expected = {"missing": 1, "outside_folder": 1, "broken_record": 5, "empty_caption": 1, "duplicate_id": 1}
    assert refusals.counts == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not a readable JSON"), ("[]", "a JSON list"), ('{"info": 1}', "it has info"), ("null", "a JSON NoneType")],
)
def test_a_json_that_is_not_coco(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "captions.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match=said):
        read_captioned(tmp_path / "captions.json", Refusals())


# -- records, refusals, laziness, writing -----------------------------------------------------------------------------


def test_reading_is_lazy(folder: Path) -> None:
    write_csv(folder / "captions.csv", [{"id": str(n), "image": f"{n}.png", "caption": ""} for n in range(10)])
    refusals = Refusals()
    records = read_captioned(folder, refusals)
    assert isinstance(records, Iterator)
    assert refusals.total == 0
    assert list(records) == []
    assert refusals.total == 10


def test_a_record_reads_its_file_or_says_why_not(tmp_path: Path) -> None:
    record = CaptionedImage("a", tmp_path / "secret-folder" / "a.png", ("x",), {})
    with pytest.raises(ImageRefused) as refused:
        record.read()
    assert refused.value.reason == "missing"
    assert "secret-folder" not in str(refused.value)
    with pytest.raises(ImageRefused) as refused:
        dataclasses.replace(record, image=tmp_path).read()  # a folder is not a file
    assert refused.value.reason == "unreadable"
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no disk
    with pytest.raises(ImageRefused) as refused:
        dataclasses.replace(record, image=huge).read()
    assert refused.value.reason == "too_large"
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.image_id = "b"  # type: ignore[misc]


def test_a_summary_counts_and_gives_examples() -> None:
    refusals = Refusals()
    assert refusals.summary() == "nothing was refused"
    for number in range(1_200):
        refusals.add("missing", f"{number}.png")
    refusals.add("empty_caption", "x" * 1_000)
    assert refusals.total == 1_201
    assert refusals.summary().startswith("1,201 refused: 1,200 missing (0.png, 1.png, 2.png, …); 1 empty_caption (xxx")
    assert len(refusals.summary()) < 250


def items(count: int) -> Iterator[tuple[str, Image.Image, list[str], dict[str, Any]]]:
    for number in range(count):
        shade = Image.new("RGB", (2, 2), (number % 256, 0, 0))
        yield f"é-{number}", shade, [f"caption {number}", "second"], {"n": number, "kind": "shade"}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "world"
    assert write_captioned(target, items(5)) == 5
    records, refusals = read(target)
    assert ids(records) == [f"é-{n}" for n in range(5)]
    assert records[3].captions == ("caption 3", "second")
    assert records[3].payload == {"n": 3, "kind": "shade"}
    assert decode_image(records[3].read()).getpixel((0, 0)) == (3, 0, 0)
    assert refusals.total == 0
    assert sorted(path.name for path in target.iterdir()) == ["captions.parquet", "images"]


def test_many_images_are_spread_over_folders(tmp_path: Path) -> None:
    write_captioned(tmp_path, items(1_001))
    assert [len(list(part.iterdir())) for part in sorted((tmp_path / "images").iterdir())] == [1_000, 1]


def test_payload_keys_may_differ_between_items(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    write_captioned(tmp_path, [("a", picture, ["x"], {"p": 1}), ("b", picture, ["y"], {"q": [1.5]})])
    assert [record.payload for record in read(tmp_path)[0]] == [{"p": 1}, {"q": [1.5]}]


@pytest.mark.parametrize(
    ("second", "said"),
    [(("a", {}), "two images"), (("b", {"caption": "x"}), "a column"), (("b", {"p": "text"}), "more than one type")],
)
def test_items_that_cannot_be_written_leave_nothing(
    tmp_path: Path, second: tuple[str, dict[str, Any]], said: str
) -> None:
    picture = Image.new("RGB", (2, 2))
    with pytest.raises(InvalidInput, match=said):
        write_captioned(tmp_path, [("a", picture, ["x"], {"p": 1}), (second[0], picture, ["y"], second[1])])
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_an_interrupted_write_keeps_what_was_there(tmp_path: Path) -> None:
    write_captioned(tmp_path, items(3))
    (tmp_path / "queries.json").write_text("{}", encoding="utf-8")

    def interrupted() -> Iterator[tuple[str, Image.Image, list[str], dict[str, Any]]]:
        yield from items(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_captioned(tmp_path, interrupted())
    assert len(read(tmp_path)[0]) == 3
    write_captioned(tmp_path, items(2))
    assert len(read(tmp_path)[0]) == 2
    assert (tmp_path / "queries.json").exists()
