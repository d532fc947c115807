"""The options that the commands of ``scot cluster`` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scot.cluster import jobs, rayjob
from scot.cluster.api import Cluster
from scot.cluster.helm_release import Owner, Release, Resources
from scot.errors import InvalidFlag, NotFound


@dataclass(frozen=True)
class ReleaseOptions:
    """Which release, and where."""

    release: str = "scot"
    """The name of the helm release."""
    namespace: str = ""
    """Its namespace; by default the kubeconfig's."""
    fullname: str = ""
    """The prefix of its objects' names, if the chart's fullnameOverride or nameOverride changed it."""


@dataclass(frozen=True)
class JobOptions(ReleaseOptions):
    """The pods of a job and their resources."""

    image: str = ""
    """The image; by default the RayService's."""
    num_workers: int = 0
    """Worker pods; 0: the head does the work."""
    cpus: int = 2
    """CPUs of each worker, or of the head if there are none."""
    memory: str = "4Gi"
    """Memory of each worker, or of the head if there are none."""
    gpus: int = 0
    """GPUs of each worker, or of the head if there are none."""
    head_cpus: int = 1
    """CPUs of a head with workers, which runs the job's own process."""
    head_memory: str = "4Gi"
    """Memory of a head with workers."""
    backoff_limit: int = 0
    """How often a failed job is retried, on a new Ray cluster."""
    ttl: int = 300
    """Seconds that the Ray cluster of a finished job stays for inspection."""
    start_timeout: int = 0
    """Seconds after which a job fails if its pods do not run; 0: it waits."""
    owner: str = ""
    """NAME/UID of a batch Job: the job is deleted together with it."""

    def __post_init__(self) -> None:
        if min(self.num_workers, self.backoff_limit, self.ttl, self.start_timeout) < 0:
            raise InvalidFlag("--num-workers, --backoff-limit, --ttl and --start-timeout must not be negative")
        if self.owner and self.owner.count("/") != 1:
            raise InvalidFlag(f"--owner {self.owner!r} must be NAME/UID")


def release_of(config: JobOptions, cluster: Cluster | None) -> Release:
    """The release that a job belongs to; without a cluster, one with the chart's defaults.

    Raises:
        NotFound: there is no such release and no --image.
    """
    release = Release.assumed(config.release, config.fullname)
    if cluster is not None:
        try:
            release = Release.of(config.release, cluster.get("rayservices", release.fullname))
        except NotFound as error:
            if not config.image:
                raise NotFound(f"{error}: name the release with --release, or an image with --image") from error
    return replace(release, image=config.image or release.image)


def command_of(
    config: JobOptions, release: Release, job: jobs.JobName, given: Sequence[str], *, num_workers: int | None = None
) -> list[str]:
    """A job's command line. Raises InvalidInput when a flag is wrong."""
    return jobs.command(
        job,
        given,
        root=release.root,
        qdrant=release.qdrant,
        encoder=release.encoder,
        num_workers=config.num_workers if num_workers is None else num_workers,
        use_gpu=config.gpus > 0,
    )


def spec_of(
    config: JobOptions, title: str, words: Sequence[str], *, num_workers: int | None = None
) -> rayjob.RayJobSpec:
    """A job with these pods. Raises InvalidInput when a size is malformed."""
    return rayjob.RayJobSpec(
        title,
        words,
        Resources(config.cpus, config.memory, config.gpus),
        Resources(config.head_cpus, config.head_memory),
        config.num_workers if num_workers is None else num_workers,
        config.backoff_limit,
        config.ttl,
        config.start_timeout,
        owner=Owner(*config.owner.split("/")) if config.owner else None,
    )
