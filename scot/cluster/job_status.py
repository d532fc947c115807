"""What a RayJob's status says: the lines to show as it changes, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from scot.cluster.api import Json


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    succeeded: bool
    said: str


class Progress:
    """Reads one RayJob's objects in turn."""

    def __init__(self) -> None:
        self._shown = ""

    def change(self, job: Json) -> str:
        """A line when what the job does has changed since the last time, else nothing."""
        now = state(job)
        if now == self._shown:
            return ""
        self._shown = now
        return now


def state(job: Json) -> str:
    """What a job does now, in a few words."""
    status = job.get("status") or {}
    deployment, ray = str(status.get("jobDeploymentStatus", "")), str(status.get("jobStatus", ""))
    if deployment == "Initializing":
        return "its Ray cluster starts"
    if deployment == "Running":
        return {"": "its Ray cluster runs", "PENDING": "pending", "RUNNING": "running"}.get(ray, ray.lower())
    if deployment == "Retrying":
        return f"failed {_count(status)}; once more"
    known = {"": "accepted", "Complete": ray.lower() or "complete", "ValidationFailed": "refused"}
    return known.get(deployment, deployment.lower())


def outcome(job: Json) -> Outcome | None:
    """How a job ended, None while it goes on."""
    status = job.get("status") or {}
    deployment, ray = status.get("jobDeploymentStatus"), status.get("jobStatus")
    because = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    if deployment == "Complete" and ray == "SUCCEEDED":
        return Outcome(True, "succeeded")
    if deployment == "Complete":
        return Outcome(False, f"ended as {ray or 'unknown'}" + (f" ({because})" if because else ""))
    if deployment == "Failed":
        return Outcome(False, f"failed ({because or 'no reason given'})")
    if deployment == "ValidationFailed":
        return Outcome(False, f"was refused by KubeRay ({because or 'no reason given'})")
    return None


def _count(status: Json) -> str:
    failed = int(status.get("failed") or 1)
    return "once" if failed == 1 else f"{failed} times"
