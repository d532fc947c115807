"""The log of a job, from its submitter pods: each line once, even if a connection or a pod is lost.

KubeRay's submitter runs ``ray job submit`` and then ``ray job logs --follow``. When its pod is replaced, the new pod
repeats the log from the beginning. One that found no Ray to submit to has another log.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from scot.cluster.api import Cluster, Json, LogStream
from scot.errors import ScotError

_POLL_S = 1.0
# Lines of the ray command itself: a time and its source file first.
_OF_RAY = re.compile(r"\S+ \S+\s(INFO|SUCC|WARN|ERR|VINFO) [\w<>]+(\.py)?:\d+ -- |Job submission server address: ")


class Tail:
    """Shows each line of a job's log once; it counts the lines that it has shown."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown = 0  # lines of this attempt
        self._pod, self._attempt, self._first = "", "", ""
        self._in_pod = 0  # lines of the job read from this pod
        self._stamp, self._at_stamp = "", 0
        self._skip = 0

    def open(self, pod: str, attempt: str = "") -> None:
        """Start a stream of a pod that may have been read before. Each attempt has its own log."""
        if attempt != self._attempt:
            self._attempt, self._shown = attempt, 0
        if pod != self._pod:
            self._pod, self._in_pod, self._stamp, self._at_stamp = pod, 0, "", 0
        self._skip = self._at_stamp

    def line(self, stamped: str) -> None:
        """Read a line of that stream; its timestamp comes first."""
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
        if self._in_pod == 1 and text != self._first:  # it does not repeat the log of the pod before
            self._first, self._shown = text, 0
        if self._in_pod > self._shown:
            self._shown += 1
            self._show(text.rstrip("\r"))


class LogFollower:
    """Follows a job's log in its own thread until :meth:`finish`."""

    def __init__(self, cluster: Cluster, job: str, show: Callable[[str], None]) -> None:
        self._cluster, self._job, self._tail = cluster, job, Tail(show)
        self._ended = threading.Event()
        self._stream: LogStream | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, name=f"log of {job}")
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """The job has ended: read the rest of the log for at most ``seconds``, then end the thread."""
        self._ended.set()
        self._thread.join(seconds)
        self._stopped = True
        if self._stream is not None:
            self._stream.end()
        self._thread.join()

    def _follow(self) -> None:
        done: set[str] = set()
        while True:
            last_round = self._ended.is_set()
            try:
                for pod in submitters(self._cluster, self._job):
                    name, phase = str(pod["metadata"]["name"]), pod.get("status", {}).get("phase")
                    if name in done or phase not in ("Running", "Succeeded", "Failed"):
                        continue
                    self._read(pod, follow=phase == "Running")
                    if phase != "Running":
                        done.add(name)
            except ScotError:
                pass  # unavailable for a moment, or the pod was just deleted: follow() watches the job's state
            if last_round or self._stopped:
                return
            self._ended.wait(_POLL_S)

    def _read(self, pod: Json, *, follow: bool) -> None:
        self._stream = open_log(self._cluster, pod, follow=follow)
        if not self._stopped:
            copy(self._stream, pod, self._tail)
        self._stream = None


def submitters(cluster: Cluster, job: str) -> list[Json]:
    """The submitter pods of a job, oldest first."""
    pods = cluster.pods(f"batch.kubernetes.io/job-name={job}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def open_log(cluster: Cluster, pod: Json, *, follow: bool) -> LogStream:
    """The log of a pod's only container. Raises the errors of :meth:`Cluster.log`."""
    return cluster.log(str(pod["metadata"]["name"]), str(pod["spec"]["containers"][0]["name"]), follow=follow)


def copy(stream: LogStream, pod: Json, tail: Tail) -> None:
    """Show the new lines of a pod's stream. Raises Unavailable when the connection is lost."""
    env = pod["spec"]["containers"][0].get("env") or ()
    attempt = next((str(each.get("value")) for each in env if each["name"] == "RAY_JOB_SUBMISSION_ID"), "")
    tail.open(str(pod["metadata"]["name"]), attempt)
    for line in stream:
        tail.line(line)
