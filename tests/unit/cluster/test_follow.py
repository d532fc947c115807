"""Waiting for a job through lost watches, an unavailable API server, and a job that somebody deletes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from scot.cluster import follow as follow_module
from scot.cluster.job_status import Outcome
from scot.errors import InvalidInput, NotFound, Unavailable


def job(deployment: str, ray: str = "", version: int = 1) -> dict[str, Any]:
    status = {"jobDeploymentStatus": deployment, "jobStatus": ray, "rayClusterName": "j-c"}
    return {"metadata": {"name": "j", "resourceVersion": str(version)}, "status": status}


class Scripted:
    """An API server that answers as written: objects, or errors in their place."""

    namespace = "n"

    def __init__(
        self, *answers: dict[str, Any] | Exception, pods: list[dict[str, Any]] | None = None, log: Sequence[str] = ()
    ) -> None:
        self._answers, self._pods, self._log = iter(answers), pods or [], log
        self.watched: list[str] = []

    def get(self, plural: str, name: str) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for_change(self, plural: str, name: str, resource_version: str, seconds: int) -> None:
        self.watched.append(resource_version)
        if len(self.watched) % 2:
            raise Unavailable("the connection is lost")

    def translated_errors(self) -> Any:
        class Nothing:
            def __enter__(self) -> None: ...
            def __exit__(self, *error: object) -> None: ...

        return Nothing()

    def pods(self, selector: str) -> list[dict[str, Any]]:
        submitter = {
            "metadata": {"name": "s"},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"phase": "Succeeded"},
        }
        if selector == "batch.kubernetes.io/job-name=j":
            return [submitter] if self._log else []
        return self._pods if selector == "ray.io/cluster=j-c" else []

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        return []

    def log(self, pod: str, container: str, *, follow: bool) -> Iterator[str]:
        return (f"0{number}Z {line}" for number, line in enumerate(self._log))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module.time, "sleep", lambda seconds: None)  # type: ignore[attr-defined]


def follow(cluster: Any) -> tuple[Outcome, list[str]]:
    reported: list[str] = []
    return follow_module.follow(cluster, "j", reported.append, lambda line: None), reported


def test_lost_watches_and_an_unavailable_server_are_waited_out() -> None:
    unavailable = [Unavailable("unavailable")] * 3
    cluster = Scripted(
        job("Initializing"),
        *unavailable,
        job("Running", "RUNNING", 2),
        job("Running", "RUNNING", 3),
        job("Complete", "SUCCEEDED"),
    )
    ended, reported = follow(cluster)
    assert ended == Outcome(True, "succeeded")
    assert cluster.watched == ["1", "2", "3"]
    assert reported == [
        "j: its Ray cluster starts",
        "the cluster's API server is unavailable; trying again",
        "j: running",
    ]


def test_a_server_that_stays_unavailable_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "_UNAVAILABLE_S", -1)
    with pytest.raises(Unavailable, match="unavailable for good"):
        follow(Scripted(job("Running"), *[Unavailable("unavailable for good")] * 5))


def test_a_job_that_is_deleted_has_not_succeeded() -> None:
    ended, _ = follow(Scripted(job("Running", "RUNNING"), NotFound("gone")))
    assert ended == Outcome(False, "was deleted before it ended")


def test_a_problem_is_reported_once_however_often_it_is_read() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {
        "metadata": {"name": "h", "labels": {"ray.io/node-type": "head"}},
        "spec": {"containers": []},
        "status": {"phase": "Pending", "containerStatuses": [{"image": "a:1", "state": {"waiting": waiting}}]},
    }
    jobs = [job("Initializing", version=version) for version in (1, 2, 3)]
    _, reported = follow(Scripted(*jobs, job("Failed"), pods=[pod]))
    assert reported == ["j: its Ray cluster starts", "j: the image a:1 of the head cannot be pulled (no such image)"]


def test_what_a_person_may_not_do_is_not_tried_again() -> None:
    with pytest.raises(InvalidInput, match="not yours"):
        follow(Scripted(job("Running"), InvalidInput("not yours")))


@pytest.mark.parametrize("ended", ["Complete", "Failed"])
def test_the_result_in_the_log_is_part_of_the_outcome_and_is_not_shown(ended: str) -> None:
    shown: list[str] = []
    lines = ["step 1", '{"scot_result": {"version": "v1"}}', '{"scot_result": {"version": "v2"}}', "step 2"]
    cluster: Any = Scripted(job("Running", "RUNNING"), job(ended, "SUCCEEDED"), log=lines)
    outcome = follow_module.follow(cluster, "j", lambda line: None, shown.append)
    assert (outcome.succeeded, outcome.result) == (ended == "Complete", {"version": "v2"})
    assert shown == ["step 1", "step 2"]
