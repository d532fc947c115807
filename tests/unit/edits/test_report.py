"""The report on triplets: its numbers are those of the folder, and its picture is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from scot.cli import main
from scot.data.triplets import Triplet, write_triplets
from scot.edits.report import ReportConfig, measure


def write(folder: Path, edits: list[tuple[str, str, str, str]], rejected: dict[str, int]) -> Path:
    made = (
        Triplet.make(str(n), caption, edit, edited, aspect=aspect, generator="rules", prompt_version="1", seed=0)
        for n, (caption, edit, edited, aspect) in enumerate(edits)
    )
    write_triplets(folder, made, rejected)
    return folder


EDITS = [
    ("a red cat", "make it blue", "a blue cat", "direct addressing"),
    ("a red cat", "make it blue", "a blue cat", "direct addressing"),
    ("a red cat", "add a dog", "a red cat and a dog", "addition"),
    ("two small birds", "three of them", "three small birds", "cardinality"),
]


def test_what_is_printed_is_what_the_folder_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "t", EDITS, {"duplicate": 3, "nothing_to_edit": 1})
    assert main(["edits", "report", str(folder), "--output", str(tmp_path / "report.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {" ".join(line.split()[:-2]): line.split()[-2:] for line in lines}
    assert lines[0].startswith("4 triplets by")
    assert rows["duplicate"] == ["3", "37.5%"]
    assert rows["nothing_to_edit"] == ["1", "12.5%"]
    assert rows["direct addressing"] == ["2", "50.0%"]
    assert rows["addition"] == ["1", "25.0%"]
    assert any(line.startswith("1 say the same edit") for line in lines)
    assert sum("make it blue  [direct addressing]" in line for line in lines) == 2
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size[0] > picture.size[1] > 100


def test_similarities_are_those_of_the_encoder(tmp_path: Path) -> None:
    made = measure(ReportConfig(write(tmp_path / "t", EDITS, {})))
    assert made.similarities is not None
    assert len(made.similarities.caption_edited) == 4
    assert all(made.similarities.caption_edited > made.similarities.edit_edited)
    assert measure(ReportConfig(tmp_path / "t", encoder="")).similarities is None


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edits", "report", str(tmp_path / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main(["edits", "report", str(write(tmp_path / "t", [], {})), "--output", str(tmp_path / "r.png")]) == 1
    assert "holds no triplet" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()
