"""Wait for a RayJob: its states, its log and what is in its way, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from scot.cluster import diagnosis
from scot.cluster.api import Cluster, Json
from scot.cluster.job_status import Outcome, Progress, outcome
from scot.cluster.logs import LogFollower, submitters
from scot.errors import NotFound, ScotError, Unavailable

_LOOK_S = 5  # seconds without a change after which pods are looked at
_AWAY_S = 600  # seconds that the API server may be away
_TAIL_S = 15  # seconds for the last lines of a log


def follow(cluster: Cluster, name: str, say: Callable[[str], None], show: Callable[[str], None]) -> Outcome:
    """Wait until a job ends.

    Args:
        cluster: where it runs.
        name: the RayJob.
        say: gets lines about the job: states, and reasons why it waits.
        show: gets lines of the job's own log.

    Raises:
        NotFound: there is no such job.
        Unavailable: the API server was away for ten minutes.
    """
    progress, said = Progress(), set[str]()
    job = cluster.get("rayjobs", name)
    log = LogFollower(cluster, name, show)
    try:
        while True:
            if ended := outcome(job):
                log.finish(_TAIL_S)
                return _explained(cluster, job, ended)
            if line := progress.change(job):
                say(f"{name}: {line}")
            for trouble in _troubles(cluster, job):
                if trouble not in said:
                    said.add(trouble)
                    say(f"{name}: {trouble}")
            try:
                job = _next(cluster, job, say)
            except NotFound:
                return Outcome(False, "was deleted before it ended")
    finally:
        log.finish(0)


def pods_of(cluster: Cluster, job: Json) -> list[Json]:
    """The pods of a job: its Ray cluster's and its submitter's."""
    ray = (job.get("status") or {}).get("rayClusterName")
    own = cluster.pods(f"ray.io/cluster={ray}") if ray else []
    return own + submitters(cluster, str(job["metadata"]["name"]))


def _troubles(cluster: Cluster, job: Json) -> list[str]:
    name, ray = str(job["metadata"]["name"]), (job.get("status") or {}).get("rayClusterName")
    try:
        pods = pods_of(cluster, job)
        waiting = [pod for pod in pods if pod.get("status", {}).get("phase") == "Pending"]
        events = [*cluster.events("RayJob", name), *cluster.events("Job", name)]
        events += cluster.events("RayCluster", str(ray)) if ray else []
        for pod in waiting:
            events += cluster.events("Pod", str(pod["metadata"]["name"]))
    except ScotError:
        return []  # the next look will tell
    return diagnosis.troubles(pods, events)


def _next(cluster: Cluster, job: Json, say: Callable[[str], None]) -> Json:
    """The job after a change, or after some seconds; a watch or a server that is lost is tried again."""
    name, version = str(job["metadata"]["name"]), str(job["metadata"]["resourceVersion"])
    away = 0.0
    try:
        with cluster.saying():
            cluster.changed("rayjobs", name, version, _LOOK_S)
    except ScotError:
        time.sleep(1)  # lost, or the version is too old: reading the object anew settles either
    while True:
        try:
            return cluster.get("rayjobs", name)
        except Unavailable:
            if away == 0.0:
                away = time.monotonic()
                say("the cluster's API server is away; trying again")
            elif time.monotonic() - away > _AWAY_S:
                raise
            time.sleep(2)


def _explained(cluster: Cluster, job: Json, ended: Outcome) -> Outcome:
    if ended.succeeded:
        return ended
    try:
        deaths = diagnosis.deaths(pods_of(cluster, job))
    except ScotError:
        return ended
    return Outcome(False, "; ".join([ended.said, *deaths]))
