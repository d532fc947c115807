"""A helm release of SCOT: its names, and what the head pod of its RayService runs and mounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from scot import __version__
from scot.cluster.api import Json
from scot.cluster.jobs import ARTIFACTS
from scot.errors import InvalidFlag, InvalidInput

VOLUME_LABEL = "scot/artifacts"  # by which the chart puts the pods of one volume on one node
APPLICATION, COMPOSER = "search", "Composer"  # in serveConfigV2


def fullname(release: str, override: str = "") -> str:
    """The prefix of a release's objects, as the chart makes it: ``scot`` stays, ``prod`` becomes ``prod-scot``.

    Raises:
        InvalidInput: ``release`` is not a valid name.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", release):
        raise InvalidFlag(f"--release {release!r} is not a valid name of a helm release")
    lettered = f"scot-{release}" if release[0].isdecimal() else release  # the name of a Service begins with a letter
    return (override or (lettered if "scot" in lettered else f"{lettered}-scot"))[:40].rstrip("-")


@dataclass(frozen=True)
class Release:
    """What jobs share with the service of their release: image, artifacts, credentials."""

    name: str
    fullname: str
    """The prefix of its objects."""
    image: str = f"scot/search:{__version__}"
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[Json, ...] = ()
    env: tuple[Json, ...] = ()
    """Credentials, proxies and such, without the settings of Ray and of the service."""
    env_from: tuple[Json, ...] = ()
    artifacts: Json | None = None
    """The source of the volume at /artifacts; None with an object store."""
    root: str = ARTIFACTS
    """Where the artifacts are: a folder in the pods, or a URL."""
    qdrant: str = ""
    encoder: str = "tiny"
    affinity: Json | None = None
    labels: Json = field(default_factory=dict)
    """Labels of the pods that mount the artifacts; pod affinity uses them when one node alone can mount the volume."""

    @classmethod
    def assumed(cls, name: str, override: str = "") -> Release:
        """A release with the chart's defaults, without contacting a cluster."""
        prefix = fullname(name, override)
        claim = {"persistentVolumeClaim": {"claimName": f"{prefix}-artifacts"}}
        return cls(name, prefix, artifacts=claim, qdrant=f"http://{prefix}-qdrant:6333")

    @classmethod
    def of(cls, name: str, service: Json) -> Release:
        """The release of a RayService.

        Raises:
            InvalidInput: it has no head container, or its serveConfigV2 cannot be read.
        """
        try:
            template = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
            pod = template["spec"]
            container = pod["containers"][0]
            image = str(container["image"])
        except (KeyError, IndexError, TypeError) as error:
            raise InvalidInput(f"the RayService of release {name} has no head container with an image") from error
        arguments = application(serve_config(service)).get("args") or {}
        mounted = next((m["name"] for m in container.get("volumeMounts", []) if m["mountPath"] == ARTIFACTS), None)
        volume = next((v for v in pod.get("volumes", []) if v["name"] == mounted), None)
        pod_affinity = (pod.get("affinity") or {}).get("podAffinity")
        return cls(
            name,
            str(service["metadata"]["name"]),
            image=image,
            pull_policy=str(container.get("imagePullPolicy", "IfNotPresent")),
            pull_secrets=tuple(pod.get("imagePullSecrets", ())),
            env=tuple(each for each in container.get("env", ()) if _shared(each)),
            env_from=tuple(container.get("envFrom", ())),
            artifacts={key: value for key, value in volume.items() if key != "name"} if volume else None,
            root=str(arguments.get("composers") or f"{ARTIFACTS}/composers").removesuffix("/composers"),
            qdrant=str(arguments.get("qdrant_url") or ""),
            encoder=str(arguments.get("encoder") or "tiny"),
            affinity={"podAffinity": pod_affinity} if pod_affinity else None,
            labels={k: v for k, v in (template.get("metadata", {}).get("labels") or {}).items() if k == VOLUME_LABEL},
        )


@dataclass(frozen=True)
class Resources:
    """What a pod may use: whole CPUs, a Kubernetes quantity of memory, whole GPUs."""

    cpus: int
    memory: str
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus < 0:
            raise InvalidInput(f"CPUs must be at least 1 and GPUs at least 0, not {self.cpus} and {self.gpus}")
        if self.mebibytes < 512:
            raise InvalidInput(f"{self.memory} of memory is too little for Ray, which needs at least 512Mi")

    @property
    def mebibytes(self) -> int:
        """The memory in MiB."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(Mi|Gi|Ti|M|G|T)", self.memory)
        if match is None:
            raise InvalidInput(f"memory {self.memory!r} is not a size such as 8Gi or 512Mi")
        return int(float(match[1]) * _UNITS[match[2]])

    def to_json(self) -> Json:
        """``resources`` of a container. The request limits memory; CPUs have no limit: idle ones are shared."""
        gpus = {GPU: str(self.gpus)} if self.gpus else {}
        return {
            "requests": {"cpu": str(self.cpus), "memory": self.memory, **gpus},
            "limits": {"memory": self.memory, **gpus},
        }


GPU = "nvidia.com/gpu"
_UNITS = {"Mi": 1.0, "Gi": 1024.0, "Ti": 1024.0**2, "M": 1e6 / 2**20, "G": 1e9 / 2**20, "T": 1e12 / 2**20}


@dataclass(frozen=True)
class Owner:
    """The batch Job that owns jobs: Kubernetes deletes them with it."""

    name: str
    uid: str

    def to_json(self) -> Json:
        """An entry of ``ownerReferences``."""
        return {"apiVersion": "batch/v1", "kind": "Job", "name": self.name, "uid": self.uid}


def serve_config(service: Json) -> Json:
    """A RayService's ``serveConfigV2``. Raises InvalidInput when it is not a YAML mapping."""
    try:
        config = yaml.safe_load(str(service["spec"].get("serveConfigV2", "")))
    except yaml.YAMLError as error:
        raise InvalidInput("the RayService's serveConfigV2 is not valid YAML") from error
    if not isinstance(config, dict):
        raise InvalidInput("the RayService has no serveConfigV2")
    return config


def application(config: Json) -> Json:
    """The search application of a Serve config, empty when there is none."""
    return _named(config.get("applications"), APPLICATION) or {}


def default_composer(config: Json) -> str:
    """``user_config.default`` of deployment Composer, ``""`` for the version that the registry has released."""
    deployment = _named(application(config).get("deployments"), COMPOSER) or {}
    return str((deployment.get("user_config") or {}).get("default", ""))


def with_default_composer(config: Json, version: str) -> str:
    """The Serve config as YAML, with ``user_config.default`` of Composer set and all else as it was.

    Raises:
        InvalidInput: there is no application named search with deployments.
    """
    found = application(config)
    deployments = found.setdefault("deployments", []) if found else None
    if not isinstance(deployments, list):
        raise InvalidInput(f"the RayService's serveConfigV2 has no application {APPLICATION!r} to promote in")
    deployment = _named(deployments, COMPOSER)
    if deployment is None:
        deployment = {"name": COMPOSER}
        deployments.append(deployment)
    deployment["user_config"] = {**(deployment.get("user_config") or {}), "default": version}
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000))


def _named(entries: Any, name: str) -> Json | None:
    return next((each for each in entries or () if isinstance(each, dict) and each.get("name") == name), None)


def _shared(variable: Mapping[str, Any]) -> bool:
    """Whether jobs take a variable of the service's head: secrets and proxies, but no setting of Ray or SCOT."""
    name = str(variable["name"])
    if name.startswith("RAY_"):
        return False
    return not name.startswith("SCOT_") or "secretKeyRef" in (variable.get("valueFrom") or {})
