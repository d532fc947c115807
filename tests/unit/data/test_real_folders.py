"""What real folders, tables and tars hold: nothing is lost, cut or swapped without a word."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import struct_pb2
from PIL import Image

from scot.data import paths
from scot.data.captioned import describe, open_source, open_sources, read_sources
from scot.data.payload import MAX_PAYLOAD_BYTES, payload_bytes, stored_payload
from scot.data.records import REASONS, CaptionedImage, Refusals
from scot.errors import ImageRefused, InvalidInput
from scot.index.payload import payload_from_proto, payload_to_proto


def encoded(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(buffer, "PNG")
    return buffer.getvalue()


def images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded())


def table(folder: Path, text: str, name: str = "captions.csv") -> None:
    (folder / name).write_text(text, encoding="utf-8", newline="")


def tar(file: Path, members: Sequence[tuple[str, bytes | str]]) -> bytes:
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.read_bytes()


def read(source: Path, captions: Any = "optional") -> tuple[list[CaptionedImage], Refusals]:
    refusals = Refusals()
    records = list(open_source(source, captions=captions).read(refusals))
    assert set(refusals.counts) <= set(REASONS)
    return records, refusals


def captions_of(records: Sequence[CaptionedImage]) -> dict[str, tuple[str, ...]]:
    return {record.image_id: record.captions for record in records}


# -- a folder without a table ---------------------------------------------------------------------------------------


def test_every_image_file_is_an_item_and_text_beside_it_its_caption(tmp_path: Path) -> None:
    images(tmp_path, "b.jpg", "a.png", "sub/deep/c.JPEG", "sub/no_suffix", "photo.heic")
    (tmp_path / "a.txt").write_text("\ufeffa red square\n", encoding="utf-8")
    (tmp_path / "notes").write_text("no image")
    records, refusals = read(tmp_path)
    assert captions_of(records) == {
        "a.png": ("a red square",),
        "b.jpg": (),
        "photo.heic": (),
        "sub/no_suffix": (),
        "sub/deep/c.JPEG": (),
    }
    assert [record.path for record in records] == list(captions_of(records))
    assert refusals.total == 0
    assert "5 image files" in describe(tmp_path, captions="optional")


def test_captions_are_required_for_edits(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(InvalidInput, match=r"captions are needed.*holds 2 image files and has none"):
        open_source(tmp_path)
    (tmp_path / "b.txt").write_text("a red square")
    records, refusals = read(tmp_path, "required")
    assert captions_of(records) == {"b.jpg": ("a red square",)}
    assert refusals.summary() == "1 refused: 1 empty_caption (a.jpg)"


def test_text_that_is_no_caption_costs_the_caption_only(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "b.txt").write_text("x" * 3_000)
    os.mkfifo(tmp_path / "c.txt")
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"a.jpg": (), "b.jpg": (), "c.jpg": ()}
    assert refusals.counts == {"broken_caption": 2, "caption_too_long": 1}


def test_hidden_files_are_counted_and_never_read(tmp_path: Path) -> None:
    images(
        tmp_path, "a.jpg", "._a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg/SYNO.jpg", "Thumbs.db", ".DS_Store", "s/._b.jpg"
    )
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["a.jpg"]
    assert refusals.counts == {"hidden_file": 6}


def test_what_is_no_regular_file_is_counted_and_not_waited_for(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["a.jpg", "link.jpg"]
    assert refusals.counts == {"not_a_file": 1, "missing": 2, "linked_folder": 1}
    with pytest.raises(ImageRefused, match="a pipe, a device or a socket"):
        CaptionedImage("pipe", tmp_path / "pipe.jpg", (), {}).read()


def test_a_folder_that_cannot_be_listed_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    scandir = os.scandir

    def refuse(folder: Any) -> Any:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["a/1.jpg", "c/3.jpg"]
    assert refusals.summary() == "1 refused: 1 unreadable_folder (b/ (Permission denied))"
    with pytest.raises(InvalidInput, match=r"cannot be read \(Permission denied\)"):
        open_source(tmp_path / "b", captions="optional")


def test_names_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(encoded())
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["a.jpg"]
    assert refusals.summary() == r"1 refused: 1 not_utf8 (caf\udce9.jpg)"
    with pytest.raises(InvalidInput, match="is not UTF-8"):
        open_source(os.fsdecode(b"caf\xe9"))


def test_ids_are_composed_unicode(tmp_path: Path) -> None:
    composed, split = (unicodedata.normalize(form, "Müller.jpg") for form in ("NFC", "NFD"))
    images(tmp_path, split)
    (record,), _ = read(tmp_path)
    assert (record.image_id, record.path) == (composed, split)
    record.load()
    images(tmp_path, composed)
    records, refusals = read(tmp_path)
    assert len(records) == 1
    same = "the same name as an earlier file, in another Unicode form"
    assert refusals.summary() == f"1 refused: 1 duplicate_id ({composed} ({same}))"


def test_other_formats_are_named_and_other_files_are_not(tmp_path: Path) -> None:
    images(
        tmp_path, "a.jpg", "film.MOV", "raw.cr2", "drawing.svg", "all.zip", "list.json", "notes.md", "b/captions.csv"
    )
    records, refusals = read(tmp_path)
    assert len(records) == 1
    assert refusals.counts == {"unsupported_format": 3, "archive": 1, "table_below": 1}


def test_a_folder_with_other_files_only_says_what_it_has(tmp_path: Path) -> None:
    images(tmp_path, "film.mov", "a.csv", "b.xyz")
    with pytest.raises(InvalidInput, match=r"has none of them; files: 1 \.csv, 1 \.xyz; a\.csv not read; 1 refused"):
        open_source(tmp_path, captions="optional")


def test_a_huge_folder_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, *(f"{n}.jpg" for n in range(20)))
    monkeypatch.setattr(paths, "_SORTED_ENTRIES", 4)
    taken = []
    entries = paths._entries

    def count(folder: Path) -> Iterator[Any]:
        for entry in entries(folder):
            taken.append(entry.name)
            yield entry

    monkeypatch.setattr(paths, "_entries", count)
    names = paths.walk(tmp_path, Refusals())
    next(names)
    assert len(taken) == 1
    assert len({*names}) == 19


# -- tables: columns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet", "captions.tsv", "anything.tsv"])
@pytest.mark.parametrize(
    ("image", "caption"), [("file_name", "text"), (" Image_Path ", "CAPTION"), ("filename", "captions")]
)
def test_tables_of_others_are_read(tmp_path: Path, name: str, image: str, caption: str) -> None:
    images(tmp_path, "a.jpg")
    row = {image: "a.jpg", caption: "a red, long shirt", " Price ": 5}
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    elif name.endswith("jsonl"):
        table(tmp_path, json.dumps(row) + "\n", name)
    else:
        cells = ("\t" if name.endswith("tsv") else ",").join
        quoted = [f'"{value}"' for value in row.values()]
        table(tmp_path, cells(row) + "\n" + cells(quoted) + "\n", name)
    (record,), refusals = read(tmp_path, "required")
    assert (record.image_id, record.captions, record.payload) == ("a.jpg", ("a red, long shirt",), {"Price": 5})
    assert refusals.total == 0
    line = describe(tmp_path)
    assert f"{name} with 1 row: image from {image!r}; captions from {caption!r}; " in line
    assert "payload: Price" in line


def test_semicolons_are_found(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    table(tmp_path, "image;caption;price\na.jpg;red, long;1,5\n")
    (record,), _ = read(tmp_path)
    assert (record.captions, record.payload) == (("red, long",), {"price": "1,5"})
    assert "separated by semicolons" in describe(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,caption,image", "the column 'image' twice"),
        ("image,caption,price, price", "the column 'price' twice"),
        ("image,Image,caption", "'image' and 'Image', which mean the same"),
        ("image,caption,price,price.usd", "'price.usd' is inside another value"),
        ("image,caption,price.", "no filter can name the key 'price.'"),
        ("image,caption,_scot_item_id", "are reserved"),
    ],
)
def test_columns_that_clash_are_refused_by_name(tmp_path: Path, header: str, message: str) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, f"{header}\na.jpg,a red shirt,b.jpg\n")
    with pytest.raises(InvalidInput, match=message):
        open_source(tmp_path)


def test_equal_columns_of_parquet_and_equal_keys_of_json(tmp_path: Path) -> None:
    names = ["image", "caption", "image"]
    pq.write_table(pa.Table.from_arrays([pa.array(["a.jpg"])] * 3, names=names), tmp_path / "captions.parquet")
    with pytest.raises(InvalidInput, match="the column 'image' twice"):
        open_source(tmp_path)
    images(tmp_path, "a.jpg", "b.jpg")
    twice = '{"image": "a.jpg", "caption": "x", "image": "b.jpg"}\n{"image": "b.jpg", "caption": "y"}\n[]\n{\n'
    table(tmp_path, twice, "other.jsonl")
    records, refusals = read(tmp_path / "other.jsonl")
    assert captions_of(records) == {"b.jpg": ("y",)}
    assert refusals.counts == {"broken_record": 3}
    assert "line 1" in refusals.summary()


def test_several_tables_are_refused_or_the_line_says_which_is_not_read(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, "image,caption\na.jpg,a red shirt\nb.jpg,a blue shirt\n")
    table(tmp_path, "file_name,text\na.jpg,a green shirt\n", "metadata.csv")
    table(tmp_path, "name,sales\nx,1\n", "sales.csv")
    assert len(read(tmp_path)[0]) == 2
    assert describe(tmp_path).endswith("; metadata.csv, sales.csv not read")
    pq.write_table(pa.table({"image": ["a.jpg"], "caption": ["a green shirt"]}), tmp_path / "captions.parquet")
    with pytest.raises(InvalidInput, match=r"several tables \(captions.csv, captions.parquet\): name the one"):
        open_source(tmp_path)
    assert len(read(tmp_path / "captions.parquet")[0]) == 1


def test_a_table_that_names_no_image_of_the_folder_does_not_hide_the_images(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, "file,size\nreport.doc,5\n", "export.csv")
    assert len(read(tmp_path)[0]) == 2
    assert "export.csv not read" in describe(tmp_path, captions="optional")


def test_a_table_without_rows_is_one_sentence(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    table(tmp_path, "image,caption\n")
    with pytest.raises(
        InvalidInput, match=r"captions.csv has no rows below its column names; beside it are 1 image file"
    ):
        open_source(tmp_path, captions="optional")
    table(tmp_path, "image,caption\na.jpg,a red shirt, with long sleeves\n")
    with pytest.raises(InvalidInput, match=r"no row of captions.csv can be read: .*too_many_cells \(a.jpg .*line 2"):
        open_source(tmp_path, captions="optional")


def test_parts_of_one_parquet_table_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for part in range(2):
        rows = [{"image": {"bytes": encoded(), "path": f"{part}-{n}.png"}, "text": "a red square"} for n in range(3)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"train-0000{part}-of-00002.parquet")
    records, refusals = read(tmp_path)
    assert [record.image_id for record in records] == [f"{part}-{n}.png" for part in range(2) for n in range(3)]
    assert refusals.total == 0
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(InvalidInput, match="several tables"):
        open_source(tmp_path)


# -- tables: rows ---------------------------------------------------------------------------------------------------


def test_an_unquoted_comma_costs_its_row_and_says_so(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    table(tmp_path, "image,caption\na.jpg,a red shirt, with long sleeves\nb.jpg,blue\nc.jpg,empty cells behind,, \n")
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"b.jpg": ("blue",), "c.jpg": ("empty cells behind",)}
    row = "1 too_many_cells (a.jpg (captions.csv line 2: 3 cells, 2 columns))"
    assert refusals.summary() == f"2 refused: {row}; 1 not_in_table (a.jpg)"


@pytest.mark.parametrize(
    "rest", ["b.jpg,green\nc.jpg,blue\n", 'b.jpg,"green"\n"c.jpg",blue\n', 'b.jpg,green\n"c.jpg",blue']
)
def test_an_open_quote_costs_its_own_line(tmp_path: Path, rest: str) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    table(tmp_path, f'image,caption\na.jpg,"red\n{rest}')
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"b.jpg": ("green",), "c.jpg": ("blue",)}
    assert refusals.summary() == "2 refused: 1 open_quote (captions.csv (line 2)); 1 not_in_table (a.jpg)"


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, 'image,caption\r\n\r\na.jpg,"two\r\nlines"\r\nb.jpg,"open\r\ngone.jpg,x\r\n')
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"a.jpg": ("two\r\nlines",)}
    assert refusals.examples == {
        "open_quote": ["captions.csv (line 5)"],
        "missing": ["gone.jpg (captions.csv line 6)"],
        "not_in_table": ["b.jpg"],
    }
    table(tmp_path, 'image,"caption\na.jpg,x\n')
    with pytest.raises(InvalidInput, match="an open quote in line 1, where its column names"):
        open_source(tmp_path)


def test_many_open_quotes_do_not_cost_the_square_of_the_file(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    table(tmp_path, "image,caption\n" + 'x,"y,"z\n' * 3_000 + "a.jpg,fine\n")
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"a.jpg": ("fine",)}
    assert refusals.counts == {"open_quote": 3_000}


@pytest.mark.parametrize(
    ("cell", "captions"),
    [
        ("['a red shirt', 'a red tee']", ("a red shirt", "a red tee")),
        ('["a red shirt", "it\'s red"]', ("a red shirt", "it's red")),
        ("['a red shirt'\n 'a red tee']", ("a red shirt", "a red tee")),
        ("[\"it's\" 'red']", ("it's", "red")),
        ("[a] red shirt", ("[a] red shirt",)),
        ("[sold out]", ("[sold out]",)),
    ],
)
def test_lists_written_as_text_are_several_captions(tmp_path: Path, cell: str, captions: tuple[str, ...]) -> None:
    images(tmp_path, "a.jpg")
    doubled = cell.replace('"', '""')
    table(tmp_path, f'image,captions\na.jpg,"{doubled}"\n')
    assert read(tmp_path)[0][0].captions == captions


def test_a_broken_list_is_counted(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    table(tmp_path, "image,captions\na.jpg,['a red' ... 'tee']\n")
    records, refusals = read(tmp_path, "required")
    assert records == []
    assert refusals.counts == {"broken_caption": 1, "empty_caption": 1}


def test_rows_of_one_image_are_its_captions_wherever_they_stand(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    rows = [
        f"{name}.jpg,{number},a red {thing}" for number, thing in enumerate(["shirt", "tee", "hat"]) for name in "ab"
    ]
    table(tmp_path, "image,number,caption\n" + "\n".join(rows))
    records, refusals = read(tmp_path)
    three = ("a red shirt", "a red tee", "a red hat")
    assert captions_of(records) == {"a.jpg": three, "b.jpg": three}
    assert [record.payload for record in records] == [{"number": 0}, {"number": 0}]
    assert refusals.counts == {"other_payload": 2}  # the first row's values are kept, and that is said


def test_spellings_of_one_path_are_one_item(tmp_path: Path) -> None:
    images(tmp_path, "a/x.jpg")
    spellings = ["a/x.jpg", "./a/x.jpg", "a\\x.jpg", "a//x.jpg", f"{tmp_path}/a/x.jpg"]
    table(tmp_path, "image,caption\n" + "".join(f"{name},a red shirt\n" for name in spellings[:4]))
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"a/x.jpg": ("a red shirt",)}
    assert refusals.total == 0
    table(tmp_path, f"image,caption\n{spellings[4]},a red shirt\n")
    assert captions_of(read(tmp_path)[0]) == {"a/x.jpg": ("a red shirt",)}


@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_normal_forms_do_not_matter(tmp_path: Path, in_table: Any, on_disk: Any) -> None:
    images(tmp_path, unicodedata.normalize(on_disk, "Grüße/Müller.jpg"))
    table(tmp_path, f"image,caption\n{unicodedata.normalize(in_table, 'Grüße/Müller.jpg')},a\n")
    (record,), refusals = read(tmp_path)
    assert record.image_id == unicodedata.normalize("NFC", "Grüße/Müller.jpg")
    record.load()
    assert refusals.total == 0


def test_a_name_that_is_nearly_there_is_in_the_hint(tmp_path: Path) -> None:
    images(tmp_path, "Foto1.JPG", "shoes/0001.jpeg")
    table(tmp_path, f"image,caption\nfoto1.jpg,a\nshoes/0001.jpg,b\nhttps://x.org/1.jpg,c\n{'x' * 5_000},d\n")
    _, refusals = read(tmp_path)
    assert refusals.counts == {"missing": 3, "url": 1}
    assert refusals.examples["missing"][0] == "foto1.jpg (captions.csv line 2; there is 'Foto1.JPG')"
    assert "there is '0001.jpeg'" in refusals.examples["missing"][1]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_float_ids_are_whole_numbers(tmp_path: Path, kind: Any) -> None:
    images(tmp_path, *(f"{name}.jpg" for name in "abcde"))
    ids = pa.array([7.0, float("nan"), None, 10877016.0, 0.5], kind)
    columns = {"image": [f"{name}.jpg" for name in "abcde"], "caption": ["red"] * 5, "id": ids}
    pq.write_table(pa.table(columns), tmp_path / "captions.parquet")
    records, refusals = read(tmp_path)
    assert [record.image_id for record in records] == ["7", "10877016", "0.5"]
    where = "b.jpg (captions.parquet row 2), c.jpg (captions.parquet row 3)"
    assert refusals.summary() == f"2 refused: 2 empty_id ({where})"


def test_ids_of_text_keep_their_zeros(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, "image,caption,id\na.jpg,red,007\nb.jpg,red,7.0\n")
    assert list(captions_of(read(tmp_path)[0])) == ["007", "7.0"]


def test_ids_are_unique_over_all_sources_of_a_run(tmp_path: Path) -> None:
    for name in "ST":
        images(tmp_path, f"{name}/a.jpg", f"{name}/{name}.jpg")
    refusals = Refusals()
    sources = open_sources([tmp_path / "S", tmp_path / "T"], captions="optional")
    assert [record.image_id for record in read_sources(sources, refusals)] == ["S.jpg", "a.jpg", "T.jpg"]
    assert refusals.counts == {"duplicate_id": 1}
    assert "duplicate_id (a.jpg (also in /" in refusals.summary()


# -- payload --------------------------------------------------------------------------------------------------------


def wire(payload: Mapping[str, Any]) -> dict[str, Any]:
    return payload_from_proto(struct_pb2.Struct.FromString(payload_to_proto(payload).SerializeToString()))


def test_numbers_that_a_double_cannot_give_back_stay_text(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    rows = (
        "a.jpg,x,1234567890123456789,9007199254740993,9007199254740991,1e999,0.1\nb.jpg,x,1234567890123456790,1,2,3,2\n"
    )
    table(tmp_path, "image,caption,tweet,sku,largest,huge,share\n" + rows)
    records, _ = read(tmp_path)
    assert records[0].payload == {
        "tweet": "1234567890123456789",
        "sku": "9007199254740993",
        "largest": 9007199254740991,
        "huge": "1e999",
        "share": 0.1,
    }
    assert (records[1].payload["tweet"], records[1].payload["sku"]) == ("1234567890123456790", "1")
    stored = [stored_payload(record.captions, record.payload) for record in records]
    assert [wire(payload) for payload in stored] == stored


def test_long_numbers_of_parquet_stay_text_too(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    numbers = {"tweet": pa.array([2**53 + 1]), "list": pa.array([[2**60, 1]]), "id_sum": pa.array([2**63], pa.uint64())}
    pq.write_table(pa.table({"image": ["a.jpg"], "caption": ["x"], **numbers}), tmp_path / "captions.parquet")
    (record,), _ = read(tmp_path)
    assert record.payload == {"tweet": str(2**53 + 1), "list": [str(2**60), 1], "id_sum": str(2**63)}
    assert wire(stored_payload(record.captions, record.payload)) == stored_payload(record.captions, record.payload)


def test_a_dot_nests(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    table(tmp_path, "image,caption,price.usd,price.eur\na.jpg,a red shirt,5,4\n")
    assert read(tmp_path)[0][0].payload == {"price": {"usd": 5, "eur": 4}}
    assert "a dot nests: 'price.usd' becomes {price: {usd: …}}" in describe(tmp_path)
    rows = [{"image": "a.jpg", "size": {"eu.w": 5}}, {"image": "b.jpg", "size": {"": 1}}]
    table(tmp_path, "\n".join(map(json.dumps, rows)), "rows.jsonl")
    records, refusals = read(tmp_path / "rows.jsonl")
    assert [record.payload for record in records] == [{"size": {"eu": {"w": 5}}}]
    assert refusals.counts == {"payload_key": 1}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"a": None, "b": True, "c": 1, "d": 1.5, "é": "ü" * 200, "": ""},
        {"list": [1, "x", [], {}, [None, {"deep": [0.5] * 300}]], "map": {"x": {"y": {"z": "t" * 20_000}}}},
    ],
)
def test_payload_is_measured_as_the_service_does(payload: dict[str, Any]) -> None:
    assert payload_bytes(payload) == payload_to_proto(payload).ByteSize()


def test_payload_that_the_service_would_refuse_is_refused_by_the_reader(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    fits = MAX_PAYLOAD_BYTES - payload_bytes({"caption": "x", "about": "y" * 60_000}) + 60_000
    table(tmp_path, f"image,caption,about\na.jpg,x,{'y' * fits}\nb.jpg,x,{'y' * (fits + 1)}\n")
    (record,), refusals = read(tmp_path)
    assert payload_to_proto(stored_payload(record.captions, record.payload)).ByteSize() == MAX_PAYLOAD_BYTES
    assert refusals.summary() == "1 refused: 1 payload_too_large (b.jpg (captions.csv line 3))"


# -- WebDataset and COCO --------------------------------------------------------------------------------------------


def test_a_tar_of_a_mac(tmp_path: Path) -> None:
    hidden = b"\0\5\x16\7" + bytes(159)
    members: list[tuple[str, bytes | str]] = []
    for key in ("000", "001"):
        members += [
            (f"._{key}.png", hidden),
            (f"{key}.png", encoded()),
            (f"._{key}.txt", hidden),
            (f"{key}.txt", "red"),
        ]
    tar(tmp_path / "0.tar", [*members, ("__MACOSX/000.png", hidden)])
    (tmp_path / "._0.tar").write_bytes(hidden)
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"000": ("red",), "001": ("red",)}
    assert records[0].path == "0.tar/000.png"
    assert refusals.counts == {"hidden_file": 6}


def test_dots_in_keys(tmp_path: Path) -> None:
    parts = [("22.05", "red"), ("22.06", "blue")]
    members = [each for key, text in parts for each in ((f"{key}.png", encoded(text)), (f"{key}.txt", text))]
    tar(tmp_path / "0.tar", members)
    assert captions_of(read(tmp_path)[0]) == {"22.05": ("red",), "22.06": ("blue",)}
    tar(
        tmp_path / "0.tar",
        [("7.png", encoded()), ("7.caption.txt", "red"), ("8.left.png", encoded()), ("8.txt", "red")],
    )
    assert captions_of(read(tmp_path)[0]) == {"7": ("red",), "8": ("red",)}
    tar(tmp_path / "0.tar", [("9.left.png", encoded()), ("9.right.png", encoded()), ("9.txt", "a pair")])
    assert captions_of(read(tmp_path)[0]) == {"9.left": ("a pair",), "9.right": ("a pair",)}
    tar(
        tmp_path / "0.tar",
        [(f"www.{n}.{kind}", encoded() if kind == "png" else "x") for n in range(50) for kind in ("png", "txt")],
    )
    assert captions_of(read(tmp_path)[0]) == {f"www.{n}": ("x",) for n in range(50)}


def test_a_second_image_of_a_sample_is_counted(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", [("0.jpg", encoded("red")), ("0.png", encoded("blue")), ("0.txt", "a red shirt")])
    (record,), refusals = read(tmp_path)
    assert record.read() == encoded("red")
    assert refusals.summary() == "1 refused: 1 second_image (0.png)"


def test_a_tar_without_its_end_is_named_with_what_was_read(tmp_path: Path) -> None:
    whole = tar(tmp_path / "0.tar", [pair for n in range(6) for pair in ((f"{n}.png", encoded()), (f"{n}.txt", "red"))])
    (tmp_path / "0.tar").write_bytes(whole[: whole.find(b"3.png")])
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["0", "1", "2"]
    assert refusals.summary() == "1 refused: 1 broken_shard (0.tar (its end is missing; 3 samples read))"


def test_tars_deep_in_a_folder_are_read_and_tars_among_images_are_counted(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    tar(tmp_path / "train" / "0.tar", [("0.png", encoded()), ("0.txt", "red")])
    assert list(captions_of(read(tmp_path)[0])) == ["0"]
    images(tmp_path, "a.jpg")
    records, refusals = read(tmp_path)
    assert list(captions_of(records)) == ["a.jpg"]
    assert refusals.counts == {"archive": 1}
    assert "archive (train/0.tar)" in describe(tmp_path, captions="optional")


def coco(folder: Path, name: str, annotations: list[dict[str, Any]]) -> None:
    images(folder, "val2017/1.jpg")
    entries = [{"id": 1, "file_name": "1.jpg"}]
    table(folder, json.dumps({"images": entries, "annotations": annotations}), name)


def test_a_coco_caption_of_no_image_is_counted(tmp_path: Path) -> None:
    ghost = {"image_id": 99, "caption": "a ghost"}
    coco(tmp_path, "captions_val2017.json", [{"image_id": 1, "caption": "a red shirt"}, ghost])
    records, refusals = read(tmp_path)
    assert captions_of(records) == {"1": ("a red shirt",)}
    assert refusals.summary() == "1 refused: 1 unknown_image (99 (a ghost))"


def test_coco_objects_have_no_captions(tmp_path: Path) -> None:
    file = tmp_path / "instances_val2017.json"
    coco(tmp_path, file.name, [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(InvalidInput, match="object annotations, no captions"):
        open_source(file)
    assert captions_of(read(file)[0]) == {"1": ()}
    assert "object annotations, no captions" in describe(file, captions="optional")
