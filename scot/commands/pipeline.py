"""``scot cluster run-pipeline``: from captions to a released composer, one job after the other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from scot.cluster import jobs, rayjob, remote_gate
from scot.cluster.api import Cluster
from scot.cluster.helm_release import Release
from scot.commands import cluster as commands
from scot.commands import promote
from scot.commands.cluster_options import job_of, released, words_of
from scot.errors import Unavailable


@dataclass(frozen=True)
class PipelineConfig(promote.PromoteOptions):
    """Generate edits, encode, pretrain, evaluate and promote what came out, each step when the one before it succeeded.

    A step whose work is done finds it done, so that a pipeline that failed goes on where it stopped.

    Example: scot cluster run-pipeline --steps 2000
    """

    source: list[str] = field(default_factory=list)
    """Captioned pictures to learn from; by default those that the release drew."""
    steps: int = 0
    """Steps of pretraining; 0: the job's own default."""
    generate_flags: str = ""
    """More flags of generate_edits, as one text: --generate-flags="--engine service"."""
    encode_flags: str = ""
    """More flags of encode."""
    pretrain_flags: str = ""
    """More flags of pretrain."""
    evaluate_flags: str = ""
    """More flags of evaluate."""


def run_pipeline(config: PipelineConfig) -> int:
    """Run the five steps.

    Raises:
        Unavailable: a step failed; its log is above.
        NotPromoted: the gate refused the composer, or the service did not take it.
        ScotError: the release or the cluster cannot be used.
    """
    # A wrong flag of the last step is told before the first.
    commands_of(config, Release.assumed(config.release, config.fullname), "v1")
    cluster = Cluster(config.namespace)
    release = released(config, cluster)
    version = ""
    for step in ("generate_edits", "encode", "pretrain", "evaluate"):
        lines: list[str] = []
        words = commands_of(config, release, version)[step]
        _run(cluster, release, job_of(config, step, words, num_workers=_workers(config, step)), lines)
        if step == "pretrain":
            version = remote_gate.published(lines)
    shared = {each.name: getattr(config, each.name) for each in fields(promote.PromoteOptions)}
    return promote.promote(promote.PromoteConfig(**shared, version=version))


def commands_of(config: PipelineConfig, release: Release, version: str) -> dict[str, list[str]]:
    """The command line of each step. Raises InvalidInput when a flag is wrong."""
    source = ["--source", *config.source] if config.source else []
    steps = ["--steps", str(config.steps)] if config.steps else []
    given: dict[jobs.JobName, Sequence[str]] = {
        "generate_edits": [*source, "--overwrite", *shlex.split(config.generate_flags)],
        "encode": [*source, *shlex.split(config.encode_flags)],
        "pretrain": [*steps, "--no-release", *shlex.split(config.pretrain_flags)],
        "evaluate": ["--composer", version, *shlex.split(config.evaluate_flags)],
    }
    return {
        job: words_of(config, release, job, flags, num_workers=_workers(config, job)) for job, flags in given.items()
    }


def _workers(config: PipelineConfig, job: str) -> int:
    return 0 if job in jobs.ALONE else config.num_workers


def _run(cluster: Cluster, release: Release, job: rayjob.Job, lines: list[str]) -> None:
    def show(line: str) -> None:
        lines.append(line)
        commands.show(line)

    name = commands.created(cluster, rayjob.manifest(job, release, cluster.namespace))
    if commands.ended(name, commands.attended(cluster, name, show)):
        raise Unavailable(f"the step {job.title} failed ({name}), so that nothing is promoted")
