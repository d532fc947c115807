"""Files for the test servers of CIRR and CIRCO: what the servers take is accepted, all else refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scot.cli import main
from tests.support.small_benchmarks import load_json, small_benchmarks, write_json


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_benchmarks(tmp_path_factory.mktemp("home"))


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["evaluate", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def submission(home: Path, kind: str) -> dict[str, Any]:
    """A good submission to CIRR's server."""
    entries = json.loads((home / "CIRR/cirr/captions/cap.rc2.test1.json").read_text())
    names = list(load_json(home / "CIRR/cirr/image_splits/split.rc2.test1.json"))
    content: dict[str, Any] = {"version": "rc2", "metric": kind}
    for entry in entries:
        pool = names if kind == "recall" else entry["img_set"]["members"]
        content[str(entry["pairid"])] = [n for n in pool if n != entry["reference"]][: 50 if kind == "recall" else 3]
    return content


def test_good_submissions_are_accepted(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write_json(tmp_path / f"{kind}.json", submission(home, kind)) for kind in ("recall", "recall_subset")]
    given = ["validate-submission", *map(str, files), "--annotations", str(home / "CIRR")]
    code, out, _ = run(given, capsys)
    assert code == 0
    assert "recall of cirr test1, 6 queries" in out
    assert "recall_subset of cirr test1, 6 queries" in out
    circo = write_json(tmp_path / "circo.json", {str(n): [1_000 + 7 * i for i in range(50)] for n in range(3)})
    assert run(["validate-submission", str(circo), "--annotations", str(home / "CIRCO")], capsys)[0] == 0


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("recall", lambda c: c.pop("version"), 'needs "version": "rc2" and "metric"'),
        ("recall", lambda c: c.update(version="rc1"), 'needs "version": "rc2"'),
        ("recall", lambda c: c.pop("12003"), "lacks 1 queries of cirr test1: 12003"),
        ("recall", lambda c: c["12000"].append("test1-59-0-img0"), "51 names instead of 50 (query 12000)"),
        ("recall", lambda c: c["12000"].pop(), "49 of 50 (query 12000)"),
        ("recall", lambda c: c["12000"].__setitem__(0, "test1-0-0-img0"), "49 of 50 (query 12000)"),
        ("recall_subset", lambda c: c["12000"].__setitem__(0, "test1-30-0-img0"), "test1-30-0-img0 (query 12000)"),
        ("recall_subset", lambda c: c["12000"].pop(), "2 of 3 (query 12000)"),
    ],
)
def test_a_bad_submission_to_cirr_is_refused(
    *, kind: str, change: Any, said: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = submission(home, kind)
    change(content)
    file = write_json(tmp_path / "bad.json", content)
    code, out, err = run(["validate-submission", str(file), "--annotations", str(home / "CIRR")], capsys)
    assert (code, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_submission_over_the_servers_size_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "large.json"
    file.write_text(json.dumps(submission(home, "recall")) + " " * 5_000_000, encoding="utf-8")
    code, _, err = run(["validate-submission", str(file), "--annotations", str(home / "CIRR")], capsys)
    assert code == 1
    assert "the server takes 5,000,000" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["0"].append(9), "names that are not in the gallery: 9 (query 0)"),
        (lambda c: c["0"].append(1_413), "51 names instead of 50 (query 0)"),
        (lambda c: c.update({"1": [str(i) for i in c["1"]]}), "names that are not int (query 1)"),
        (lambda c: c.pop("2"), "lacks 1 queries of circo test: 2"),
    ],
)
def test_a_bad_submission_to_circo_is_refused(
    change: Any, said: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {str(n): [1_000 + 7 * i for i in range(50)] for n in range(3)}
    change(content)
    file = write_json(tmp_path / "bad.json", content)
    code, _, err = run(["validate-submission", str(file), "--annotations", str(home / "CIRCO")], capsys)
    assert code == 1
    assert said in err
