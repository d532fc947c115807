"""The steps of the demo: ordinary commands, each of which reuses the results of an earlier run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scot.bundled import code_root, python_path
from scot.cluster import job_result
from scot.demo.config import DemoConfig
from scot.errors import Unavailable
from scot.worlds import WORLDS
from scot.worlds.workspace import Workspace

_SCOT = (sys.executable, "-m", "scot.cli")
_WIDTHS = {"token_combiner": ("--projection", "256", "--hidden", "512")}  # as tiny-1 has; a step takes half the time
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that run one after another."""

    title: str
    commands: tuple[tuple[str, ...], ...]


def draw_galleries(config: DemoConfig) -> Step:
    """Draw the images to search, with queries."""
    space = Workspace(config.data)
    draw = [
        _draw(config, world, "eval", config.gallery_size, space.gallery(world), "--queries", str(config.queries))
        for world in WORLDS
    ]
    return Step("drawing two small catalogs", tuple(draw))


def index_galleries(config: DemoConfig) -> Step:
    """Index them through the running service."""
    address = f"localhost:{config.port}"
    folders = Workspace(config.data).galleries
    return Step("indexing them", tuple((*_SCOT, "index", str(folder), "--address", address) for folder in folders))


def learning(config: DemoConfig) -> list[Step]:
    """From captions to a published composer that is not released; the last command reports its version."""
    space = Workspace(config.data)
    seed = ("--seed", str(config.seed))
    trains = [str(folder) for folder in space.trains]
    triplets, embeddings = str(space.triplets), str(space.embeddings)
    draw = [_draw(config, world, "train", config.train_size, space.train(world)) for world in WORLDS]
    generate = _job(
        *("generate_edits", "--source", *trains, "--output", triplets, "--overwrite", *seed),
        *("--edits-per-caption", str(config.edits_per_caption), *config.engine_flags()),
    )
    encode = _job(
        *("encode", "--num-workers", "0", "--states", "--source", *trains, "--triplets", triplets),
        *("--output", embeddings),
    )
    pretrain = _job(
        *("pretrain", "--num-workers", "0", "--embeddings", embeddings, "--composers", str(space.composers)),
        *("--runs", str(space.runs), "--steps", str(config.steps), "--architecture", config.architecture, *seed),
        *(
            "--analogy-weight",
            str(config.analogy_weight),
            *_WIDTHS.get(config.architecture, ()),
            "--no-release",
            "--json",
        ),
    )
    return [
        Step("drawing two catalogs of captioned images", tuple(draw)),
        Step("generating edits of the captions", (generate,)),
        Step("encoding images and texts once", (encode,)),
        Step("pretraining a composer, without labeled triplets", (pretrain,)),
    ]


def measuring(config: DemoConfig, *composers: str) -> Step:
    """Measure composers on the galleries, whose combinations the training never saw."""
    space = Workspace(config.data)
    galleries = [str(folder) for folder in space.galleries]
    evaluate = _job(
        *("evaluate", "--gallery", *galleries, "--composers", str(space.composers), "--composer", *composers),
        *("--output", str(space.evaluation)),
    )
    return Step("measuring it on unseen combinations", (evaluate,))


def run_step(step: Step) -> dict[str, Any]:
    """Run a step, the output of its commands indented; returns the result that its last command reports, if any.

    Raises:
        Unavailable: a command failed; its output has the reason.
    """
    result: dict[str, Any] = {}
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": python_path()}
    for command in step.commands:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if (reported := job_result.read(line)) is not None:
                        result = reported
                    else:
                        print(f"      {line}", end="", flush=True)
            except KeyboardInterrupt:
                _end(process)
                raise
        if process.returncode:
            raise Unavailable(f"the step failed (exit code {process.returncode}); its last lines above have the reason")
    return result


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for a command that a Ctrl-C has reached too; interrupt one that it has not reached."""
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()


def shown(command: Sequence[str]) -> str:
    """A command as it is typed in a shell."""
    words = [Path(word).name if word == sys.executable else word for word in command]
    text = " ".join(words).replace("python -m scot.cli", "scot")
    return text.replace(f"{code_root()}/", "")


def _job(name: str, *flags: str) -> tuple[str, ...]:
    return (sys.executable, str(code_root() / "ray_jobs" / f"{name}.py"), *flags)


def _draw(config: DemoConfig, world: str, split: str, size: int, output: Path, *extra: str) -> tuple[str, ...]:
    what = ("--world", world, "--split", split, "--size", str(size), *extra)
    return (*_SCOT, "draw", *what, "--output", str(output), "--seed", str(config.seed))
