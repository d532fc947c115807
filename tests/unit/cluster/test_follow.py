"""Waiting for a job through lost watches, an API server that is away, and a job that somebody deletes."""

from __future__ import annotations

from collections.abc import Iterator
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

    def __init__(self, *answers: dict[str, Any] | Exception, pods: list[dict[str, Any]] | None = None) -> None:
        self._answers, self._pods = iter(answers), pods or []
        self.watched: list[str] = []

    def get(self, plural: str, name: str) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changed(self, plural: str, name: str, resource_version: str, seconds: int) -> None:
        self.watched.append(resource_version)
        if len(self.watched) % 2:
            raise Unavailable("the connection is lost")

    def saying(self) -> Any:
        class Nothing:
            def __enter__(self) -> None: ...
            def __exit__(self, *error: object) -> None: ...

        return Nothing()

    def pods(self, selector: str) -> list[dict[str, Any]]:
        return self._pods if selector == "ray.io/cluster=j-c" else []

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        return []

    def log(self, pod: str, container: str, *, follow: bool) -> Iterator[str]:
        return iter(())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module.time, "sleep", lambda seconds: None)


def follow(cluster: Any) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return follow_module.follow(cluster, "j", said.append, lambda line: None), said


def test_lost_watches_and_an_absent_server_are_waited_out() -> None:
    away = [Unavailable("away")] * 3
    cluster = Scripted(
        job("Initializing"),
        *away,
        job("Running", "RUNNING", 2),
        job("Running", "RUNNING", 3),
        job("Complete", "SUCCEEDED"),
    )
    ended, said = follow(cluster)
    assert ended == Outcome(True, "succeeded")
    assert cluster.watched == ["1", "2", "3"]
    assert said == ["j: its Ray cluster starts", "the cluster's API server is away; trying again", "j: running"]


def test_a_server_that_stays_away_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "_AWAY_S", -1)
    with pytest.raises(Unavailable, match="away for good"):
        follow(Scripted(job("Running"), *[Unavailable("away for good")] * 5))


def test_a_job_that_is_deleted_has_not_succeeded() -> None:
    ended, _ = follow(Scripted(job("Running", "RUNNING"), NotFound("gone")))
    assert ended == Outcome(False, "was deleted before it ended")


def test_a_trouble_is_told_once_however_often_it_is_seen() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {
        "metadata": {"name": "h", "labels": {"ray.io/node-type": "head"}},
        "spec": {"containers": []},
        "status": {"phase": "Pending", "containerStatuses": [{"image": "a:1", "state": {"waiting": waiting}}]},
    }
    seen = [job("Initializing", version=version) for version in (1, 2, 3)]
    _, said = follow(Scripted(*seen, job("Failed"), pods=[pod]))
    assert said == ["j: its Ray cluster starts", "j: the image a:1 of the head cannot be pulled (no such image)"]


def test_what_a_person_may_not_do_is_not_tried_again() -> None:
    with pytest.raises(InvalidInput, match="not yours"):
        follow(Scripted(job("Running"), InvalidInput("not yours")))
