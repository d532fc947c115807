"""The page of a run: what it says is what the run was, whatever happened to the run on its way."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scot.composers.artifact import read_metrics
from scot.embeddings.cache import read_info
from scot.machine import machine
from scot.training.config import TrainConfig
from scot.training.launch import Source, train_in_process
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig
from scot.training.report import read_progress, write_report
from scot.training.run_folder import ProgressLog, RunFolder
from scot.training.split import split
from tests.support.synthetic_triplets import ENCODER, synthetic_triplets, write_synthetic_cache

SMALL = TrainConfig(
    projection=32, hidden=32, batch_size=64, steps=60, lr=3e-3, eval_every=20, held_out=0.2, precision="float32",
    loss=LossConfig(direction_weight=0.5),
)  # fmt: skip
PLOTS = ["report-loss.png", "report-optimiser.png", "report-recall.png", "report-speed.png"]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_synthetic_cache(tmp_path_factory.mktemp("cache") / "embeddings", synthetic_triplets(images=200)))


@pytest.fixture
def run(embeddings: str, tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path, "mine", SMALL, read_info(embeddings))
    run.open()
    return run


@pytest.fixture(scope="module")
def over(embeddings: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing happened to."""
    run = RunFolder(tmp_path_factory.mktemp("runs"), "undisturbed", SMALL, read_info(embeddings))
    train(run, embeddings)
    return run


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    """At the end of its training."""
    trainer = Trainer(synthetic_triplets(images=200), SMALL)
    list(trainer.run())
    return trainer


def train(run: RunFolder, embeddings: str) -> list[str]:
    said: list[str] = []
    train_in_process(run, Source(embeddings), said.append)
    return said


def rows(run: RunFolder) -> dict[str, list[str]]:
    """The rows of all tables of the page, by their first cell."""
    lines = [line for line in run.report_file().read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


def images(run: RunFolder) -> list[str]:
    return re.findall(r"!\[[^]]+\]\(([^)]+)\)", run.report_file().read_text(encoding="utf-8"))


def assert_drawn(file: Path) -> None:
    """An empty plot has a frame, ticks and words, all of them grey."""
    with Image.open(file) as image:
        saturation = image.convert("HSV").getchannel("S")
    assert sum(saturation.histogram()[100:]) > 200


def test_the_page_says_what_the_run_was(over: RunFolder) -> None:
    told, metrics, data = rows(over), read_metrics(over.folder / "composer"), synthetic_triplets(images=200)
    measured = [f"{metrics[key]:.3f}" for key in ("recall@1", "recall@10", "beats_caption")]
    assert told["best"] == [f"{metrics['best_step']:.0f}", *measured]
    last = read_progress(over.progress_file())[-1]
    assert told["last"] == ["60", *(f"{value:.3f}" for value in last["held_out"].values())]
    assert told["embedding cache"] == [f"`{over.data.hash}`, made from `{over.data.source}`"]
    assert told["encoder"] == [f"`{ENCODER}`, 32 dimensions"]
    assert told["triplets"] == [f"{len(data):,}"]
    assert told["images, texts"] == [f"200, {len(data.text_VD):,}"]
    trained, held_out = map(int, told["trained on, held out"][0].removesuffix(" triplets").split(", "))
    parts = split(data, 0.2)
    assert (trained, held_out) == (len(parts.training_N), len(parts.measured_M))
    assert told["split"] == [parts.summary]
    references = {name.removesuffix("/recall@1"): value for name, value in metrics.items() if "/" in name}
    assert {name.partition(":")[0] for name in references} == {
        "image_only", "text_only", "sum", "slerp", "centred_sum", "oracle", "oracle_moved"
    }  # fmt: skip
    assert {name: f"{value:.3f}" for name, value in references.items()} == {name: told[name][1] for name in references}
    assert references["oracle"] == 1.0
    assert float(told["epochs"][0]) == pytest.approx(60 * 64 / trained, abs=0.01)
    assert told["machine"][0].partition(", load")[0] == machine().partition(", load")[0]


def test_what_differs_from_the_defaults_is_marked(over: RunFolder) -> None:
    told = rows(over)
    assert {name.strip("*"): rest for name, rest in told.items() if name.startswith("**")} == {
        "projection": ["**32**", "0"], "hidden": ["**32**", "0"], "batch_size": ["**64**", "1024"],
        "steps": ["**60**", "1500"], "lr": ["**0.003**", "0.001"], "eval_every": ["**20**", "150"],
        "held_out": ["**0.2**", "0.05"], "precision": ["**float32**", "auto"], "direction_weight": ["**0.5**", "0.0"],
    }  # fmt: skip
    assert told["seed"] == ["0", ""]
    assert told["contrastive_weight"] == ["1.0", ""]


def test_the_plots_lie_beside_the_page_and_are_drawn(over: RunFolder) -> None:
    assert sorted(images(over)) == PLOTS == sorted(file.name for file in over.folder.glob("*.png"))
    for name in PLOTS:
        assert_drawn(over.folder / name)


def test_a_run_that_was_stopped_has_the_page_of_one_that_was_not(
    run: RunFolder, embeddings: str, over: RunFolder
) -> None:
    def stop(line: str) -> None:
        if "step    50/60" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_process(run, Source(embeddings), stop)
    assert not run.report_file().exists()
    train(run, embeddings)
    written = [json.loads(line)["step"] for line in run.progress_file().read_text(encoding="utf-8").splitlines()]
    assert written == [20, 40, 50, 50, 60]
    assert [line["step"] for line in read_progress(run.progress_file())] == [20, 40, 50, 60]
    assert "- resuming from step 40 with 1 worker" in run.report_file().read_text(encoding="utf-8")

    stopped, undisturbed = rows(run), rows(over)
    for name in ("best", "last", "steps", "epochs", "**lr**"):
        assert stopped[name] == undisturbed[name]


def line(step: int, **values: Any) -> dict[str, Any]:
    """What an older version wrote: without terms, gradient norm, waiting and time."""
    plain = {"loss": 1.0, "lr": 1e-3, "scale": 20.0, "triplets_per_s": 640.0, "batch_size": 64}
    return {"step": step, "steps": 60, **plain, "held_out": {}, "evaluated": False, "done": False, **values}


def test_the_later_line_of_a_step_wins_and_with_it_the_way_from_there(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    first = [line(20, loss=3.0), line(40, loss=2.0), line(50, loss=1.5), line(60, loss=1.4)]
    again = [line(40, loss=1.9), line(50, loss=1.3)]  # with other workers it may end sooner than it had been before
    torn = '{"step": 55, "loss"'  # by a process that was killed; the next one appends to it
    file.write_text("\n".join(map(json.dumps, first)) + "\n" + torn + "\n".join(map(json.dumps, again)) + "\n" + torn)
    assert [(line["step"], line["loss"]) for line in read_progress(file)] == [(20, 3.0), (40, 1.9), (50, 1.3)]


def test_speed_and_time_are_those_of_the_steps(run: RunFolder, trainer: Trainer) -> None:
    recall = {"recall@1": 0.5, "recall@10": 0.75, "beats_caption": 0.25}
    lines = [
        line(20, triplets_per_s=1280.0, data_wait=0.5, at=100.0),  # 1 s
        line(40, triplets_per_s=640.0, evaluated=True, held_out=recall, checkpoint_s=0.25, at=103.0),  # 2 s
        line(60, triplets_per_s=320.0, data_wait=0.25, held_out=recall, checkpoint_s=0.75, at=109.0),  # 4 s
    ]
    run.progress_file().write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    write_report(run, trainer)
    told = rows(run)
    assert told["time in steps"] == ["7.0 s, without evaluations and checkpoints"]
    assert told["time passed"] == ["10.0 s up to the last step, stops included"]
    assert told["speed"] == [f"{60 * 64 / 7:,.0f} triplets/s"]
    assert told["waiting for data"] == [f"{1.5 / 7:.1%} of the time in steps"]
    assert told["a checkpoint"] == ["0.50 s (median), 0.75 s at most"]
    assert told["last"] == ["40", "0.500", "0.750", "0.250"]


def test_a_log_of_an_older_version_has_curves_too(run: RunFolder, trainer: Trainer) -> None:
    run.progress_file().write_text(json.dumps(line(50)) + "\n" + json.dumps(line(60)), encoding="utf-8")
    write_report(run, trainer)
    assert sorted(images(run)) == PLOTS
    assert_drawn(run.folder / "report-optimiser.png")
    assert_drawn(run.folder / "report-speed.png")
    assert "last" not in rows(run)
    assert "time passed" not in rows(run)


def test_a_run_that_stopped_early_says_so(run: RunFolder, embeddings: str) -> None:
    slow = dataclasses.replace(SMALL, lr=1e-9, patience=1)
    run = RunFolder(run.folder.parent, "slow", slow, run.data)
    train(run, embeddings)
    assert (
        "Training ended after step 40 of 60: the last evaluation brought no better recall."
        in run.report_file().read_text(encoding="utf-8")
    )


def test_without_a_progress_log_there_are_a_page_and_a_composer(
    run: RunFolder, embeddings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProgressLog, "write", lambda self, event: None)
    train(run, embeddings)
    assert run.trained()
    assert images(run) == []
    told = rows(run)
    assert float(told["best"][1]) == pytest.approx(read_metrics(run.folder / "composer")["recall@1"], abs=1e-3)
    assert "last" not in told
    assert "The run has no progress log." in run.report_file().read_text(encoding="utf-8")


def test_without_matplotlib_the_page_says_that_it_has_no_plots(
    run: RunFolder, embeddings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train(run, embeddings)
    assert "There are no plots: matplotlib is not installed." in run.report_file().read_text(encoding="utf-8")
    assert list(run.folder.glob("*.png")) == []
    assert rows(run)["best"]


def test_a_page_that_cannot_be_written_does_not_cost_the_composer(run: RunFolder, embeddings: str) -> None:
    run.report_file().mkdir()
    said = train(run, embeddings)
    assert "the report could not be written" in said[-1]
    assert run.trained()
