"""The report on triplets: its numbers are those of the folder, and its picture is one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scot.cli import main
from scot.data.triplets import Triplet, write_triplets
from scot.edits.report import Report, ReportConfig, measure, text, verdict


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
    assert ["make", "it", "blue", "2", "50.0%"] in [line.split() for line in lines]
    assert any(line.startswith("1 say the same edit") for line in lines)
    assert sum("make it blue  [direct addressing]" in line for line in lines) == 2
    assert lines[-1] == "verdict: good: nothing stands out; read the sample before you train"
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size[0] > picture.size[1] > 100


def test_similarities_are_those_of_the_encoder(tmp_path: Path) -> None:
    made = measure(ReportConfig(write(tmp_path / "t", EDITS, {})))
    assert made.similarities is not None
    assert len(made.similarities.caption_edited) == 4
    assert all(made.similarities.caption_edited > made.similarities.edit_edited)
    assert measure(ReportConfig(tmp_path / "t", encoder="")).similarities is None


def run(folder: Path, edits: list[tuple[str, str, str, str]], tally: dict[str, Any]) -> Report:
    """The report on a folder whose manifest has a tally, as that of a run."""
    write(folder, edits, {})
    manifest = json.loads((folder / "_manifest.json").read_text())
    (folder / "_manifest.json").write_text(json.dumps(manifest | {"extra": {"tally": tally}}))
    return measure(ReportConfig(folder, encoder=""))


@pytest.mark.parametrize(
    ("edits", "edited", "said"),
    [
        (EDITS, 1, "poor: only 25.0% of the captions have an edit"),
        ([*EDITS[1:], ("a dog", "A cat!", "a cat", "addition")], 4, "poor: 25.0% of the edits are the caption"),
        ([EDITS[0]] * 4, 4, "poor: 75.0% of the triplets say the same edit"),
        ([(f"{n} cats", "add a dog", f"{n} cats and a dog", "addition") for n in range(20)], 4, "monotonous: 100.0%"),
        (EDITS, 4, "good: nothing stands out"),
    ],
)
def test_the_verdict_says_what_stands_out(
    tmp_path: Path, edits: list[tuple[str, str, str, str]], edited: int, said: str
) -> None:
    tally = {"captions": 4, "edited": edited, "short": 1, "completion_tokens": 0, "examples": {}}
    assert verdict(run(tmp_path / "t", edits, tally)).startswith(said)


def test_shares_are_of_captions_and_refusals_have_examples(tmp_path: Path) -> None:
    tally = {"captions": 50, "edited": 30, "short": 20, "completion_tokens": 0, "examples": {"unsafe": ["a bad word"]}}
    made = run(tmp_path / "t", EDITS, tally)
    lines = text(replace(made, manifest=replace(made.manifest, rejected={"unsafe": 5}))).splitlines()
    assert "30 have an edit, 20 of them fewer than asked" in lines
    at = next(n for n, line in enumerate(lines) if line.split() == ["unsafe", "5", "10.0%"])
    assert lines[at + 1] == "    a bad word"


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edits", "report", str(tmp_path / "nowhere")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main(["edits", "report", str(write(tmp_path / "t", [], {})), "--output", str(tmp_path / "r.png")]) == 1
    assert "holds no triplet" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()
