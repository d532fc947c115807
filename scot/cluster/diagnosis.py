"""Why pods do not run: a sentence for each reason, from their conditions and from what the cluster noted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from scot.cluster.api import Json
from scot.cluster.helm_release import GPU

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


def troubles(pods: Iterable[Json], events: Iterable[Json] = ()) -> list[str]:
    """What keeps these pods from running, and what warnings about them say; empty when all is well."""
    found: list[str] = []
    for pod in pods:
        found += _of_pod(pod)
    found += [said for event in events if (said := _of_event(event))]
    return list(dict.fromkeys(found))


def deaths(pods: Iterable[Json]) -> list[str]:
    """How containers of these pods ended that ran out of memory or crashed."""
    said: list[str] = []
    for pod in pods:
        for status in _statuses(pod):
            for state in (status.get("state") or {}, status.get("lastState") or {}):
                ended = state.get("terminated")
                if ended and ended.get("reason") == "OOMKilled":
                    said.append(f"{_role(pod)} ran out of memory: give it more with --memory (its limit was reached)")
    return list(dict.fromkeys(said))


def _of_pod(pod: Json) -> list[str]:
    said: list[str] = []
    conditions: Sequence[Json] = pod.get("status", {}).get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said.append(_unschedulable(pod, str(condition.get("message", ""))))
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), _line(waiting.get("message", ""))
        if reason in _PULL:
            because = f" ({message})" if message else ""
            said.append(f"the image {status.get('image') or '?'} of {_role(pod)} cannot be pulled{because}")
        elif reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            said.append(f"{_role(pod)} cannot start: {message}")
        elif reason == "CrashLoopBackOff":
            code = ((status.get("lastState") or {}).get("terminated") or {}).get("exitCode", "?")
            said.append(f"{_role(pod)} starts and ends again (exit code {code}): see `kubectl logs {_name(pod)}`")
    return said


def _unschedulable(pod: Json, message: str) -> str:
    if claim := re.search(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)', message):
        gone = "does not exist" if claim[2] == "not found" else "is being deleted"
        return f"{_role(pod)} waits for the PersistentVolumeClaim {claim[1]}, which {gone}: is --release right?"
    if "unbound immediate PersistentVolumeClaims" in message:
        return f"{_role(pod)} waits for a volume: its PersistentVolumeClaim is not bound (is there a storage class?)"
    if f"Insufficient {GPU}" in message:
        return f"{_role(pod)} waits for {_asked(pod, GPU)} GPUs ({GPU}), which no node has free: {_nodes(message)}"
    if shorts := sorted(set(re.findall(r"Insufficient (cpu|memory|ephemeral-storage)", message))):
        wanted = " and ".join(f"{_asked(pod, name)} of {name}" for name in shorts)
        return f"{_role(pod)} waits for {wanted}, which no node has free: {_nodes(message)}"
    return f"{_role(pod)} cannot be placed on a node: {_nodes(message)}"


def _of_event(event: Json) -> str:
    reason, message = str(event.get("reason", "")), _line(event.get("message", ""))
    if event.get("type") != "Warning" or message.endswith("already exists"):  # KubeRay's own races
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


def _asked(pod: Json, resource: str) -> str:
    asked = [c.get("resources", {}).get("requests", {}).get(resource) for c in pod["spec"]["containers"]]
    return " + ".join(str(each) for each in asked if each) or "more"


def _nodes(message: str) -> str:
    """The scheduler's account, without what it says about preemption."""
    return _line(re.split(r"\. (?:preemption:|no new claims)", message)[0]).rstrip(".")


def _line(text: object) -> str:
    return re.sub(r"\s+", " ", str(text)).strip()
