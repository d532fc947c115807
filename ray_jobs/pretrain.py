#!/usr/bin/env python
"""Pretrain a composer on cached embeddings (SCOT, arXiv 2501.08347) and publish it.

    python ray_jobs/pretrain.py --embeddings embeddings/ --composers composers/
    ray job submit --working-dir . -- python ray_jobs/pretrain.py --embeddings /data/emb --composers /data/composers
    ray job submit -- python ray_jobs/pretrain.py

Joins the Ray cluster of RAY_ADDRESS, or starts a local one; --num-workers 0 trains in this process, without Ray. The
same command resumes a run that was stopped; a finished run is not trained again.

Without a flag it uses the places that the chart gives the pods of a release as environment variables, and elsewhere
those of `make demo`. Where there are no edits or no embeddings yet, it makes them.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray_jobs.learning import Data, demo_workspace, pass_gate
from scot import flags
from scot.cluster import job_result
from scot.composers import Registry
from scot.composers.architectures import configure
from scot.embeddings.cache import check_cache
from scot.embeddings.memory_mapped import open_cache
from scot.errors import InvalidFlag
from scot.training.config import TrainConfig
from scot.training.distributed import check_shares
from scot.training.held_out import objection
from scot.training.launch import Source, train_in_process, train_with_ray
from scot.training.network import network_settings
from scot.training.run_folder import RunFolder, check_writable, shown_recall
from scot.training.split import split


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain a composer on cached embeddings and publish it."""

    embeddings: str = ""
    """The embedding cache that ray_jobs/encode.py wrote; by default that of `make demo`."""
    source: list[str] = field(default_factory=list)
    """Captioned images; where --embeddings is empty, edits and embeddings of them are made first."""
    triplets: list[str] = field(default_factory=list)
    """The folders of those edits; where the first is empty, it is filled. By default beside --embeddings."""
    encoder: str = "tiny"
    """The encoder of --source and --gallery: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    gallery: list[str] = field(default_factory=list)
    """Galleries drawn by `scot draw --split eval`; the version is released if it passes the gate on them."""
    images: str = ""
    """With --from-captions: a cache with images like those to search, for their moments; by default --embeddings."""
    composers: str = "composers"
    """The registry to publish to."""
    runs: str = "runs"
    """The folder of the runs, with their checkpoints and curves: a path or a URL."""
    name: str = ""
    """The run's name; by default made from the settings and the data, so that the same command resumes."""
    num_workers: int = 1
    """Ray Train workers; 0 trains in this process, without Ray."""
    max_workers: int = 0
    """If above --num-workers: the number of workers follows the free capacity of the cluster, up to this."""
    use_gpu: bool = False
    """Give each worker a GPU."""
    memory_gib: float = 1.0
    """Embeddings that need more memory than this are memory-mapped, from a copy in --scratch."""
    scratch: str = ""
    """A folder of each machine for that copy; by default in the temporary folder of the system."""
    release: bool = True
    """Make the published version the released one, unless it loses to a baseline on the held-out triplets or --gallery
    refuses it."""
    republish: bool = False
    """Publish a finished run again, as a new version."""
    json: bool = False
    """Print the published version also as one line of JSON."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """The settings that decide the trained weights."""


def main(config: PretrainConfig) -> int:
    """Train, write the report and the artifact, publish it."""
    if not config.embeddings:
        config = _in_demo(config)
    if config.num_workers < 0:
        raise InvalidFlag(f"--num-workers must not be negative, but is {config.num_workers}")
    if config.max_workers and not 1 <= config.num_workers <= config.max_workers:
        raise InvalidFlag(f"--max-workers {config.max_workers} needs --num-workers between 1 and it")
    check_shares(config.training.batch_size, max(1, config.num_workers), config.max_workers)
    data = Data(config.source, config.triplets, config.embeddings, config.encoder)
    with _ray(config) if data.missing and config.num_workers else nullcontext():
        if data.missing:
            data.make(config.training.architecture, with_ray=config.num_workers > 0)
        return _pretrain(config)


def _pretrain(config: PretrainConfig) -> int:
    settings = config.training
    info, _ = check_cache(config.embeddings)
    configure(settings.architecture, network_settings(settings, info))  # refused before it trains
    if config.images and not settings.from_captions:
        raise InvalidFlag("--images needs --from-captions: without it no caption is moved to the images")
    images = check_cache(config.images, info.encoder_id)[0] if config.images else None
    name = config.name or RunFolder.default_name(settings, info, images)
    run = RunFolder(config.runs, name, settings, info, images)
    registry = Registry(config.composers)
    with run.locked():
        run.open()
        done = run.finished()
        published = done is not None and done["version"] in registry.versions()
        if done is not None and published and not config.republish:
            print(f"run {run.name} is finished: {_recall(done['metrics'])}, published as {done['version']}")
            return _finish(config, run, registry, done["version"])
        if not run.trained():
            check_writable(config.composers)
            print(f"run {run.name}: {info.counts.get('triplets', 0):,} triplets of {info.encoder_id}", flush=True)
            _train(config, run)
        release = config.release and not config.gallery
        version = run.publish(registry, release=release, again=config.republish)
    metrics = registry.metrics(version)
    state = "released" if registry.released() == version else "not released"
    print(f"published {version} ({state}) in {config.composers}: {_recall(metrics)}")
    if config.release and (reason := objection(metrics)):
        print(f"{version} is published and not released: {reason}; `scot composers promote --force` releases it")
    return _finish(config, run, registry, version)


def _train(config: PretrainConfig, run: RunFolder) -> None:
    def say(line: str) -> None:
        print(line, flush=True)

    source = Source(config.embeddings, config.memory_gib, config.scratch, config.images)
    if config.num_workers == 0:
        train_in_process(run, source, say)
        return
    # Errors in the data are reported before any worker starts; local workers use the copy that is made here.
    data = open_cache(source.embeddings, memory_gib=source.memory_gib, scratch=source.scratch)
    split(data, run.config.held_out)
    del data
    workers = (config.num_workers, config.max_workers) if config.max_workers else config.num_workers
    with _ray(config):
        train_with_ray(run, source, say, num_workers=workers, use_gpu=config.use_gpu)


def _finish(config: PretrainConfig, run: RunFolder, registry: Registry, version: str) -> int:
    """The gate, the report and the result. Raises NotPromoted when the gate refuses the version."""
    if run.report_file().exists():  # runs of older versions have none
        print(f"report: {run.shown(run.report_file())}")
    if config.release and config.gallery and not objection(registry.metrics(version)):
        pass_gate(registry, version, config.gallery, config.encoder)
    if config.json:
        job_result.write({"version": version})
    return 0


def _ray(config: PretrainConfig) -> AbstractContextManager[None]:
    from ray_jobs.session import ray_session

    return ray_session(num_cpus=max(os.cpu_count() or 1, config.num_workers, config.max_workers))


def _in_demo(config: PretrainConfig) -> PretrainConfig:
    """The settings with the places of ``make demo``, where they name none. Raises InvalidFlag: there is none."""
    space, defaults = demo_workspace(), PretrainConfig()
    return replace(
        config,
        embeddings=str(space.embeddings),
        source=config.source or [*map(str, space.trains)],
        triplets=config.triplets or [str(space.triplets)],
        gallery=config.gallery or [str(folder) for folder in space.galleries if folder.is_dir()],
        composers=str(space.composers) if config.composers == defaults.composers else config.composers,
        runs=str(space.runs) if config.runs == defaults.runs else config.runs,
    )


def _recall(metrics: dict[str, float]) -> str:
    return f"held-out {shown_recall(metrics)}"


if __name__ == "__main__":
    sys.exit(flags.run("pretrain.py", main, PretrainConfig))
