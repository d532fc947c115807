"""Follow a RayJob until it ends: its states, its log, and the reasons why its pods do not run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from scot.cluster import diagnosis, job_result
from scot.cluster.api import Cluster, Json
from scot.cluster.job_status import Outcome, outcome, state
from scot.cluster.logs import LogFollower, submitters
from scot.errors import NotFound, ScotError, Unavailable

_POLL_S = 5  # seconds without a change after which the job and its pods are read again
_UNAVAILABLE_S = 600  # seconds that the API server may be unavailable
_LAST_LINES_S = 15  # seconds to wait for the last lines of a log


def follow(cluster: Cluster, name: str, report: Callable[[str], None], show: Callable[[str], None]) -> Outcome:
    """Wait until a job ends; its outcome, with the result that it wrote to its log.

    Args:
        cluster: where it runs.
        name: the RayJob.
        report: receives lines about the job: states, and reasons why it waits.
        show: receives lines of the job's own log.

    Raises:
        NotFound: there is no such job.
        Unavailable: the API server was unavailable for ten minutes.
    """
    job = cluster.get("rayjobs", name)
    result: Json | None = None

    def read(line: str) -> None:
        nonlocal result
        if (found := job_result.read(line)) is None:
            show(line)
        else:
            result = found

    log = LogFollower(cluster, name, read)
    last, reported = "", set[str]()
    try:
        while True:
            if ended := outcome(job):
                log.finish(_LAST_LINES_S)
                return replace(_with_causes(cluster, job, ended), result=result)
            if (now := state(job)) != last:
                last = now
                report(f"{name}: {now}")
            for problem in _problems(cluster, job):
                if problem not in reported:
                    reported.add(problem)
                    report(f"{name}: {problem}")
            try:
                job = _next(cluster, job, report)
            except NotFound:
                return Outcome(False, "was deleted before it ended")
    finally:
        log.finish(0)


def _pods_of(cluster: Cluster, job: Json) -> list[Json]:
    """The pods of a job: its Ray cluster's and its submitter's."""
    ray = (job.get("status") or {}).get("rayClusterName")
    own = cluster.pods(f"ray.io/cluster={ray}") if ray else []
    return own + submitters(cluster, str(job["metadata"]["name"]))


def _problems(cluster: Cluster, job: Json) -> list[str]:
    name, ray = str(job["metadata"]["name"]), (job.get("status") or {}).get("rayClusterName")
    try:
        pods = _pods_of(cluster, job)
        pending = [pod for pod in pods if pod.get("status", {}).get("phase") == "Pending"]
        events = [*cluster.events("RayJob", name), *cluster.events("Job", name)]
        events += cluster.events("RayCluster", str(ray)) if ray else []
        for pod in pending:
            events += cluster.events("Pod", str(pod["metadata"]["name"]))
    except ScotError:
        return []  # read again after the next change
    return diagnosis.problems(pods, events)


def _next(cluster: Cluster, job: Json, report: Callable[[str], None]) -> Json:
    """The job after a change, or after some seconds; a lost watch or server is tried again."""
    name, version = str(job["metadata"]["name"]), str(job["metadata"]["resourceVersion"])
    unavailable_since = 0.0
    try:
        with cluster.translated_errors():
            cluster.wait_for_change("rayjobs", name, version, _POLL_S)
    except ScotError:
        time.sleep(1)  # the watch is lost, or the version is too old: reading the object again resolves both
    while True:
        try:
            return cluster.get("rayjobs", name)
        except Unavailable:
            if unavailable_since == 0.0:
                unavailable_since = time.monotonic()
                report("the cluster's API server is unavailable; trying again")
            elif time.monotonic() - unavailable_since > _UNAVAILABLE_S:
                raise
            time.sleep(2)


def _with_causes(cluster: Cluster, job: Json, ended: Outcome) -> Outcome:
    if ended.succeeded:
        return ended
    try:
        causes = diagnosis.failures(_pods_of(cluster, job))
    except ScotError:
        return ended
    return Outcome(False, "; ".join([ended.summary, *causes]))
