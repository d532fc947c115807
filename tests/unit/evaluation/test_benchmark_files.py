"""Ranking files and annotations: what is scored, what a deviation changes, what is refused in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import scot
from scot.cli import COMMANDS, main
from tests.support.small_benchmarks import load_json, small_benchmarks, small_cirr, write_json


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_benchmarks(tmp_path_factory.mktemp("home"))


def perfect(home: Path, benchmark: str) -> dict[str, Any]:
    """Rankings that are right at once, in the benchmark's own format."""
    match benchmark:
        case "cirr":
            entries = json.loads((home / "CIRR/cirr/captions/cap.rc2.val.json").read_text())
            names = list(load_json(home / "CIRR/cirr/image_splits/split.rc2.val.json"))
            ranked = {
                str(e["pairid"]): [e["target_hard"], *(n for n in names if n not in (e["target_hard"], e["reference"]))]
                for e in entries
            }
            return {"version": "rc2", "metric": "recall"} | {query: names[:50] for query, names in ranked.items()}
        case "fashioniq":
            made: dict[str, Any] = {}
            for category in ("dress", "shirt", "toptee"):
                names = json.loads((home / f"FashionIQ/image_splits/split.{category}.val.json").read_text())
                entries = json.loads((home / f"FashionIQ/captions/cap.{category}.val.json").read_text())
                made[category] = {
                    str(n): [e["target"], *(name for name in names if name != e["target"])][:50]
                    for n, e in enumerate(entries)
                }
            return made
        case "circo":
            entries = json.loads((home / "CIRCO/annotations/val.json").read_text())
            ids = [1_000 + 7 * number for number in range(60)]
            return {
                str(e["id"]): [*e["gt_img_ids"], *(i for i in ids if i not in e["gt_img_ids"])][:50] for e in entries
            }
        case _:
            made = {}
            for task in ("focus_attribute", "change_attribute", "focus_object", "change_object"):
                made[task] = {}
                for n, e in enumerate(json.loads((home / f"GeneCIS/genecis/{task}.json").read_text())):
                    ranked_ids = [name(each) for each in (e["target"], *e["gallery"])]
                    made[task][str(n)] = list(dict.fromkeys(ranked_ids))
            return made


def name(picture: dict[str, Any]) -> int | str:
    if "val_image_id" in picture:
        return int(picture["val_image_id"])
    return f"{picture['image_id']}:" + ",".join(f"{value:g}" for value in picture["instance_bbox"])


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["evaluate", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def scored(
    home: Path, benchmark: str, content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], *flags: str
) -> tuple[int, str, str]:
    names = {"cirr": "CIRR", "fashioniq": "FashionIQ", "circo": "CIRCO", "genecis": "GeneCIS", "pinpoint": "PinPoint"}
    folder = names.get(benchmark, benchmark)
    file = write_json(tmp_path / "rankings.json", content)
    given = ["--annotations", str(home / folder), "--rankings", str(file), "--json", str(tmp_path / "out.json")]
    return run([benchmark, *given, *flags], capsys)


@pytest.mark.parametrize("benchmark", ["cirr", "fashioniq", "circo", "genecis"])
def test_right_rankings_score_one_everywhere(
    benchmark: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = scored(home, benchmark, perfect(home, benchmark), tmp_path, capsys, "--per-query")
    assert (code, err) == (0, "")
    assert "100.00" in out
    result = load_json(tmp_path / "out.json")
    keys = ["benchmark", "split", "protocol", "queries", "metrics", "per_query"]
    assert list(result) == keys
    assert set(result["metrics"].values()) == {1.0}
    assert (
        len(result["per_query"])
        == result["queries"]
        == {"cirr": 6, "fashioniq": 12, "circo": 3, "genecis": 8}[benchmark]
    )
    wanted = {
        "cirr": {"recall@1", "recall@50"},
        "fashioniq": {"dress/recall@10", "toptee/recall@50", "mean/recall@10", "mean/recall@50"},
        "circo": {"map@5", "recall@50", "map@10/negation"},
        "genecis": {"focus_attribute/recall@3", "change_object/recall@1", "mean/recall@1"},
    }[benchmark]
    assert wanted <= result["metrics"].keys()


def test_the_two_files_of_cirr_give_the_quoted_mean(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = json.loads((home / "CIRR/cirr/captions/cap.rc2.val.json").read_text())
    ranked = {}
    for n, entry in enumerate(entries):
        others = [m for m in entry["img_set"]["members"] if m not in (entry["reference"], entry["target_hard"])]
        ranked[str(entry["pairid"])] = [entry["target_hard"], *others][:3] if n else [*others[:2], entry["target_hard"]]
    subset = write_json(tmp_path / "subset.json", {"version": "rc2", "metric": "recall_subset", **ranked})
    code, _, _ = scored(home, "cirr", perfect(home, "cirr"), tmp_path, capsys, "--rankings", str(subset))
    assert code == 0
    metrics = load_json(tmp_path / "out.json")["metrics"]
    assert metrics["recall_subset@1"] == metrics["recall_subset@2"] == 5 / 6
    assert metrics["recall_subset@3"] == 1.0
    assert metrics["mean_r5_rsub1"] == (1 + 5 / 6) / 2


@pytest.mark.parametrize(
    ("benchmark", "flags", "deviation", "protocol"),
    [
        ("cirr", ["--keep-reference"], "keep_reference", {"reference": "competes"}),
        ("fashioniq", ["--caption-order", "first"], "caption_order=first", {}),
        ("fashioniq", ["--remove-reference"], "remove_reference", {"reference": "left out of the ranking"}),
        ("circo", ["--shared-concept"], "shared_concept", {"edit": "SHARED_CONCEPT that CAPTION"}),
        ("circo", ["--remove-reference"], "remove_reference", {"reference": "left out of the ranking"}),
    ],
)
def test_a_deviation_is_said_with_the_result_and_written(
    *,
    benchmark: str,
    flags: list[str],
    deviation: str,
    protocol: dict[str, str],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = perfect(home, benchmark)
    if "--remove-reference" in flags:  # as many names are needed without the reference
        content = with_more_names(home, benchmark)
    code, out, err = scored(home, benchmark, content, tmp_path, capsys, *flags)
    assert (code, err) == (0, "")
    assert f"not the published protocol: {deviation}" in out
    written = load_json(tmp_path / "out.json")["protocol"]
    assert any(said.startswith(deviation) for said in written["deviations"])
    assert protocol.items() <= written.items()
    code, out, _ = scored(home, benchmark, perfect(home, benchmark), tmp_path, capsys)
    assert code == 0
    assert deviation not in out


def with_more_names(home: Path, benchmark: str) -> dict[str, Any]:
    content = perfect(home, benchmark)
    if benchmark == "circo":
        ids = [1_000 + 7 * number for number in range(60)]
        return {q: list(dict.fromkeys([*names, *ids])) for q, names in content.items()}
    for category, queries in content.items():
        names = json.loads((home / f"FashionIQ/image_splits/split.{category}.val.json").read_text())
        content[category] = {q: list(dict.fromkeys([*ranked, *names])) for q, ranked in queries.items()}
    return content


def test_soft_targets_grade_the_subset_only(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = json.loads((home / "CIRR/cirr/captions/cap.rc2.val.json").read_text())
    halves = {}
    for entry in entries:
        half = next(n for n, grade in entry["target_soft"].items() if grade == 0.5)
        wrong = next(n for n, grade in entry["target_soft"].items() if grade == -1.0)
        halves[str(entry["pairid"])] = [wrong, half, entry["target_hard"]]
    subset = write_json(tmp_path / "subset.json", {"version": "rc2", "metric": "recall_subset", **halves})
    given = ["cirr", "--annotations", str(home / "CIRR"), "--rankings", str(subset), "--json", str(tmp_path / "o.json")]
    for flags, expected in (([], [0.0, 0.0, 1.0]), (["--soft-targets"], [0.0, 0.5, 1.0])):
        assert run([*given, *flags], capsys)[0] == 0
        metrics = load_json(tmp_path / "o.json")["metrics"]
        assert [metrics[f"recall_subset@{k}"] for k in (1, 2, 3)] == expected


def test_the_reference_is_taken_out_of_a_ranking_of_cirr_and_counts_when_kept(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = perfect(home, "cirr")
    for entry in json.loads((home / "CIRR/cirr/captions/cap.rc2.val.json").read_text()):
        content[str(entry["pairid"])].insert(0, entry["reference"])
    for flags, first in (([], 1.0), (["--keep-reference"], 0.0)):
        assert scored(home, "cirr", content, tmp_path, capsys, *flags)[0] == 0
        assert load_json(tmp_path / "out.json")["metrics"]["recall@1"] == first


def test_an_image_id_names_an_object_where_the_template_shows_one_of_that_image(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = perfect(home, "genecis")
    ranked = content["focus_attribute"]["0"]
    plain = next(each for each in ranked if sum(str(o).split(":")[0] == each.split(":")[0] for o in ranked) == 1)
    content["focus_attribute"]["0"] = [int(each.split(":")[0]) if each == plain else each for each in ranked]
    assert scored(home, "genecis", content, tmp_path, capsys)[0] == 0
    shown_twice = int(ranked[0].split(":")[0])
    content["focus_attribute"]["0"] = [shown_twice, *ranked[1:]]
    code, _, err = scored(home, "genecis", content, tmp_path, capsys)
    assert code == 1
    assert f"names that are not in the gallery: {shown_twice} (query 0)" in err


def edited(content: dict[str, Any], what: str) -> Any:
    """A good CIRR ranking file, spoilt."""
    queries = [key for key in content if key.isdigit()]
    match what:
        case "unknown names":
            for number, query in enumerate(queries[:5]):
                content[query][3] = f"nobody-{number}"
        case "duplicate names":
            content[queries[0]][3] = content[queries[0]][4]
        case "missing names":
            content[queries[0]] = content[queries[0]][:20]
        case "missing queries":
            for query in queries[1:]:
                del content[query]
        case "unknown queries":
            content |= {f"9{n}": content[queries[0]] for n in range(4)}
        case "no lists":
            content[queries[0]] = "dev-0-0-img0"
        case "another metric":
            content["metric"] = "precision"
        case "no object":
            return [1, 2]
    return content


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("unknown names", "5 names that are not in the gallery: nobody-0 (query 12000), nobody-1 (query 12001), "),
        ("unknown names", "nobody-2 (query 12002) and 2 more"),
        ("duplicate names", "1 names twice in one ranking: dev-5-0-img0 (query 12000)"),
        ("missing names", "1 rankings with names missing: 20 of 50 (query 12000)"),
        ("missing queries", "lacks 5 queries of cirr val: 12001, 12002, 12003 and 2 more"),
        ("unknown queries", "ranks 4 queries that cirr val does not have: 90, 91, 92 and 1 more"),
        ("no lists", "1 rankings that are not lists of names: 12000"),
        ("another metric", "must be recall or recall_subset, not 'precision'"),
        ("no object", "is not a JSON object of rankings"),
    ],
)
def test_a_wrong_ranking_file_is_one_sentence_with_the_first_offenders(
    what: str, said: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = scored(home, "cirr", edited(perfect(home, "cirr"), what), tmp_path, capsys)
    assert code == 1
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


def test_a_query_that_is_there_twice_is_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps(perfect(home, "cirr"))
    (tmp_path / "twice.json").write_text(text[:-1] + ', "12000": ["dev-0-0-img0"]}', encoding="utf-8")
    given = ["cirr", "--annotations", str(home / "CIRR"), "--rankings", str(tmp_path / "twice.json")]
    code, _, err = run(given, capsys)
    assert code == 1
    assert "has 1 keys twice: 12000" in err


def test_two_files_of_one_kind_are_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = write_json(tmp_path / "again.json", perfect(home, "cirr"))
    code, _, err = scored(home, "cirr", perfect(home, "cirr"), tmp_path, capsys, "--rankings", str(again))
    assert code == 1
    assert "is a second file of recall" in err


@pytest.mark.parametrize("spoilt", ["missing", "cut off", "without fields", "unknown names", "twice"])
def test_half_downloaded_annotations_are_refused(
    spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small_cirr(tmp_path / "CIRR")
    captions = root / "cirr/captions/cap.rc2.val.json"
    split = root / "cirr/image_splits/split.rc2.val.json"
    entries = json.loads(captions.read_text())
    match spoilt:
        case "missing":
            split.unlink()
            said = "lacks split.rc2.val.json"
        case "cut off":
            captions.write_bytes(captions.read_bytes()[:500])
            said = "cap.rc2.val.json is not valid JSON (line 1)"
        case "without fields":
            for entry in entries[:4]:
                del entry["caption"]
            write_json(captions, entries)
            said = "4 entries with missing fields: entry 0 (caption), entry 1 (caption), entry 2 (caption) and 1 more"
        case "unknown names":
            write_json(split, dict(list(json.loads(split.read_text()).items())[:30]))
            said = "names 6 pictures that its gallery lacks: dev-30-0-img0 (query 12005)"
        case _:
            write_json(captions, [*entries, entries[0]])
            said = "1 query ids twice: 12000"
    file = write_json(tmp_path / "any.json", {})
    code, _, err = run(["cirr", "--annotations", str(root), "--rankings", str(file)], capsys)
    assert code == 1
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cirr", "--split", "dev"], "--split of cirr must be val or test1, not 'dev'"),
        (["circo", "--split", "test1"], "--split of circo must be val or test, not 'test1'"),
        (["fashioniq", "--split", "test"], "--split of fashioniq must be val, not 'test'"),
        (["genecis", "--split", "train"], "--split of genecis must be val, not 'train'"),
        (["genecis"], "has none of focus_attribute.json"),
        (["cirr", "--images", "."], "two ways to use this command"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_json(tmp_path / "any.json", {})
    code, _, err = run([*arguments, "--annotations", str(tmp_path), "--rankings", str(file)], capsys)
    assert code == (1 if arguments == ["genecis"] else 2)
    assert said in err
    assert err.count("\n") == 1


def test_a_hidden_split_is_not_scored(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {str(n): [1_000 + 7 * i for i in range(50)] for n in range(3)}
    code, _, err = scored(home, "circo", content, tmp_path, capsys, "--split", "test")
    assert code == 1
    assert "known to the authors' server only" in err


@pytest.mark.parametrize("benchmark", ["fashioniq", "genecis", "pinpoint", "icir"])
def test_a_benchmark_is_its_own_file_and_an_entry_of_the_table(benchmark: str) -> None:
    named = re.compile(rf"\b{benchmark}\b")
    files = [file for file in Path(scot.__file__).parent.rglob("*.py") if named.search(file.read_text("utf-8"))]
    assert sorted(file.name for file in files) == ["benchmarks.py", f"{benchmark}.py"]
    assert f"evaluate {benchmark}" in COMMANDS
