"""The log of a job, from the pods that submit it: each line once, whatever connection or pod is lost on the way.

KubeRay's submitter runs ``ray job submit`` and then ``ray job logs --follow``. When its pod is replaced, the next one
tells everything from the beginning again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from scot.cluster.api import Cluster, Json, LogStream
from scot.errors import ScotError

_WAIT_S = 1.0
# What the ray command itself says, with a time and its file before it.
_OF_RAY = re.compile(r"\S+ \S+\s(INFO|SUCC|WARN|ERR|VINFO) [\w<>]+(\.py)?:\d+ -- |Job submission server address: ")


class Tail:
    """Which lines were shown."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._lines = 0  # of this attempt, shown
        self._pod, self._attempt = "", ""
        self._in_pod = 0  # of the job, seen in this pod
        self._stamp, self._at_stamp = "", 0
        self._skip = 0

    def open(self, pod: str, attempt: str = "") -> None:
        """A stream begins, of a pod that may have been read before. Another attempt has a log of its own."""
        if attempt != self._attempt:
            self._attempt, self._lines = attempt, 0
        if pod != self._pod:
            self._pod, self._in_pod, self._stamp, self._at_stamp = pod, 0, "", 0
        self._skip = self._at_stamp

    def line(self, stamped: str) -> None:
        """A line of that stream, beginning with its time."""
        stamp, _, text = stamped.partition(" ")
        if stamp < self._stamp:
            return
        if stamp == self._stamp and self._skip:
            self._skip -= 1
            return
        if stamp == self._stamp:
            self._at_stamp += 1
        else:
            self._stamp, self._at_stamp, self._skip = stamp, 1, 0
        if _OF_RAY.match(text):
            return
        self._in_pod += 1
        if self._in_pod > self._lines:
            self._lines += 1
            self._show(text.rstrip("\r"))


class LogFollower:
    """Follows a job's log in a thread of its own, until it is told that the job has ended."""

    def __init__(self, cluster: Cluster, job: str, show: Callable[[str], None]) -> None:
        self._cluster, self._job, self._tail = cluster, job, Tail(show)
        self._ended = threading.Event()
        self._stream: LogStream | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, name=f"log of {job}")
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Nobody waits any more: read what is left, for so long at most, and end the thread."""
        self._ended.set()
        self._thread.join(seconds)
        self._stopped = True
        if self._stream is not None:
            self._stream.end()
        self._thread.join()

    def _follow(self) -> None:
        done: set[str] = set()
        while True:
            last_look = self._ended.is_set()
            try:
                for pod in submitters(self._cluster, self._job):
                    name, phase = str(pod["metadata"]["name"]), pod.get("status", {}).get("phase")
                    if name in done or phase not in ("Running", "Succeeded", "Failed"):
                        continue
                    self._read(pod, follow=phase == "Running")
                    if phase != "Running":
                        done.add(name)
            except ScotError:
                pass  # away for a moment, or the pod has just gone: the job's state is watched elsewhere
            if last_look or self._stopped:
                return
            self._ended.wait(_WAIT_S)

    def _read(self, pod: Json, *, follow: bool) -> None:
        self._stream = opened(self._cluster, pod, follow=follow)
        if not self._stopped:
            copy(self._stream, pod, self._tail)
        self._stream = None


def submitters(cluster: Cluster, job: str) -> list[Json]:
    """The pods that submit a job, oldest first."""
    pods = cluster.pods(f"batch.kubernetes.io/job-name={job}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def opened(cluster: Cluster, pod: Json, *, follow: bool) -> LogStream:
    """The log of a pod's one container. Raises what :meth:`Cluster.log` does."""
    return cluster.log(str(pod["metadata"]["name"]), str(pod["spec"]["containers"][0]["name"]), follow=follow)


def copy(stream: LogStream, pod: Json, tail: Tail) -> None:
    """Show what is new in a pod's stream. Raises Unavailable when the connection is lost."""
    env = pod["spec"]["containers"][0].get("env") or ()
    attempt = next((str(each.get("value")) for each in env if each["name"] == "RAY_JOB_SUBMISSION_ID"), "")
    tail.open(str(pod["metadata"]["name"]), attempt)
    for line in stream:
        tail.line(line)
