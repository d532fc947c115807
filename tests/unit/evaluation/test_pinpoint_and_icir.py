"""PinPoint and i-CIR by their authors' definitions, worked out by hand on small folders in their layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.cli import main
from scot.encoders import load_encoder
from scot.evaluation.icir import trapezoidal_precision
from tests.support.small_benchmarks import load_json, picture, small_icir, small_pinpoint, write_json

NAMES = [f"{number:032x}" for number in range(59)]


@pytest.fixture(scope="module")
def pinpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_pinpoint(tmp_path_factory.mktemp("pinpoint"))


@pytest.fixture(scope="module")
def icir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_icir(tmp_path_factory.mktemp("icir"))


def scored(benchmark: str, folder: Path, content: Any, tmp_path: Path) -> dict[str, Any]:
    rankings, result = write_json(tmp_path / "rankings.json", content), tmp_path / "result.json"
    places = ["--annotations", str(folder), "--rankings", str(rankings), "--json", str(result)]
    assert main(["evaluate", benchmark, *places, "--per-query"]) == 0
    return dict(load_json(result))


def ranked(*first: int) -> dict[str, list[str]]:
    return {
        "retrieved_items": [*(NAMES[n] for n in first), *(each for n, each in enumerate(NAMES) if n not in first)][:50]
    }


def test_pinpoint_counts_right_and_wrong_answers_and_the_spread_over_wordings(pinpoint: Path, tmp_path: Path) -> None:
    content = {
        "00000": ranked(0, 30, 1, 2),  # right: 0, 1, 2; no wrong ones
        "00001": ranked(40, 10, 11, 31),  # right: 10, 11, 12; wrong: 40
        "00002": ranked(*range(45, 56)),  # right: 20, 21, 22; wrong: 40, 41
        "00003": ranked(41, 42, 40, 30, 31, 32),  # right: 30, 31, 32; wrong: 40, 41, 42
        "00004": ranked(43, 40),  # right: 40 and two more; wrong: 40 to 43
    }
    result = scored("pinpoint", pinpoint, content, tmp_path)
    by_query = {each["query"]: each for each in result["per_query"]}
    assert by_query["00000"]["map@10"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert by_query["00000"]["precision@10"] == pytest.approx(0.3)
    assert by_query["00000"]["neg_recall@10"] == 0.0
    assert by_query["00001"]["map@5"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert by_query["00001"]["map_no_neg@5"] == pytest.approx((1 + 1) / 3)
    assert by_query["00001"]["neg_recall@1"] == 1.0
    assert by_query["00002"]["recall@10"] == 0.0
    assert by_query["00003"]["neg_recall@1"] == 1.0
    assert by_query["00003"]["neg_recall@5"] == 1.0
    assert by_query["00003"]["map_no_neg@5"] == 1.0
    wordings = [by_query[f"0000{n}"]["precision@10"] for n in range(3)]
    assert result["metrics"]["ling_sens_range"] == pytest.approx(max(wordings) - min(wordings))
    assert result["metrics"]["ling_sens_std"] == pytest.approx(float(np.std(wordings)))
    metrics = result["metrics"]
    assert metrics["delta_map_no_neg@10"] == pytest.approx(metrics["map_no_neg@10"] - metrics["map@10"])
    assert len(result["protocol"]["deviations"]) == 2  # its size


def test_a_query_of_two_references_starts_from_their_sum_and_a_reference_apart_is_not_found(
    pinpoint: Path, tmp_path: Path
) -> None:
    places = ["--annotations", str(pinpoint), "--images", str(pinpoint), "--output", str(tmp_path)]
    assert main(["evaluate", "pinpoint", *places, "--composer", "image_only"]) == 0
    found = load_json(tmp_path / "pinpoint-val.json")
    encoder = load_encoder("tiny")
    files = [pinpoint / "images" / f"{name}.jpg" for name in [*NAMES, f"{59:032x}"]]
    images = encoder.encode_images([Image.open(file).convert("RGB") for file in files])
    both = images[2] + images[3]
    scores = images[:59] @ (both / np.linalg.norm(both))
    first = found["00003"]["retrieved_items"]
    assert scores[NAMES.index(first[0])] == pytest.approx(scores.max(), abs=1e-5)
    assert {NAMES[2], NAMES[3]} <= set(first[:5])
    assert f"{59:032x}" not in {name for each in found.values() for name in each["retrieved_items"]}
    assert found["00000"]["retrieved_items"][0] == NAMES[1]  # the reference competes


def test_precision_is_averaged_by_trapezoids() -> None:
    assert trapezoidal_precision("abc", "a") == pytest.approx(1.0, abs=2e-5)
    assert trapezoidal_precision("abc", "ac") == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2, abs=2e-5)
    assert trapezoidal_precision("abc", "b") == pytest.approx((0 + 1 / 2) / 2, abs=2e-5)


def test_icir_ranks_within_each_object_and_averages_over_queries_and_objects(icir: Path, tmp_path: Path) -> None:
    stored = [line.split(",") for line in (icir / "database_files.csv").read_text().splitlines()]

    def ranking(thing: str, text: str) -> list[str]:
        """The right answers first."""
        seen: set[str] = set()
        rows = []
        for number, (path, said, instance) in enumerate(stored, 1):
            name = path if path not in seen else f"{path} (line {number})"
            seen.add(path)
            if instance == thing:
                rows.append((said != text, name))
        return [name for _, name in sorted(rows, key=lambda row: row[0])]

    content = {
        thing: {str(2 * place + n): ranking(thing, text) for n, text in enumerate(("at night", "as a drawing"))}
        for place, thing in enumerate(("temple", "teapot"))
    }
    content["teapot"]["3"].reverse()
    result = scored("icir", icir, content, tmp_path)
    by_query = {each["query"]: each["map"] for each in result["per_query"]}
    assert [by_query[str(n)] for n in range(3)] == pytest.approx([1.0] * 3, abs=1e-5)
    # Five right answers of 13 at the end: places 8 to 12.
    expected = sum((n / (8 + n) + (n + 1) / (9 + n)) / 2 for n in range(5)) / 5
    assert by_query["3"] == pytest.approx(expected, abs=1e-5)
    assert result["metrics"]["map"] == pytest.approx((3 + expected) / 4, abs=1e-4)
    assert result["metrics"]["mmap"] == pytest.approx((1 + (1 + expected) / 2) / 2, abs=1e-4)
    assert result["metrics"]["minmap"] == pytest.approx((1 + expected) / 2, abs=1e-4)
    assert set(result["metrics"]) == {"map", "mmap", "minmap"}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("fields", "is not a table of path, text and object: line 2"),
        ("unanswered", "queries without a right answer"),
        ("empty", "it is empty"),
    ],
)
def test_damaged_tables_of_icir_are_one_sentence(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = small_icir(tmp_path) / "query_files.csv"
    lines = file.read_text().splitlines()
    changed = {"fields": [lines[0], "one,two", *lines[2:]], "unanswered": [lines[0] + "s", *lines[1:]], "empty": []}
    file.write_text("\n".join(changed[what]))
    assert main(["evaluate", "icir", "--annotations", str(tmp_path), "--images", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_damaged_files_of_pinpoint_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = small_pinpoint(tmp_path)
    places = ["--annotations", str(root), "--images", str(root), "--composer", "sum", "--output", str(tmp_path / "out")]
    (root / "images" / f"{59:032x}.jpg").unlink()  # a reference that is not searched
    assert main(["evaluate", "pinpoint", *places]) == 1
    assert "1 of 60 pictures of pinpoint are missing" in capsys.readouterr().err
    assert main(["evaluate", "pinpoint", *places, "--skip-missing"]) == 0
    assert len(load_json(tmp_path / "out" / "pinpoint-val.json")) == 4
    picture(root / "images" / f"{59:032x}.jpg", 59)
    (root / "pinpoint_licensed.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    capsys.readouterr()
    assert main(["evaluate", "pinpoint", *places]) == 1
    assert "is not PinPoint's table of queries" in capsys.readouterr().err
