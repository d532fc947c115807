"""Image files that the table of captions of their folder does not name, and folders that are not images of the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from scot.data.captioned import describe, open_source
from scot.data.records import Refusals
from scot.errors import InvalidInput
from scot.index.thumbnails import Thumbnails


def images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def read(source: str | Path, captions: str) -> tuple[dict[str, tuple[str, ...]], str]:
    refusals = Refusals()
    optional = open_source(source, captions="optional" if captions == "optional" else "required")
    return {each.image_id: each.captions for each in optional.read(refusals)}, refusals.summary()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table that names some images, in several spellings, one of them in vain; and a subfolder with its own table."""
    images(
        tmp_path, "a.png", "b/c.png", "e\u0301.png", "pipe.png", "b/new.png", "other.jpg", "own/d.png", "own/e/f.png"
    )
    (tmp_path / "pipe.png").unlink()
    os.mkfifo(tmp_path / "pipe.png")
    names = ["a.png", "./b\\c.png", str(tmp_path / "\u00e9.png"), "pipe.png", "gone.png"]
    rows = "".join(f"{name},text\n" for name in names)
    (tmp_path / "captions.csv").write_text(f"image,caption\n{rows}", encoding="utf-8")
    (tmp_path / "own" / "metadata.csv").write_text("file_name\nd.png\n", encoding="utf-8")
    return tmp_path


NAMED = {"a.png": ("text",), "b/c.png": ("text",), "\u00e9.png": ("text",)}
REFUSED = "1 not_a_file (pipe.png (captions.csv line 5)); 1 missing (gone.png (captions.csv line 6))"


def test_where_captions_are_needed_images_that_the_table_does_not_name_are_counted(folder: Path) -> None:
    expected = f"4 refused: 2 not_in_table (other.jpg, b/new.png); {REFUSED}"
    assert read(folder, "required") == (NAMED, expected)


def test_where_captions_are_optional_they_are_read_without(folder: Path) -> None:
    records, summary = read(folder, "optional")
    assert records == {**NAMED, "other.jpg": (), "b/new.png": ()}
    assert summary == f"3 refused: {REFUSED}; 1 table_below (own/metadata.csv)"
    assert "images that it does not name have no caption" in describe(folder, captions="optional")
    assert open_source(folder, captions="optional").count() == 5


@pytest.mark.parametrize("captions", ["required", "optional"])
def test_a_table_that_is_named_itself_may_be_a_part_of_the_images(folder: Path, captions: str) -> None:
    assert read(folder / "captions.csv", captions) == (NAMED, f"2 refused: {REFUSED}")


@pytest.mark.parametrize("captions", ["required", "optional"])
def test_images_with_another_id_are_named_too(tmp_path: Path, captions: str) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "captions.csv").write_text("id,image,caption\n1,a.png,text\n,b.png,text\n", encoding="utf-8")
    assert read(tmp_path, captions) == ({"1": ("text",)}, "1 refused: 1 empty_id (b.png (captions.csv line 3))")


def test_thumbnails_of_scot_are_no_images_of_a_folder(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    Thumbnails(tmp_path / "scot-data" / "thumbnails").write("gallery", "a.png", Image.new("RGB", (4, 4)))
    assert read(tmp_path, "optional") == ({"a.png": ()}, "1 refused: 1 cache_folder (scot-data/thumbnails/)")
    assert len(read(tmp_path / "scot-data" / "thumbnails", "optional")[0]) == 1


def test_a_thumbnail_folder_that_has_files_is_not_marked_and_a_false_mark_marks_nothing(tmp_path: Path) -> None:
    images(tmp_path, "mine/b.png", "other/c.png")
    Thumbnails(tmp_path / "mine").write("gallery", "a.png", Image.new("RGB", (4, 4)))
    (tmp_path / "other" / "CACHEDIR.TAG").write_text("my notes", encoding="utf-8")
    records, summary = read(tmp_path, "optional")
    assert {"mine/b.png", "other/c.png"} < set(records)
    assert summary == "nothing was refused"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_directory(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="the name of a source is empty"):
        open_source(name, captions="optional")
