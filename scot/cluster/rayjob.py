"""The manifest of a RayJob: a Ray cluster that runs one command and is deleted afterwards.

``submissionMode: K8sJobMode`` because of two limits of KubeRay: in SidecarMode the container has no security context,
so the restricted pod security standard rejects it; in HTTPMode the job's log is in no pod's log. KubeRay gives Ray's
token to the submitter pod (``authOptions``).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scot.cluster.api import GROUP, VERSION, Json
from scot.cluster.helm_release import GPU, Owner, Release, Resources
from scot.cluster.jobs import ARTIFACTS

RAY_VERSION = "2.60.0"
_NAME_LENGTH = 47  # KubeRay's limit for a RayJob, with the five characters that the API server appends
_USER = 1000


@dataclass(frozen=True)
class RayJobSpec:
    """What to run and on which pods.

    Without workers the head does the work and has the resources ``pod``. With workers each worker has ``pod``, and the
    head has ``head`` and runs only the job's own process.
    """

    title: str
    """Part of its name: pretrain."""
    words: Sequence[str]
    """The command."""
    pod: Resources
    head: Resources
    num_workers: int = 0
    backoff_limit: int = 0
    ttl_s: int = 300
    start_timeout_s: int = 0
    """Seconds after which it fails if its pods do not run; 0: it waits."""
    owner: Owner | None = None


def entrypoint(words: Sequence[str]) -> str:
    """A command as RayJob's entrypoint.

    The submitter's shell parses it, and ``ray job submit`` quotes its words again for the shell that runs the job.
    Before that, Kubernetes expands ``$(NAME)`` unless the dollar is doubled.
    """
    return shlex.join(words).replace("$", "$$")


def manifest(job: RayJobSpec, release: Release, namespace: str = "") -> Json:
    """The RayJob. The API server appends five characters to its name."""
    labels = {
        "app.kubernetes.io/name": "scot",
        "app.kubernetes.io/instance": release.name,
        "app.kubernetes.io/component": "job",
        "scot/job": job.title,
    }
    room = _NAME_LENGTH - 5 - len(job.title) - 2
    metadata: Json = {"generateName": f"{release.fullname[:room].rstrip('-')}-{job.title.replace('_', '-')}-"}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = labels
    if job.owner is not None:
        metadata["ownerReferences"] = [job.owner.to_json()]
    deadline = {"preRunningDeadlineSeconds": job.start_timeout_s} if job.start_timeout_s else {}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": entrypoint(job.words),
            "submissionMode": "K8sJobMode",
            "backoffLimit": job.backoff_limit,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": job.ttl_s,
            **deadline,
            "rayClusterSpec": _cluster(job, release, labels),
            "submitterPodTemplate": _submitter(release, labels),
        },
    }


def _cluster(job: RayJobSpec, release: Release, labels: Json) -> Json:
    head_only = job.num_workers == 0
    head = job.pod if head_only else job.head
    params = {"dashboard-host": "0.0.0.0", "num-cpus": str(head.cpus) if head_only else "0"}
    spec: Json = {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": params,
            "template": _pod("ray-head", release, resources=head, labels=labels, ports=_HEAD_PORTS),
        },
    }
    if not head_only:
        spec["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": job.num_workers,
                "minReplicas": job.num_workers,
                "maxReplicas": job.num_workers,
                "rayStartParams": {"num-cpus": str(job.pod.cpus)},
                "template": _pod("ray-worker", release, resources=job.pod, labels=labels, ports=_WORKER_PORTS),
            }
        ]
    return spec


def _pod(name: str, release: Release, *, resources: Resources, labels: Json, ports: Mapping[str, int]) -> Json:
    shared_memory = {"emptyDir": {"medium": "Memory", "sizeLimit": f"{resources.mebibytes * 2 // 5}Mi"}}
    volumes = [{"name": "dshm", **shared_memory}]
    mounts = [{"name": "dshm", "mountPath": "/dev/shm"}]
    if release.artifacts is not None:
        volumes.append({"name": "artifacts", **release.artifacts})
        mounts.append({"name": "artifacts", "mountPath": ARTIFACTS})
    own = [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()]
    container: Json = {
        "name": name,
        "image": release.image,
        "imagePullPolicy": release.pull_policy,
        "env": [*own, *release.env],
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
        "resources": resources.to_json(),
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    if release.env_from:
        container["envFrom"] = [*release.env_from]
    spec = _spec(container, release)
    spec["volumes"] = volumes
    if release.affinity is not None:
        spec["affinity"] = release.affinity
    if resources.gpus:
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return {"metadata": {"labels": {**labels, **release.labels}}, "spec": spec}


def _submitter(release: Release, labels: Json) -> Json:
    container: Json = {
        "name": "submitter",
        "image": release.image,
        "imagePullPolicy": release.pull_policy,
        "env": [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": _CONTAINER_SECURITY,
    }
    return {"metadata": {"labels": labels}, "spec": {**_spec(container, release), "restartPolicy": "Never"}}


def _spec(container: Json, release: Release) -> Json:
    spec: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named scot would set SCOT_PORT, which is a flag
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if release.pull_secrets:
        spec["imagePullSecrets"] = [*release.pull_secrets]
    return spec


# RAY_AUTH_MODE is set because the defaults of Ray's components differ.
_ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
_CONTAINER_SECURITY: Json = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
_WORKER_PORTS = {"metrics": 8080}
