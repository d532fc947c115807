from __future__ import annotations

from pathlib import Path

from ray_jobs.pretrain import PretrainConfig
from scot import flags
from scot.demo.config import DemoConfig
from scot.demo.steps import steps_of


def test_the_demo_trains_with_its_own_settings(tmp_path: Path) -> None:
    demo = DemoConfig(data=tmp_path, steps=7, architecture="film", analogy_weight=3.0, seed=5)
    (command,) = (words for step in steps_of(demo) for words in step.commands if words[1].endswith("pretrain.py"))
    trained = flags.parse(PretrainConfig, command[2:], prog="pretrain", environment={}).training
    assert (trained.steps, trained.architecture, trained.seed) == (7, "film", 5)
    assert trained.loss.weights() == {"contrastive": 1.0, "analogy": 3.0}
