"""Runs a pretraining run: in this process, or in the workers of Ray Train v2, with the same loop.

Checkpoints are the run's own, not Ray's, so that a run can resume with any number of workers, or without Ray, and from
the checkpoint before a damaged one. Ray Train starts the workers, and restarts them when a worker or its node is lost.
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

from scot.data.filesystems import is_url
from scot.embeddings.memory_mapped import open_cache
from scot.embeddings.moments import image_moments
from scot.errors import InvalidInput, ScotError
from scot.training.checkpoint import checkpoint_name, checkpoints, keep_newest
from scot.training.config import TrainConfig
from scot.training.distributed import BACKENDS, WorkerFailed, all_or_none, from_first
from scot.training.loop import Trainer
from scot.training.progress import Progress
from scot.training.report import write_report
from scot.training.run_folder import RunFolder, progress_line

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """The embeddings of a worker.

    They are the cache, the memory limit, the folder of a memory-mapped copy, and the cache whose images show where
    images lie (by default the same).
    """

    embeddings: str
    memory_gib: float = 1.0
    scratch: str = ""
    images: str = ""

    def trainer(self, config: TrainConfig, device: str | torch.device) -> Trainer:
        """The embeddings' trainer. Raises NotFound, EncoderMismatch, InvalidInput, Unavailable."""
        data = open_cache(self.embeddings, memory_gib=self.memory_gib, scratch=self.scratch)
        images = image_moments(self.images, data.info.encoder_id) if self.images else None
        return Trainer(data, config, device, images=images)


def train_in_process(run: RunFolder, source: Source, on_line: OnLine) -> None:
    """Train to the artifact in this process, on a GPU if there is one; resumes from the newest undamaged checkpoint.

    Raises:
        NotFound, EncoderMismatch, InvalidInput: the cache or the checkpoints cannot be used.
        Unavailable: a checkpoint or the artifact cannot be written.
        Diverged: the loss is not finite.
    """
    trainer = source.trainer(run.config, "cuda" if torch.cuda.is_available() else "cpu")
    log = run.log()

    def note(line: str) -> None:
        log.note(line)
        on_line(line)

    def report(event: Progress) -> None:
        on_line(progress_line({**dataclasses.asdict(event), "eta_s": event.eta_s}))

    _train(run, trainer, note, report)


def train_with_ray(
    run: RunFolder,
    source: Source,
    on_line: OnLine,
    *,
    num_workers: int | tuple[int, int],
    use_gpu: bool = False,
    max_failures: int = 2,
    resize_every_s: float = 60.0,
) -> None:
    """Train to the artifact with workers of Ray Train; Ray must be running.

    The run's folder and the embeddings must be readable by every node under the same path, or be at URLs. A lost
    worker or node counts as one of ``max_failures``: all workers restart from the newest undamaged checkpoint.

    Args:
        run: the run to train.
        source: its embeddings.
        on_line: receives lines of progress.
        num_workers: their number; ``(least, most)``: as many as fit on the cluster, checked every ``resize_every_s``
            seconds.
        use_gpu: give each worker a GPU; they then communicate over NCCL, else over gloo.
        max_failures: the number of losses after which the run still restarts.
        resize_every_s: see ``num_workers``.

    Raises:
        WorkerFailed: a worker stopped with an error (a damaged cache, a full disk, a loss that is not finite), or
            workers were lost too often.
    """
    from ray.exceptions import RayError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    scaling: dict[str, Any] = {"num_workers": num_workers, "use_gpu": use_gpu}
    scaling["elastic_resize_monitor_interval_s"] = resize_every_s
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "root": run.root,
            "name": run.name,
            "config": dataclasses.asdict(run.config),
            "source": dataclasses.asdict(
                dataclasses.replace(
                    source, embeddings=_absolute(source.embeddings), images=source.images and _absolute(source.images)
                )
            ),
        },
        torch_config=TorchConfig(backend=BACKENDS if use_gpu else "gloo"),
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(
            name="ray_train",
            storage_path=str(run.ray_folder()),
            failure_config=FailureConfig(max_failures=max_failures),
        ),
    )
    with (
        _followed(run.progress_file(), lambda line: on_line(progress_line(json.loads(line)))),
        _followed(run.notes_file(), on_line),
    ):
        try:
            result: Any = trainer.fit()
        except (TrainingFailedError, RayError) as error:  # RayError: Ray Train's own process was killed
            raise WorkerFailed(f"training stopped {_reason(error, max_failures + 1)}") from error
    if result.return_value:
        raise WorkerFailed(result.return_value)
    run.fetch()  # the first worker may have run on another machine


def _worker(settings: dict[str, Any]) -> Any:
    """The work of one Ray Train worker. Returns None, or the message of the error that stopped it."""
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
        with all_or_none():
            trainer = source.trainer(TrainConfig.from_dict(settings["config"]), device)
            run = RunFolder(settings["root"], settings["name"], trainer.config, trainer.data.info)
            run.fetch()
        from scot.training.metrics import RunMetrics

        metrics = RunMetrics(run.name) if trainer.rank == 0 else None
        log = run.log()

        def report(event: Progress) -> None:
            if metrics is not None:
                metrics.update(event)
            if event.evaluated:
                ray.train.report({"step": event.step, "loss": event.loss, **event.held_out})

        _train(run, trainer, log.note, report)
    except ScotError as error:
        # Every worker stops here at the same step. A retry would fail the same way, so the run ends with the reason.
        return str(error)
    return None


def _train(run: RunFolder, trainer: Trainer, note: OnLine, report: Callable[[Progress], None]) -> None:
    """From the newest undamaged checkpoint to the report and the artifact; only the first worker writes."""
    first = trainer.rank == 0
    root = run.checkpoints()
    _resume(trainer, root, note if first else lambda line: None)
    if first:
        note(trainer.split.summary)
        if share := trainer.config.from_captions:
            note(f"captions stand in for {share:.0%} of the references{_gap(trainer)}")
    if (few := len(trainer.training_N)) < trainer.batch_size and first:
        note(f"{few} training triplets are fewer than a batch of {trainer.batch_size}: a step uses them more than once")
    log = run.log()
    try:
        for event in trainer.run():
            if first:
                log.write(event)
            if event.evaluated:
                trainer.save(root / checkpoint_name(event.step))
                if first:
                    keep_newest(root)
                    run.store()
            report(event)
    finally:
        log.close()
    if first:
        try:  # before the artifact, which ends the run: a run killed in between writes both again
            write_report(run, trainer)
        except Exception as error:  # a failed plot must not lose the trained weights
            note(f"the report could not be written: {error}")
        run.write_artifact(trainer)
        run.store()


def _gap(trainer: Trainer) -> str:
    """How captions are moved to the images, and what a composer that reads patches gets of them."""
    stand_ins = trainer.stand_ins
    unknown = trainer.data.info.captions_only and not stand_ins.gap
    if stand_ins.root_DD is not None:
        noise = f", scaled by {stand_ins.scale:.2f} and blurred by noise of {stand_ins.noise:.2f}, as the images vary"
    else:
        noise = f", blurred by noise of σ {stand_ins.sigma:g}"
    moved = "; no image says how far images lie from texts: name some with --images" if unknown else ""
    blind = "; these are trained blind, without patches" if trainer.composer.reads_states else ""
    return f", moved by the gap of the means, {stand_ins.gap:.2f}{noise}{moved}{blind}"


def _resume(trainer: Trainer, root: Path, note: OnLine) -> None:
    """Load the newest checkpoint that is undamaged on every worker.

    Raises:
        InvalidInput: there are checkpoints, but none of them can be used.
    """
    names: list[str] = from_first([path.name for path in checkpoints(root)])
    for name in names:
        try:
            with all_or_none():
                trainer.load(root / name)
        except (InvalidInput, WorkerFailed) as error:
            note(f"{error}; trying the one before")
            continue
        note(f"resuming from step {trainer.step} with {trainer.world} worker{'s' if trainer.world > 1 else ''}")
        return
    if names:
        raise InvalidInput(f"none of the checkpoints in {root} can be used: delete them to start from the first step")


@contextlib.contextmanager
def _followed(path: Path, on_line: OnLine) -> Iterator[None]:
    """Read the lines appended to a file while the block runs; the workers' own output stays in Ray's logs."""
    finished = threading.Event()
    start = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        position = start
        while True:
            last = finished.is_set()
            if path.exists():
                with path.open(encoding="utf-8") as file:
                    file.seek(position)
                    for line in file:
                        if not line.endswith("\n"):
                            break
                        position += len(line.encode())
                        on_line(line.rstrip("\n"))
            if last:
                return
            finished.wait(0.3)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _reason(error: Exception, attempts: int) -> str:
    """Why Ray gave up: the last line of its message, but for a lack of memory, of which it says more than a page."""
    if "low on memory" in str(error):
        return "because its machine or pod ran low on memory: give it more"
    last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    return f"after {attempts} attempts: {last}"


def _absolute(embeddings: str) -> str:
    return embeddings if is_url(embeddings) else str(Path(embeddings).absolute())
