"""``scot cluster``: jobs on Kubernetes through KubeRay: submit, list, follow, cancel."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

import tyro
import yaml

from scot.cluster import follow, jobs, rayjob
from scot.cluster.api import Cluster, Json
from scot.cluster.helm_release import Release
from scot.cluster.job_status import Outcome, outcome, state
from scot.cluster.logs import Tail, copy, open_log, submitters
from scot.commands.cluster_options import JobOptions, ReleaseOptions, command_of, release_of, spec_of
from scot.commands.columns import print_columns
from scot.errors import InvalidInput, NotFound, ScotError
from scot.results import print_json


@dataclass(frozen=True)
class SubmitConfig(JobOptions):
    """Run a job of ray_jobs/ on its own Ray cluster and show its log until it ends. The job's flags follow --.

    Example: scot cluster submit pretrain --cpus 4 -- --steps 2000
    """

    job: tyro.conf.Positional[jobs.JobName] = field(kw_only=True)
    """Which job."""
    job_flags: tyro.conf.Positional[tuple[str, ...]] = field(default=(), kw_only=True)
    """The job's own flags, after --."""
    detach: bool = False
    """Return as soon as the job is created."""
    dry_run: bool = False
    """Print the manifest, for `kubectl create -f -`, without contacting a cluster."""


@dataclass(frozen=True)
class ListConfig(ReleaseOptions):
    """List the jobs of a release.

    Example: scot cluster list
    """

    json: bool = False
    """Print one line of JSON."""


@dataclass(frozen=True)
class LogsConfig(ReleaseOptions):
    """Show the log of a job and follow it until the job ends.

    Example: scot cluster logs scot-pretrain-x7k2p
    """

    name: tyro.conf.Positional[str] = field(kw_only=True)
    """The job, as `scot cluster list` names it."""
    follow: bool = True
    """Follow the log until the job ends; otherwise show it as it is now."""


@dataclass(frozen=True)
class CancelConfig(ReleaseOptions):
    """Stop a job and delete it with its Ray cluster; the files that it wrote stay.

    Example: scot cluster cancel scot-pretrain-x7k2p
    """

    name: tyro.conf.Positional[str] = field(kw_only=True)
    """The job, as `scot cluster list` names it."""


def submit(config: SubmitConfig) -> int:
    """Create a RayJob and wait for it.

    Raises:
        InvalidInput: an option is wrong, or a rule of the cluster forbids it.
        NotFound: there is no such release, or no KubeRay operator.
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
    body = _manifest(config, release_of(config, cluster), cluster.namespace)
    name = create_job(cluster, body)
    if config.detach:
        print(f"follow it with: scot cluster logs {name}")
        return 0
    return exit_code(name, follow_job(cluster, name))


def dry_run(config: SubmitConfig) -> str:
    """The manifest as YAML, for a release with the chart's defaults. Raises InvalidInput when an option is wrong."""
    body = _manifest(config, release_of(config, None), config.namespace)
    plain = json.loads(json.dumps(body))  # without YAML's references to parts that occur twice
    return str(yaml.safe_dump(plain, sort_keys=False, width=1000))


def list_jobs(config: ListConfig) -> int:
    """Print one line a job, the newest last. Raises the errors of the cluster."""
    cluster = Cluster(config.namespace)
    selector = f"app.kubernetes.io/component=job,app.kubernetes.io/instance={config.release}"
    found = sorted(cluster.objects("rayjobs", selector), key=lambda job: str(job["metadata"]["creationTimestamp"]))
    listed = [_object(job) for job in found]
    if config.json:
        print_json({"jobs": listed})
        return 0
    if not found:
        print(f"release {config.release} has no jobs in namespace {cluster.namespace}")
        return 0
    cells = [(job["name"], job["job"], job["state"], job["created"].replace("T", " ").rstrip("Z")) for job in listed]
    print_columns([("name", "job", "state", "created (UTC)"), *cells])
    return 0


def logs(config: LogsConfig) -> int:
    """Show a job's log. Raises NotFound when there is no such job, or its log no longer exists."""
    cluster = Cluster(config.namespace)
    job = cluster.get("rayjobs", config.name)
    if config.follow and outcome(job) is None:
        return exit_code(config.name, follow_job(cluster, config.name))
    pods = submitters(cluster, config.name)
    if not pods:
        raise NotFound(f"{config.name} ({state(job)}) has no log: its submitter pod does not exist yet, or no longer")
    tail = Tail(show)
    for pod in pods:
        copy(open_log(cluster, pod, follow=False), pod, tail)
    return 0


def cancel(config: CancelConfig) -> int:
    """Delete a RayJob. Raises NotFound when there is none."""
    cluster = Cluster(config.namespace)
    cluster.delete("rayjobs", config.name)
    print(f"cancelled {config.name}; its files stay, and the same job continues from them")
    return 0


def create_job(cluster: Cluster, body: Json) -> str:
    """Create a job and report it; returns its name."""
    name = str(cluster.create("rayjobs", body)["metadata"]["name"])
    report(f"{name}: created in namespace {cluster.namespace}: {body['spec']['entrypoint']}")
    return name


def run_job(cluster: Cluster, body: Json) -> tuple[str, Outcome]:
    """Run a job to its end; returns its name and how it ended.

    Where the Job that owns it has run or runs the same command already, because another pod of that Job was here
    before, it is followed and not created again; a failed one is created again.
    """
    name = _earlier(cluster, body)
    if name:
        report(f"{name}: goes on, created by an earlier pod of this run")
    else:
        name = create_job(cluster, body)
    return name, follow_job(cluster, name)


def follow_job(cluster: Cluster, name: str) -> Outcome:
    """Show a job's log until it ends; Ctrl-C leaves it running and prints how to follow or cancel it."""
    try:
        return follow.follow(cluster, name, report, show)
    except KeyboardInterrupt:
        where = f" --namespace {cluster.namespace}"
        report(f"{name} keeps running; follow it with `scot cluster logs {name}{where}`, or stop it with")
        report(f"`scot cluster cancel {name}{where}`")
        raise
    except ScotError:
        report(f"{name} may still run: scot cluster list")
        raise


def exit_code(name: str, ended: Outcome) -> int:
    """Report how a job ended; returns the exit code."""
    report(f"{name}: {ended.summary}")
    return 0 if ended.succeeded else 1


def report(line: str) -> None:
    """Print a line about a job on standard error; the job's own log goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def show(line: str) -> None:
    """Print a line of a job's log."""
    print(line, flush=True)


def _earlier(cluster: Cluster, body: Json) -> str:
    """The name of the newest job of the same owner and command that runs or has succeeded; empty if there is none."""
    owners = [owner["uid"] for owner in body["metadata"].get("ownerReferences", ())]
    if not owners:
        return ""
    selector = ",".join(f"{label}={value}" for label, value in body["metadata"]["labels"].items())
    found = [
        job
        for job in cluster.objects("rayjobs", selector)
        if owners == [owner["uid"] for owner in job["metadata"].get("ownerReferences", ())]
        and job["spec"]["entrypoint"] == body["spec"]["entrypoint"]
        and ((ended := outcome(job)) is None or ended.succeeded)
    ]
    newest = max(found, key=lambda job: str(job["metadata"]["creationTimestamp"]), default=None)
    return str(newest["metadata"]["name"]) if newest else ""


def _manifest(config: SubmitConfig, release: Release, namespace: str) -> Json:
    words = command_of(config, release, config.job, config.job_flags)
    return rayjob.manifest(spec_of(config, config.job, words), release, namespace)


def _object(job: Json) -> Json:
    metadata, ended = job["metadata"], outcome(job)
    return {
        "name": str(metadata["name"]),
        "job": str(metadata["labels"].get("scot/job", "")),
        "state": ended.summary if ended else state(job),
        "succeeded": ended.succeeded if ended else None,  # None: it has not ended
        "created": str(metadata["creationTimestamp"]),
    }
