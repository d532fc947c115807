"""``--json``: standard output is one line of JSON; whatever else a command says goes to standard error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest
from PIL import Image

from scot import flags
from scot.cli import COMMANDS, config_of, main
from scot.commands import cluster, index
from scot.composers import Registry
from scot.composers.packaged import PACKAGED
from scot.data.triplets import Triplet, write_triplets
from scot.encoders import load_encoder
from scot.evaluation.benchmarks import BENCHMARKS
from scot.keys import ApiKey, digest_of
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.gallery import Drawing
from tests.support.random_encoder import save_random_encoder

Run = Callable[..., tuple[dict[str, Any], str]]
"""A command line, and its exit code, to its JSON and what it wrote on standard error."""

WITHOUT = {
    *("demo", "serve", "edits serve", "web", "completion", "evaluate validate-submission"),
    *(f"cluster {name}" for name in ("submit", "logs", "cancel", "promote", "run-pipeline")),
}
TO_A_FILE = {"evaluate leakage", *(f"evaluate {name}" for name in BENCHMARKS)}
COUNTS = {"new": 3, "updated": 0, "unchanged": 0, "removed": 0, "refused": {"not_an_image": 1}, "seconds": ANY}
COUNTS |= {"dry_run": False, "replaced": {}, "vanished": {}, "not_read_whole": []}
TINY = load_encoder("tiny", device="cpu").id


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read: images, one of them broken, an encoder, a drawn gallery, triplets."""
    home = tmp_path_factory.mktemp("inputs")
    for number in range(3):
        (home / "images").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (number * 40, 0, 0)).save(home / "images" / f"{number}.png")
    (home / "images" / "broken.png").write_bytes(b"<html>")
    save_random_encoder(home / "encoder")
    draw(DrawConfig("wardrobe", home / "gallery", "eval", 40, 10, num_workers=1))
    texts = [("a red cat", "make it blue", "a blue cat")] * 2 + [("two small birds", "three of them", "three birds")]
    shared = {"aspect": "addition", "generator": "rules", "prompt_version": "1", "seed": 0}
    triplets = [Triplet.make(str(number), *each, **shared) for number, each in enumerate(texts)]
    write_triplets(home / "triplets", triplets, {"duplicate": 3})
    return home


@pytest.fixture
def home(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the inputs and a registry of v1 and v2, on a machine without a service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(index, "_listens", lambda address: False)
    for each in inputs.iterdir():
        (tmp_path / each.name).symlink_to(each)
    registry = Registry(tmp_path / "composers")
    for _ in range(2):
        registry.publish(PACKAGED["tiny-1"], release=True)
    return tmp_path


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(words: str, code: int = 0) -> tuple[dict[str, Any], str]:
        assert main([*words.split(), "--json"]) == code
        said = capsys.readouterr()
        (line,) = said.out.splitlines()
        return json.loads(line), said.err

    return run


ENCODER = "--encoder local-dir:encoder --device cpu"


@pytest.mark.parametrize(
    ("words", "expected", "aside"),
    [
        ("draw --size 9 --output new", {"output": "new", "pictures": 9, "reused": False}, []),
        (
            "draw --size 40 --queries 10 --split eval --output gallery",
            {"output": "gallery", "pictures": 40, "reused": True},
            [],
        ),
        (
            f"index images {ENCODER}",
            COUNTS,
            ["reading images", "storing them in scot-data/qdrant", "indexing: 4 of 4 images", "indexed 3 pictures in "],
        ),
        (
            f"index images {ENCODER} --dry-run",  # decodes nothing
            COUNTS | {"dry_run": True, "new": 4, "refused": {}},
            ["there is no store at scot-data/qdrant yet", "would index 4 pictures"],
        ),
        (
            f"collections reindex images {ENCODER} --store store",
            COUNTS | {"collection": "gallery-1", "swap": None},
            ["reading images", "gallery-1:", "`scot collections swap gallery gallery-1` points"],
        ),
        ("composers rollback", {"taken_back": "v2", "version": "v1", "skipped": [], "encoder": TINY}, []),
        (
            "edits report triplets --encoder=",
            {
                **{"triplets": 3, "generator": None, "prompt_version": None, "tally": None, "repeated": 1},
                **{"refused": {"duplicate": 3}, "aspects": {"addition": 3}, "sample": [ANY] * 3},
                **{"quantiles": dict.fromkeys(("caption_words", "edit_words", "edited_caption_words"), ANY)},
                **{"histograms": "edits-report.png", "given_away": 0, "with_target": 0},
                **{"most_said": ANY, "verdict": ANY},
            },
            [],
        ),
    ],
)
def test_standard_output_is_the_outcome_alone(words: str, expected: dict[str, Any], aside: list[str], run: Run) -> None:
    found, error = run(words)
    assert found == expected
    assert all(words in error for words in aside)
    assert bool(aside) == bool(error)


def test_collections_from_the_first_to_the_last(run: Run) -> None:
    encoder = load_encoder("local-dir:encoder", device="cpu").id
    created = {"collection": "gallery-1", "alias": "gallery", "encoder": encoder}
    assert run("collections create gallery --encoder local-dir:encoder --store store") == (created, "")
    found, _ = run(f"collections reindex images {ENCODER} --store store --swap")
    assert found["swap"] == {"alias": "gallery", "before": "gallery-1", "now": "gallery-2"}
    back = {"alias": "gallery", "before": "gallery-2", "now": "gallery-1"}
    assert run("collections rollback gallery --store store") == (back, "")
    assert run("collections swap gallery gallery-2 --store store") == (found["swap"], "")
    assert run("collections drop gallery-1 --force --store store") == ({"dropped": "gallery-1"}, "")
    missing, _ = run("collections drop gallery-1 --store store", code=1)
    assert missing == {"error": {"status": "NOT_FOUND", "message": "there is no collection 'gallery-1'"}}


def test_an_index_run_says_what_it_replaced_and_what_vanished(home: Path, run: Run) -> None:
    for folder in ("first", "second"):
        (home / folder).mkdir()
        Image.new("RGB", (40, 40), "red").save(home / folder / "a.png")
    Image.new("RGB", (40, 40), "blue").save(home / "first" / "b.png")
    run(f"index first {ENCODER}")
    assert run(f"index second {ENCODER}")[0]["replaced"] == {str(home / "first"): 1}
    (home / "first" / "b.png").rename(home / "first" / "c.png")
    found, _ = run(f"index first {ENCODER}")
    assert (found["new"], found["vanished"]) == (2, {"first": 1})
    assert 0 < found["seconds"] < 60


def test_an_index_run_without_a_picture_is_an_error(home: Path, run: Run) -> None:
    (home / "none").mkdir()
    (home / "none" / "broken.png").write_bytes(b"<html>")
    found, error = run(f"index none {ENCODER}", code=1)
    assert found["error"]["status"] == "INVALID_ARGUMENT"
    assert "1 refused: 1 not_an_image" in error


def test_the_progress_of_drawing_is_put_aside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drawing, "draw", lambda self, world: Image.new("RGB", (1, 1)))
    found, error = run("draw --size 2000 --num-workers 1 --output many")
    assert (found["pictures"], error) == (2_000, "2,000 of 2,000 drawn\n")


def test_a_new_key_comes_with_its_line(run: Run) -> None:
    found, error = run("keys new --name shop --rate 5")
    assert found == {"key": ANY, "line": ApiKey(digest_of(found["key"]), "shop", rate=5.0).line}
    assert error == ""


def test_an_evaluation_is_the_content_of_its_file(home: Path, run: Run) -> None:
    found, error = run("evaluate --gallery gallery --composer tiny-1 --output out")
    assert found == json.loads((home / "out" / "results.json").read_text(encoding="utf-8"))
    assert found["worlds"]["wardrobe"]["queries"] == 10
    assert "contact sheet: out/wardrobe.png" in error


def test_a_comparison_has_every_check(run: Run) -> None:
    found, error = run("composers compare v1 v2 --gallery gallery")
    assert (found["candidate"], found["other"]) == ("v1", "v2")
    metrics = ["recall@1", "recall@5", "recall@10", "recall_subset@1"]
    assert [each["metric"] for each in found["checks"]] == metrics
    assert all(each["winner"] == "neither" and each["candidate"] == each["other"] for each in found["checks"])
    assert "95 %" not in error


def test_the_jobs_of_a_release(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def job(name: str, day: int, **status: str) -> dict[str, Any]:
        metadata = {"name": name, "labels": {"scot/job": "encode"}, "creationTimestamp": f"2026-01-0{day}T10:00:00Z"}
        return {"metadata": metadata, "status": status}

    jobs = [
        job("b", 2, jobDeploymentStatus="Running", jobStatus="RUNNING"),
        job("a", 1, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED"),
    ]
    there = SimpleNamespace(namespace="n", objects=lambda plural, selector: jobs)
    monkeypatch.setattr(cluster, "Cluster", lambda namespace: there)
    first = {"name": "a", "job": "encode", "state": "succeeded", "succeeded": True, "created": "2026-01-01T10:00:00Z"}
    second = {"name": "b", "job": "encode", "state": "running", "succeeded": None, "created": "2026-01-02T10:00:00Z"}
    assert run("cluster list") == ({"jobs": [first, second]}, "")
    assert main(["cluster", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name  job     state      created (UTC)",
        "a     encode  succeeded  2026-01-01 10:00:00",
        "b     encode  running    2026-01-02 10:00:00",
    ]
    jobs.clear()
    assert run("cluster list") == ({"jobs": []}, "")


def test_every_other_command_has_it() -> None:
    kinds = {name: flags.kinds(config_of(name)).get("json") for name in COMMANDS}
    assert {name for name, kind in kinds.items() if kind is None} == WITHOUT
    assert {name for name, kind in kinds.items() if kind not in (None, bool)} == TO_A_FILE
