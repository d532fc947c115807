"""A pretraining run on disk: ``RUNS/NAME`` with its settings, checkpoints, progress and, at the end, the composer.

::

    run.json          the settings and the embedding cache of the run
    progress.jsonl    one line for each progress event
    notes.txt         one line for each notable event: a resumption, a damaged checkpoint
    checkpoints/      the newest two
    tensorboard/      curves
    report.md         settings, data and results, with report-*.png: written when training ends
    composer/         the artifact, written after the report
    finished.json     the published version and its held-out recall: written last
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scot.composers import artifact, save_composer
from scot.composers.registry import Registry
from scot.data.atomic_io import write_json, writing
from scot.data.filesystems import is_url
from scot.data.mirror import Mirror
from scot.data.one_writer import one_writer
from scot.embeddings.cache import CacheInfo
from scot.errors import Conflict, InvalidInput
from scot.training import checkpoint, held_out_pairs
from scot.training.config import TrainConfig, training_settings
from scot.training.held_out import as_metrics, objection
from scot.training.loop import Trainer
from scot.training.progress import Progress

_RUN, _FINISHED, _PROGRESS, _NOTES = "run.json", "finished.json", "progress.jsonl", "notes.txt"
_REPORT = "report.md"
_COMPLETE = (checkpoint.COUNTERS, artifact.CONFIG, _FINISHED)
"""Files that say that others are complete."""


class RunFolder:
    """One named run. Its name fixes its settings and data: a run can be resumed, never changed.

    Args:
        root: the folder of the runs. At a URL, each machine works in a local folder: :meth:`fetch` makes it what the
            URL holds, :meth:`store` uploads what is finished (docs/adr/0026-urls.md).
        name: the run's name.
        config: the settings that decide the weights.
        data: the embedding cache.
        images: the cache whose images show where images lie, if it is another one.
    """

    def __init__(
        self, root: str | Path, name: str, config: TrainConfig, data: CacheInfo, images: CacheInfo | None = None
    ) -> None:
        if not name or name.startswith(".") or "/" in name or os.sep in name:
            raise InvalidInput(f"the run's name {name!r} must not be empty, start with a dot or hold a slash")
        self.name, self.config, self.data, self.images = name, config, data, images
        self.root = str(root).rstrip("/") if is_url(str(root)) else str(Path(root).absolute())
        self._mirror = Mirror(f"{self.root}/{name}", last=_COMPLETE) if is_url(self.root) else None
        self.folder = self._mirror.local if self._mirror else Path(self.root) / name
        self._label = f"the run's folder {self.root}/{name}"

    @classmethod
    def default_name(cls, config: TrainConfig, data: CacheInfo, images: CacheInfo | None = None) -> str:
        """The same settings and data give the same name, so that a rerun resumes."""
        return "pretrain-" + hashlib.sha256(json.dumps(_identity(config, data, images)).encode()).hexdigest()[:8]

    def open(self) -> None:
        """Start the run, or check that it was started with the same settings and data.

        Raises:
            Conflict: a run of this name has other settings or data; the message says which.
        """
        identity = _identity(self.config, self.data, self.images)
        path = self.folder / _RUN
        try:
            before = json.loads(path.read_bytes())
        except FileNotFoundError:
            write_json(path, identity, what=self._label)
            self.store()
            return
        except ValueError:
            raise InvalidInput(f"the run {self.name} is damaged ({_RUN}): choose another --name") from None
        changed = sorted(key for key in identity.keys() | before.keys() if identity.get(key) != before.get(key))
        if changed:
            differences = ", ".join(f"{key} {before.get(key)} (now {identity.get(key)})" for key in changed)
            raise Conflict(f"the run {self.name} was started with {differences}: choose another --name")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run during the block.

        Raises:
            Conflict: another process has locked it; of a folder, one of this machine.
            Unavailable: the folder of runs cannot be written.
        """
        busy = f"the run {self.name} is active in another process"
        with one_writer(f"{self.root}/{self.name}", busy=busy):
            self.fetch()
            yield

    def fetch(self) -> None:
        """Bring the working folder of a run at a URL up to date; of a local one, nothing."""
        if self._mirror:
            self._mirror.fetch()

    def store(self) -> None:
        """Upload what is finished to a run at a URL; of a local one, nothing. Raises Unavailable, PermissionDenied."""
        if self._mirror:
            self._mirror.store()

    def shown(self, file: Path) -> str:
        """A file of the run as its user knows it."""
        return f"{self.root}/{self.name}/{file.relative_to(self.folder).as_posix()}"

    def finished(self) -> dict[str, Any] | None:
        """The content of ``finished.json``; None until the run has finished."""
        try:
            value: dict[str, Any] = json.loads((self.folder / _FINISHED).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value

    def trained(self) -> bool:
        """Whether the artifact has been written."""
        return (self.folder / "composer" / artifact.CONFIG).is_file()

    def write_artifact(self, trainer: Trainer) -> None:
        """Save the best composer as ``composer/``, unless it already exists.

        Raises:
            Unavailable: it cannot be written.
        """
        if self.trained():
            return
        metrics = {**trainer.best, "best_step": trainer.best_step, "steps": trainer.step}
        metrics |= as_metrics(trainer.references)
        if trainer.comparison is not None:
            metrics |= held_out_pairs.as_metrics(trainer.comparison)
        training = {**training_settings(self.config), "run": self.name}
        with writing(self._label):
            save_composer(
                self.folder / "composer",
                trainer.best_composer(),
                encoder_id=self.data.encoder_id,
                dim=self.data.dim,
                training_data=self.data.hash,
                metrics=metrics,
                training=training,
            )

    def publish(self, registry: Registry, *, release: bool = True, again: bool = False) -> str:
        """Publish the artifact and mark the run finished; reuses the version that a killed run has published.

        A composer that loses to a baseline (:func:`scot.training.held_out.objection`) is not released.
        """
        folder = self.folder / "composer"
        release = release and not objection(artifact.read_metrics(folder))
        own = _origin(artifact.read_config(folder))
        same = [version for version in registry.versions() if _origin(registry.config(version)) == own]
        if same and not again:
            version = same[-1]
            if release:
                registry.release(version)
        else:
            version = registry.publish(folder, release=release)
        write_json(self.folder / _FINISHED, {"version": version, "metrics": artifact.read_metrics(folder)})
        self.store()
        return version

    def log(self) -> ProgressLog:
        """The log of this run's progress; only one process may write it."""
        return ProgressLog(self.folder)

    def progress_file(self) -> Path:
        """The file that :class:`ProgressLog` appends events to, as JSON."""
        return self.folder / _PROGRESS

    def report_file(self) -> Path:
        """The Markdown file that :func:`scot.training.report.write_report` writes."""
        return self.folder / _REPORT

    def notes_file(self) -> Path:
        """The file that :class:`ProgressLog` appends notes to, as text."""
        return self.folder / _NOTES

    def ray_folder(self) -> Path:
        """The folder that Ray Train keeps its own state in; no part of a run at a URL."""
        return self.folder.with_name(f"{self.folder.name}-ray") if self._mirror else self.folder

    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / "checkpoints"


class ProgressLog:
    """Appends progress to ``progress.jsonl`` and to TensorBoard, and notes to ``notes.txt``.

    A line that cannot be written is lost: a full disk stops a run at its next checkpoint, not here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._curves: Any = None

    def note(self, line: str) -> None:
        """Record a single event."""
        with contextlib.suppress(OSError):
            _append(self._folder / _NOTES, line)

    def write(self, event: Progress) -> None:
        """Record one progress event and its time (``at``, Unix seconds)."""
        line = {**asdict(event), "eta_s": event.eta_s, "at": round(time.time(), 2)}
        with contextlib.suppress(OSError):
            _append(self._folder / _PROGRESS, json.dumps(line))
            self._draw(event)

    def _draw(self, event: Progress) -> None:
        curves = {
            "train/loss": event.loss,
            "train/lr": event.lr,
            "train/logit_scale": event.scale,
            "train/gradient_norm": event.gradient_norm,
            **{f"train/{term}": value for term, value in event.terms.items()},
            "speed/triplets_per_s": event.triplets_per_s,
            "speed/data_wait": event.data_wait,
            "speed/checkpoint_s": event.checkpoint_s,
        }
        if event.evaluated:
            curves |= {f"held_out/{key}": value for key, value in event.held_out.items()}
        writer = self._tensorboard()
        if writer is not None:
            for key, value in curves.items():
                writer.add_scalar(key, value, event.step)

    def close(self) -> None:
        """Flush everything."""
        if self._curves is not None:
            with contextlib.suppress(OSError):
                self._curves.close()

    def _tensorboard(self) -> Any:
        if self._curves is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:  # it is in the extra `train`; without it a run has no curves but is otherwise complete
                return None
            self._curves = SummaryWriter(str(self._folder / "tensorboard"))
        return self._curves


def progress_line(event: dict[str, Any]) -> str:
    """One readable line, from one line of ``progress.jsonl``."""
    recall = event["held_out"]
    shown = f" · held-out {shown_recall(recall)}" if event["evaluated"] else ""
    eta = "" if event["done"] or math.isnan(event["eta_s"]) else f" · {event['eta_s']:.0f} s left"
    return (
        f"step {event['step']:>5}/{event['steps']} · loss {event['loss']:.3f} · "
        f"{event['triplets_per_s']:,.0f} triplets/s{shown}{eta}"
    )


def shown_recall(recall: Mapping[str, float]) -> str:
    """The recall of edits, and of pairs of images where they are measured, in a few words."""

    def shown(start: str) -> str:
        return " ".join(f"R@{k} {recall[f'{start}recall@{k}']:.3f}" for k in (1, 10))

    start = held_out_pairs.PREFIX
    return shown("") + (f", pairs {shown(start)}" if f"{start}recall@1" in recall else "")


def check_writable(folder: str | Path) -> None:
    """Raise Unavailable when a local folder cannot be made or written."""
    if is_url(str(folder)):
        return
    probe = Path(folder) / f".probe.{os.getpid()}.tmp"
    with writing(str(folder)):
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def _origin(config: dict[str, Any]) -> tuple[str, str]:
    """The run of an artifact, and the hash of its weights."""
    return str(config.get("training", {}).get("run", "")), str(config["weights_sha256"])


def _identity(config: TrainConfig, data: CacheInfo, images: CacheInfo | None) -> dict[str, Any]:
    settings = {**training_settings(config), "encoder": data.encoder_id, "embeddings": data.hash}
    return settings | ({"images": images.hash} if images else {})


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
