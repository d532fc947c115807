"""``scot cluster``: jobs on Kubernetes through KubeRay: submit, list, watch, cancel."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import tyro
import yaml

from scot.cluster import follow, jobs, rayjob
from scot.cluster.api import Cluster, Json
from scot.cluster.helm_release import Release
from scot.cluster.job_status import Outcome, outcome, state
from scot.cluster.logs import Tail, copy, opened, submitters
from scot.commands.cluster_options import Place, Size, job_of, released, words_of
from scot.commands.columns import print_columns
from scot.errors import InvalidInput, NotFound, ScotError


@dataclass(frozen=True)
class SubmitConfig(Size):
    """Run a job of ray_jobs/ on a Ray cluster of its own, and show its log until it ends. Its flags follow --.

    Example: scot cluster submit pretrain --cpus 4 -- --steps 2000
    """

    job: tyro.conf.Positional[jobs.JobName] = field(kw_only=True)
    """Which job."""
    job_flags: tyro.conf.Positional[tuple[str, ...]] = field(default=(), kw_only=True)
    """The job's own flags, after --."""
    detach: bool = False
    """Return as soon as the job is created."""
    dry_run: bool = False
    """Print the manifest, for `kubectl create -f -`, without asking a cluster."""


@dataclass(frozen=True)
class ListConfig(Place):
    """List the jobs of a release.

    Example: scot cluster list
    """


@dataclass(frozen=True)
class LogsConfig(Place):
    """Show the log of a job, and go on until it ends.

    Example: scot cluster logs scot-pretrain-x7k2p
    """

    name: tyro.conf.Positional[str] = field(kw_only=True)
    """The job, as `scot cluster list` names it."""
    follow: bool = True
    """Go on until the job ends; otherwise show what there is."""


@dataclass(frozen=True)
class CancelConfig(Place):
    """Stop a job and remove it with its Ray cluster; what it had written stays.

    Example: scot cluster cancel scot-pretrain-x7k2p
    """

    name: tyro.conf.Positional[str] = field(kw_only=True)
    """The job, as `scot cluster list` names it."""


def submit(config: SubmitConfig) -> int:
    """Create a RayJob and wait for it.

    Raises:
        InvalidInput: an option or the cluster's own rules forbid it.
        NotFound: there is no such release, or no KubeRay.
        SystemExit: a flag of the job is wrong (2).
    """
    try:
        assumed = dry_run(config)
    except InvalidInput as error:  # like any wrong flag, and before a cluster is contacted
        print(f"scot cluster submit: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if config.dry_run:
        print(assumed, end="")
        return 0
    cluster = Cluster(config.namespace)
    body = _manifest(config, released(config, cluster), cluster.namespace)
    name = created(cluster, body)
    if config.detach:
        print(f"look at it with: scot cluster logs {name}")
        return 0
    return ended(name, attended(cluster, name, show))


def dry_run(config: SubmitConfig) -> str:
    """The manifest as YAML, for a release with the chart's defaults. Raises InvalidInput when an option is wrong."""
    body = _manifest(config, released(config, None), config.namespace)
    plain = json.loads(json.dumps(body))  # without YAML's references to parts that occur twice
    return str(yaml.safe_dump(plain, sort_keys=False, width=1000))


def list_jobs(config: ListConfig) -> int:
    """Print one line a job, the newest last. Raises what the cluster does."""
    cluster = Cluster(config.namespace)
    selector = f"app.kubernetes.io/component=job,app.kubernetes.io/instance={config.release}"
    found = sorted(cluster.objects("rayjobs", selector), key=lambda job: str(job["metadata"]["creationTimestamp"]))
    if not found:
        print(f"release {config.release} has no jobs in namespace {cluster.namespace}")
        return 0
    print_columns([("name", "job", "state", "created (UTC)"), *map(_cells, found)])
    return 0


def logs(config: LogsConfig) -> int:
    """Show a job's log. Raises NotFound when there is no such job, or nothing of its log is left."""
    cluster = Cluster(config.namespace)
    job = cluster.get("rayjobs", config.name)
    if config.follow and outcome(job) is None:
        return ended(config.name, attended(cluster, config.name, show))
    pods = submitters(cluster, config.name)
    if not pods:
        raise NotFound(f"{config.name} ({state(job)}) has no log: no pod has submitted it yet, or it is gone")
    tail = Tail(show)
    for pod in pods:
        copy(opened(cluster, pod, follow=False), pod, tail)
    return 0


def cancel(config: CancelConfig) -> int:
    """Delete a RayJob. Raises NotFound when there is none."""
    cluster = Cluster(config.namespace)
    cluster.delete("rayjobs", config.name)
    print(f"cancelled {config.name}; what it had written stays, and the same job goes on from there")
    return 0


def created(cluster: Cluster, body: Json) -> str:
    """Create a job and say so; its name."""
    name = str(cluster.create("rayjobs", body)["metadata"]["name"])
    say(f"{name}: created in namespace {cluster.namespace}: {body['spec']['entrypoint']}")
    return name


def attended(cluster: Cluster, name: str, line: Callable[[str], None]) -> Outcome:
    """Wait for a job; Ctrl-C leaves it running and says how to go on."""
    try:
        return follow.follow(cluster, name, say, line)
    except KeyboardInterrupt:
        where = f" --namespace {cluster.namespace}"
        say(f"{name} goes on; look at it with `scot cluster logs {name}{where}`, or end it with")
        say(f"`scot cluster cancel {name}{where}`")
        raise
    except ScotError:
        say(f"{name} may go on: scot cluster list")
        raise


def ended(name: str, how: Outcome) -> int:
    """Say how a job ended; the exit code."""
    say(f"{name}: {how.said}")
    return 0 if how.succeeded else 1


def say(line: str) -> None:
    """A line about a job; those of its own log go to standard output."""
    print(line, file=sys.stderr, flush=True)


def show(line: str) -> None:
    """A line of a job's log."""
    print(line, flush=True)


def _manifest(config: SubmitConfig, release: Release, namespace: str) -> Json:
    words = words_of(config, release, config.job, config.job_flags)
    return rayjob.manifest(job_of(config, config.job, words), release, namespace)


def _cells(job: Json) -> tuple[str, ...]:
    metadata = job["metadata"]
    created_at = str(metadata["creationTimestamp"]).replace("T", " ").removesuffix("Z")
    how = outcome(job)
    return (
        str(metadata["name"]),
        str(metadata["labels"].get("scot/job", "")),
        how.said if how else state(job),
        created_at,
    )
