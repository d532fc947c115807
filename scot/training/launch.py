"""Run a pretraining run: in this process, or in the workers of Ray Train v2. The loop is the same.

Checkpoints are the run's own and not Ray's, so that a run goes on with any number of workers, or with none, and so that
a damaged checkpoint is told and the one before it taken. Ray Train starts the workers, and starts them again when one
of them or its node is lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scot.embeddings.memory_mapped import open_cache
from scot.errors import InvalidInput, ScotError
from scot.training.checkpoint import checkpoint_name, checkpoints, keep_newest
from scot.training.config import TrainConfig
from scot.training.distributed import WorkerFailed, from_first, together
from scot.training.loop import Progress, Trainer
from scot.training.report import write_report
from scot.training.run_folder import Run, progress_line

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a worker gets its embeddings: the cache, the memory it may fill, and where a mapped copy goes."""

    embeddings: str
    memory_gib: float = 1.0
    scratch: str = ""


def train_in_process(run: Run, source: Source, say: Say) -> None:
    """Train to the artifact in this process, on a GPU when there is one; goes on from the newest whole checkpoint.

    Raises:
        NotFound, EncoderMismatch, InvalidInput: the cache or the checkpoints cannot be used.
        Unavailable: a checkpoint or the artifact cannot be written.
        Diverged: the loss is no longer a number.
    """
    data = open_cache(source.embeddings, memory_gib=source.memory_gib, scratch=source.scratch)
    trainer = Trainer(data, run.config, "cuda" if torch.cuda.is_available() else "cpu")
    log = run.log()

    def tell(line: str) -> None:
        log.note(line)
        say(line)

    _train(run, trainer, tell, lambda event: say(progress_line({**dataclasses.asdict(event), "eta_s": event.eta_s})))


def train_with_ray(
    run: Run,
    source: Source,
    say: Say,
    *,
    num_workers: int | tuple[int, int],
    use_gpu: bool = False,
    max_failures: int = 2,
    resize_every_s: float = 60.0,
) -> None:
    """Train to the artifact with workers of Ray Train; Ray must be running.

    The run's folder and the embeddings must be readable by every node under the same path. A worker or node that is
    lost costs one of ``max_failures``: all workers start again from the newest whole checkpoint.

    Args:
        run: what to train.
        source: its embeddings.
        say: receives a line of progress now and then.
        num_workers: how many; ``(least, most)``: as many as the cluster has room for, looked at every
            ``resize_every_s`` seconds.
        use_gpu: give each worker a GPU; they then talk over NCCL, else over gloo.
        max_failures: how many losses are made good.
        resize_every_s: see ``num_workers``.

    Raises:
        WorkerFailed: a worker stopped for a reason of its own (a damaged cache, a full disk, a loss that is not a
            number), or workers were lost too often.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    scaling: dict[str, Any] = {"num_workers": num_workers, "use_gpu": use_gpu}
    scaling["elastic_resize_monitor_interval_s"] = resize_every_s
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "root": str(run.folder.parent),
            "name": run.name,
            "config": dataclasses.asdict(run.config),
            "source": dataclasses.asdict(dataclasses.replace(source, embeddings=_absolute(source.embeddings))),
        },
        # Tensors on a GPU travel over NCCL; the few words between workers (group.py) over gloo.
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(
            name="ray_train", storage_path=str(run.folder), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    with _followed(run.progress_file(), lambda line: say(progress_line(json.loads(line)))), _followed(
        run.notes_file(), say
    ):  # fmt: skip
        try:
            result: Any = trainer.fit()
        except TrainingFailedError as error:
            raise WorkerFailed(f"training was given up after {max_failures + 1} attempts: {_last(error)}") from error
    if result.return_value:
        raise WorkerFailed(result.return_value)


def _worker(settings: dict[str, Any]) -> Any:
    """What each Ray Train worker does. Returns None, or the sentence that says why it stopped before the end."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    # Ray sets one thread for a worker with one CPU; the workers of a machine share all of it.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    source = Source(**settings["source"])
    try:
        with together():
            data = open_cache(source.embeddings, memory_gib=source.memory_gib, scratch=source.scratch)
        run = Run(settings["root"], settings["name"], TrainConfig.from_dict(settings["config"]), data.info)
        with together():
            trainer = Trainer(data, run.config, device)
        from scot.training.metrics import Gauges

        gauges = Gauges(run.name) if trainer.rank == 0 else None
        log = run.log()

        def report(event: Progress) -> None:
            if gauges is not None:
                gauges.show(event)
            if event.evaluated:
                ray.train.report({"step": event.step, "loss": event.loss, **event.held_out})

        _train(run, trainer, log.note, report)
    except ScotError as error:
        # Every worker comes here at the same step. Trying again would end the same way: say why, and end.
        return str(error)
    return None


def _train(run: Run, trainer: Trainer, say: Say, report: Callable[[Progress], None]) -> None:
    """From the newest whole checkpoint to the report and the artifact; the first worker writes and says."""
    first = trainer.rank == 0
    root = run.checkpoints()
    _resume(trainer, root, say if first else lambda line: None)
    if (few := len(trainer.training_N)) < trainer.batch_size and first:
        say(f"{few} training triplets are fewer than a batch of {trainer.batch_size}: a step takes them more than once")
    log = run.log()
    try:
        for event in trainer.run():
            if first:
                log.write(event)
            if event.evaluated:
                trainer.save(root / checkpoint_name(event.step))
                if first:
                    keep_newest(root)
            report(event)
    finally:
        log.close()
    if first:
        try:  # before the artifact, with which a run is over: one that was killed in between writes both again
            write_report(run, trainer)
        except Exception as error:  # whatever a plot failed on, it must not cost what was trained
            say(f"the report could not be written: {error}")
        run.write_artifact(trainer)


def _resume(trainer: Trainer, root: Path, say: Say) -> None:
    """Load the newest checkpoint that every worker finds whole.

    Raises:
        InvalidInput: there are checkpoints, and none of them can be used.
    """
    names: list[str] = from_first([path.name for path in checkpoints(root)])
    for name in names:
        try:
            with together():
                trainer.load(root / name)
        except (InvalidInput, WorkerFailed) as error:
            say(f"{error}; trying the one before")
            continue
        say(f"going on from step {trainer.step} with {trainer.world} worker{'s' if trainer.world > 1 else ''}")
        return
    if names:
        raise InvalidInput(f"none of the checkpoints in {root} can be used: delete them to start from the first step")


@contextlib.contextmanager
def _followed(path: Path, take: Say) -> Iterator[None]:
    """Take the lines that are appended to a file while the block runs: the workers' own output stays in Ray's logs."""
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
                        take(line.rstrip("\n"))
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


def _last(error: Exception) -> str:
    """The last line of what Ray says went wrong."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _absolute(embeddings: str) -> str:
    return embeddings if "://" in embeddings else str(Path(embeddings).absolute())
