"""Why pods do not run or failed: a sentence for each reason, from their conditions, statuses and events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from scot.cluster.api import Json
from scot.cluster.helm_release import GPU

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


def problems(pods: Iterable[Json], events: Iterable[Json] = ()) -> list[str]:
    """Why these pods do not run, and the warnings about them; empty when there is no problem."""
    found: list[str] = []
    for pod in pods:
        found += _of_pod(pod)
    found += [warning for event in events if (warning := _of_event(event))]
    return list(dict.fromkeys(found))


def failures(pods: Iterable[Json]) -> list[str]:
    """A sentence for each container of these pods that ran out of memory."""
    found: list[str] = []
    for pod in pods:
        for status in _statuses(pod):
            for state in (status.get("state") or {}, status.get("lastState") or {}):
                ended = state.get("terminated")
                if ended and ended.get("reason") == "OOMKilled":
                    found.append(f"{_role(pod)} ran out of memory: its limit was reached, raise --memory")
    return list(dict.fromkeys(found))


def _of_pod(pod: Json) -> list[str]:
    found: list[str] = []
    conditions: Sequence[Json] = pod.get("status", {}).get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found.append(_unschedulable(pod, str(condition.get("message", ""))))
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), _line(waiting.get("message", ""))
        if reason in _PULL:
            because = f" ({message})" if message else ""
            found.append(f"the image {status.get('image') or '?'} of {_role(pod)} cannot be pulled{because}")
        elif reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            found.append(f"{_role(pod)} cannot start: {message}")
        elif reason == "CrashLoopBackOff":
            code = ((status.get("lastState") or {}).get("terminated") or {}).get("exitCode", "?")
            found.append(f"{_role(pod)} keeps restarting (exit code {code}): see `kubectl logs {_name(pod)}`")
    return found


def _unschedulable(pod: Json, message: str) -> str:
    if claim := re.search(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)', message):
        gone = "does not exist" if claim[2] == "not found" else "is being deleted"
        return f"{_role(pod)} waits for the PersistentVolumeClaim {claim[1]}, which {gone}: check --release"
    if "unbound immediate PersistentVolumeClaims" in message:
        return f"{_role(pod)} waits for a volume: its PersistentVolumeClaim is not bound: check the storage class"
    if f"Insufficient {GPU}" in message:
        return f"{_role(pod)} waits for {_requested(pod, GPU)} GPUs ({GPU}), which no node has free: {_nodes(message)}"
    if shorts := sorted(set(re.findall(r"Insufficient (cpu|memory|ephemeral-storage)", message))):
        requested = " and ".join(f"{_requested(pod, name)} of {name}" for name in shorts)
        return f"{_role(pod)} waits for {requested}, which no node has free: {_nodes(message)}"
    return f"{_role(pod)} cannot be placed on a node: {_nodes(message)}"


def _of_event(event: Json) -> str:
    reason, message = str(event.get("reason", "")), _line(event.get("message", ""))
    if event.get("type") != "Warning" or message.endswith("already exists"):  # from races inside KubeRay
        return ""
    if reason.startswith("FailedToCreate") or reason in ("FailedCreate", "FailedMount", "FailedAttachVolume"):
        return message
    return message if reason.startswith("InvalidRay") else ""


def _statuses(pod: Json) -> list[Json]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _role(pod: Json) -> str:
    kind = (pod["metadata"].get("labels") or {}).get("ray.io/node-type")
    return {"head": "the head", "worker": "a worker"}.get(str(kind), "the submitter")


def _name(pod: Json) -> str:
    return str(pod["metadata"].get("name", "?"))


def _requested(pod: Json, resource: str) -> str:
    requests = [c.get("resources", {}).get("requests", {}).get(resource) for c in pod["spec"]["containers"]]
    return " + ".join(str(each) for each in requests if each) or "more"


def _nodes(message: str) -> str:
    """The scheduler's message, without its part about preemption."""
    return _line(re.split(r"\. (?:preemption:|no new claims)", message)[0]).rstrip(".")


def _line(text: object) -> str:
    return re.sub(r"\s+", " ", str(text)).strip()
