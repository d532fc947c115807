"""The state of a RayJob and its outcome, from its status."""

from __future__ import annotations

from dataclasses import dataclass

from scot.cluster.api import Json


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, and the result that it wrote (:mod:`scot.cluster.job_result`)."""

    succeeded: bool
    summary: str
    result: Json | None = None


def state(job: Json) -> str:
    """What a job does now, in a few words."""
    status = job.get("status") or {}
    deployment, ray = str(status.get("jobDeploymentStatus", "")), str(status.get("jobStatus", ""))
    if deployment == "Initializing":
        return "its Ray cluster starts"
    if deployment == "Running":
        return {"": "its Ray cluster runs", "PENDING": "pending", "RUNNING": "running"}.get(ray, "ending")
    if deployment == "Retrying":
        failed = int(status.get("failed") or 1)
        return f"failed {'once' if failed == 1 else f'{failed} times'}; retrying"
    known = {"": "accepted", "Complete": ray.lower() or "complete", "ValidationFailed": "rejected"}
    return known.get(deployment, deployment.lower())


def outcome(job: Json) -> Outcome | None:
    """How a job ended, None while it runs."""
    status = job.get("status") or {}
    deployment, ray = status.get("jobDeploymentStatus"), status.get("jobStatus")
    message = str(status.get("message") or "").partition(", last available logs")[0]  # Ray repeats the job's log
    reason = ": ".join(filter(None, (str(status.get("reason") or ""), message)))
    if deployment == "Complete" and ray == "SUCCEEDED":
        return Outcome(True, "succeeded")
    if deployment == "Complete":
        return Outcome(False, f"ended as {ray or 'unknown'}" + (f" ({reason})" if reason else ""))
    if deployment == "Failed":
        return Outcome(False, f"failed ({reason or 'no reason given'})")
    if deployment == "ValidationFailed":
        return Outcome(False, f"was rejected by KubeRay ({reason or 'no reason given'})")
    return None
