"""The steps of the demo: ordinary commands, each of which reuses the results of an earlier run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scot.bundled import code_root, python_path
from scot.demo.config import DemoConfig
from scot.errors import Unavailable
from scot.worlds import WORLDS


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that run one after another; those of ``beside`` run at the same time, and print their output after."""

    title: str
    commands: tuple[tuple[str, ...], ...]
    beside: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of the demo."""

    root: Path

    def train(self, world: str) -> Path:
        """Captioned images for training."""
        return self.root / "train" / world

    def gallery(self, world: str) -> Path:
        """Images to search, with queries."""
        return self.root / "gallery" / world

    @property
    def galleries(self) -> list[Path]:
        """The gallery of every world."""
        return [self.gallery(world) for world in WORLDS]


def steps_of(config: DemoConfig) -> list[Step]:
    """The steps up to serving."""
    space, data = Workspace(config.data), config.data
    scot = (sys.executable, "-m", "scot.cli")
    seed = ("--seed", str(config.seed))
    trains = [str(space.train(world)) for world in WORLDS]
    galleries = [str(folder) for folder in space.galleries]
    draw = [
        (*scot, "draw", "--world", world, "--split", split, "--size", str(size), *extra, "--output", str(folder), *seed)
        for world in WORLDS
        for split, size, extra, folder in (
            ("train", config.train_size, (), space.train(world)),
            ("eval", config.gallery_size, ("--queries", str(config.queries)), space.gallery(world)),
        )
    ]
    index = [
        _job("index", "--source", folder, "--store", str(data / "qdrant"), "--encoder", "tiny") for folder in galleries
    ]
    triplets, embeddings, composers = str(data / "triplets"), str(data / "embeddings"), str(data / "composers")
    generate = _job(
        *("generate_edits", "--source", *trains, "--output", triplets, "--overwrite", *seed),
        *("--edits-per-caption", str(config.edits_per_caption), *config.engine_flags()),
    )
    evaluate = _job(
        *("evaluate", "--gallery", *galleries, "--composers", composers, "--output", str(data / "evaluation"))
    )
    pretrain = _job(
        *("pretrain", "--embeddings", embeddings, "--composers", composers, "--runs", str(data / "runs")),
        *("--steps", str(config.steps), "--architecture", config.architecture, *seed),
        *("--analogy-weight", str(config.analogy_weight)),
    )
    return [
        Step("drawing two catalogs of captioned images", tuple(draw)),
        Step("generating edits of the captions", (generate,)),
        Step(
            "encoding images and texts once",
            (_job("encode", "--states", "--source", *trains, "--triplets", triplets, "--output", embeddings),),
        ),
        Step("pretraining the composer, without labeled triplets", (pretrain,)),
        Step(
            "evaluating on unseen combinations, and indexing the galleries",
            (evaluate,),
            beside=tuple(index),
        ),
    ]


def run_step(step: Step) -> None:
    """Run a step, the output of its commands indented.

    Raises:
        Unavailable: a command failed; its output has the reason.
    """
    output: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_run, step.beside, output.append)
        _run(step.commands, _show)
        try:
            beside.result()
        finally:
            _show("".join(output))


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _run(commands: Sequence[Sequence[str]], show: Callable[[str], object]) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": python_path()}
    for command in commands:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    show(f"      {line}")
            except KeyboardInterrupt:
                process.wait()  # it gets the same Ctrl-C and stops its own processes
                raise
        if process.returncode:
            raise Unavailable(f"the step failed (exit code {process.returncode}); its last lines above have the reason")


def shown(command: Sequence[str]) -> str:
    """A command as it is typed in a shell."""
    words = [Path(word).name if word == sys.executable else word for word in command]
    text = " ".join(words).replace("python -m scot.cli", "scot")
    return text.replace(f"{code_root()}/", "")


def _job(name: str, *flags: str) -> tuple[str, ...]:
    return (sys.executable, str(code_root() / "ray_jobs" / f"{name}.py"), *flags)
