from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ray_jobs.encode import EncodeConfig
from ray_jobs.pretrain import PretrainConfig
from scot import flags
from scot.cli import COMMANDS, config_of
from scot.demo.config import DemoConfig
from scot.demo.steps import Step, draw_galleries, index_galleries, learning, measuring, run_step
from scot.errors import Unavailable


def test_the_demo_trains_with_its_own_settings(tmp_path: Path) -> None:
    demo = DemoConfig(data=tmp_path, steps=7, architecture="film", analogy_weight=3.0, seed=5)
    (command,) = (words for step in learning(demo) for words in step.commands if words[1].endswith("pretrain.py"))
    pretrain = flags.parse(PretrainConfig, command[2:], prog="pretrain", environment={})
    trained = pretrain.training
    assert (trained.steps, trained.architecture, trained.seed) == (7, "film", 5)
    assert not pretrain.release  # the gate releases it
    assert pretrain.num_workers == 0  # without Ray
    assert pretrain.composers == str(tmp_path / "composers")  # where the service reads it
    assert trained.loss.weights() == {"contrastive": 1.0, "analogy": 3.0}


def test_every_command_of_the_demo_has_the_flags_that_it_is_given(tmp_path: Path) -> None:
    demo = DemoConfig(data=tmp_path, port=9123, gallery_size=30, queries=5)
    steps = [draw_galleries(demo), index_galleries(demo), *learning(demo), measuring(demo, "v1", "tiny-1")]
    commands = [words for step in steps for words in step.commands]
    assert len(commands) == 10
    for words in commands:
        if words[1:3] == ("-m", "scot.cli"):
            assert words[3] in COMMANDS
            flags.parse(config_of(words[3]), words[4:], prog=words[3], environment={})
    indexing = index_galleries(demo).commands[0]
    assert (
        flags.parse(config_of("index"), indexing[4:], prog="index", environment={}).service.address == "localhost:9123"
    )
    (encode,) = (words for words in commands if words[1].endswith("encode.py"))
    assert flags.parse(EncodeConfig, encode[2:], prog="encode", environment={}).num_workers == 0


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script)


def test_a_step_shows_its_output_and_returns_the_reported_result(capsys: pytest.CaptureFixture[str]) -> None:
    script = "from scot.cluster import job_result; print('trained'); job_result.write({'version': 'v7'})"
    assert run_step(Step("pretraining", (python("print('first')"), python(script)))) == {"version": "v7"}
    assert capsys.readouterr().out == "      first\n      trained\n"


def test_a_failed_command_ends_the_step(tmp_path: Path) -> None:
    after = tmp_path / "after"
    with pytest.raises(Unavailable, match=r"exit code 3"):
        run_step(Step("drawing", (python("raise SystemExit(3)"), python(f"open({str(after)!r}, 'w')"))))
    assert not after.exists()
