"""``scot cluster run-pipeline``: from captions to a released composer, one job after another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from scot.cluster import jobs, rayjob
from scot.cluster.api import Cluster
from scot.cluster.helm_release import Release
from scot.cluster.job_status import Outcome
from scot.commands import cluster as commands
from scot.commands import promote
from scot.commands.cluster_options import command_of, release_of, spec_of
from scot.errors import NotFound, Unavailable


@dataclass(frozen=True)
class PipelineConfig(promote.PromoteOptions):
    """Generate edits, encode, pretrain, evaluate and promote the new version; each step needs the previous one.

    A step skips work that is done already, so a failed pipeline continues where it stopped.

    Example: scot cluster run-pipeline --steps 2000
    """

    source: list[str] = field(default_factory=list)
    """Captioned images to learn from; by default those that the release drew."""
    steps: int = 0
    """Steps of pretraining; 0: the job's own default."""
    generate_flags: str = ""
    """More flags of generate_edits, as one string: --generate-flags="--engine service"."""
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
        NotFound: the log of pretraining has no result.
        NotPromoted: the gate refused the composer, or the service did not serve it.
        ScotError: the release or the cluster cannot be used.
    """
    # Check the flags of every step before the first step runs.
    commands_of(config, Release.assumed(config.release, config.fullname), "v1")
    cluster = Cluster(config.namespace)
    release = release_of(config, cluster)
    version = ""
    for step in ("generate_edits", "encode", "pretrain", "evaluate"):
        words = commands_of(config, release, version)[step]
        job = rayjob.manifest(
            spec_of(config, step, words, num_workers=_workers(config, step)), release, cluster.namespace
        )
        ended = _succeeded(step, *commands.run_job(cluster, job))
        if step == "pretrain":
            if ended.result is None:  # lost with the pod that had the log: a finished run only says it again
                name = commands.create_job(cluster, job)
                ended = _succeeded(step, name, commands.follow_job(cluster, name))
            if ended.result is None:
                raise NotFound("the log of the pretraining job does not hold the version that it published")
            version = str(ended.result["version"])
    shared = {each.name: getattr(config, each.name) for each in fields(promote.PromoteOptions)}
    return promote.promote(promote.PromoteConfig(**shared, version=version))


def commands_of(config: PipelineConfig, release: Release, version: str) -> dict[str, list[str]]:
    """The command line of each step. Raises InvalidInput when a flag is wrong."""
    source = ["--source", *config.source] if config.source else []
    steps = ["--steps", str(config.steps)] if config.steps else []
    given: dict[jobs.JobName, Sequence[str]] = {
        "generate_edits": [*source, "--overwrite", *shlex.split(config.generate_flags)],
        "encode": [*source, *shlex.split(config.encode_flags)],
        "pretrain": [*steps, "--no-release", "--json", *shlex.split(config.pretrain_flags)],
        "evaluate": ["--composer", version, *shlex.split(config.evaluate_flags)],
    }
    return {
        job: command_of(config, release, job, flags, num_workers=_workers(config, job)) for job, flags in given.items()
    }


def _workers(config: PipelineConfig, job: str) -> int:
    return 0 if job in jobs.SINGLE_PROCESS else config.num_workers


def _succeeded(step: str, name: str, ended: Outcome) -> Outcome:
    if commands.exit_code(name, ended):
        raise Unavailable(f"the step {step} failed ({name}), so nothing is promoted")
    return ended
