"""Run a pretraining run: in this process, or in the workers of Ray Train v2. The loop is the same."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from scot.errors import ScotError
from scot.training.cache import load_cache
from scot.training.checkpoint import keep_latest, latest_checkpoint
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from scot.training.runs import Run, progress_line

Say = Callable[[str], None]


class WorkerFailed(ScotError):
    """A training worker stopped for a reason that it told in one sentence."""


def train_in_process(run: Run, embeddings: str, say: Say) -> None:
    """Train to the artifact in this process, on a GPU when there is one; goes on from the newest checkpoint.

    Raises:
        NotFound, InvalidInput: the cache or the newest checkpoint cannot be used.
        Diverged: the loss is no longer a number.
    """
    trainer = Trainer(load_cache(embeddings), run.config, "cuda" if torch.cuda.is_available() else "cpu")
    root = run.folder / "checkpoints"
    if (newest := latest_checkpoint(root)) is not None:
        trainer.load(newest)
        say(f"going on from step {trainer.step}")
    log = run.log()
    try:
        for event in trainer.run():
            log.write(event)
            say(progress_line({**dataclasses.asdict(event), "eta_s": event.eta_s}))
            if event.evaluated:
                trainer.save(root / f"step-{event.step:07d}")
                keep_latest(root)
    finally:
        log.close()
    run.write_artifact(trainer)


def train_with_ray(
    run: Run, embeddings: str, say: Say, *, num_workers: int, use_gpu: bool = False, max_failures: int = 2
) -> None:
    """Train to the artifact with ``num_workers`` workers of Ray Train; Ray must be running.

    The run's folder and the embeddings must be readable by every node under the same path. A run of the same name goes
    on from its newest checkpoint; a worker or node that is lost costs one of ``max_failures``.

    Raises:
        WorkerFailed: a worker stopped for a reason of its own (a damaged cache, a loss that is not a number).
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    failure = run.folder / "error.txt"
    failure.unlink(missing_ok=True)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "root": str(run.folder.parent),
            "name": run.name,
            "config": dataclasses.asdict(run.config),
            "embeddings": _absolute(embeddings),
        },
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name="ray_train",
            storage_path=str(run.folder),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    with _followed(run.progress_file(), say):
        trainer.fit()
    if failure.exists():
        raise WorkerFailed(failure.read_text(encoding="utf-8"))


def _worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    # Ray sets one thread for a worker with one CPU; the workers of a machine share all of it.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
    first = context.get_world_rank() == 0
    folder = Path(settings["root"]) / settings["name"]
    try:
        data = load_cache(settings["embeddings"])
        run = Run(settings["root"], settings["name"], TrainConfig.from_dict(settings["config"]), data.info)
        trainer = Trainer(data, run.config, ray.train.torch.get_device())
        if (checkpoint := ray.train.get_checkpoint()) is not None:
            with checkpoint.as_directory() as saved:
                trainer.load(Path(saved))
        log = run.log() if first else None
        for event in trainer.run():
            if log is not None:
                log.write(event)
            if event.evaluated:
                _report(trainer, {"step": event.step, "loss": event.loss, **event.held_out}, first)
        if log is not None:
            log.close()
            run.write_artifact(trainer)
    except ScotError as error:
        # Every worker comes here at the same step. Trying again would end the same way: say why, and end.
        if first:
            (folder / "error.txt").write_text(str(error), encoding="utf-8")


def _report(trainer: Trainer, metrics: dict[str, float], first: bool) -> None:
    import ray.train

    if not first:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkpoint"
        trainer.save(folder)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(str(folder)))


@contextlib.contextmanager
def _followed(path: Path, say: Say) -> Iterator[None]:
    """Say what is appended to a progress file while the block runs: the workers' own output stays in Ray's logs."""
    over = threading.Event()
    start = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        position = start
        while True:
            last = over.is_set()
            if path.exists():
                with path.open(encoding="utf-8") as file:
                    file.seek(position)
                    for line in file:
                        if not line.endswith("\n"):
                            break
                        position += len(line.encode())
                        say(progress_line(json.loads(line)))
            if last:
                return
            over.wait(0.3)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _absolute(embeddings: str) -> str:
    return embeddings if "://" in embeddings else str(Path(embeddings).absolute())
