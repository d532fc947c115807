"""What values.yaml says, twice more: `python helm/reference.py` writes README.md and values.schema.json.

A value's type is that of its default, its description the comment "# -- …" above it; what a type cannot say (an enum, a
pattern, a bound) is in :data:`RULES`. Unknown keys are refused everywhere but in values whose default is ``{}``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent
_URL = "^(https?://[^/ ]+.*)?$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?([EPTGMk]i?|m)?$"
_PULL = ["Always", "IfNotPresent", "Never"]
_MODES = ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]
_SIZE: dict[str, Any] = {"pattern": _QUANTITY}
_COUNT: dict[str, Any] = {"minimum": 0}
_SOME: dict[str, Any] = {"minimum": 1}
_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}

RULES: dict[str, dict[str, Any]] = {
    "fullnameOverride": {"maxLength": 40, "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"},
    "image.pullPolicy": {"enum": _PULL},
    "qdrant.image.pullPolicy": {"enum": _PULL},
    "edits.image.pullPolicy": {"enum": _PULL},
    "search.encoder": {"minLength": 1},
    "search.collection": {"minLength": 1},
    "search.requestTimeoutSeconds": _SOME,
    "search.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "search.service.port": {"minimum": 1, "maximum": 65535},
    "search.gateway.replicas": _SOME,
    "search.gateway.maxOngoingRequests": _SOME,
    "search.gateway.maxQueuedRequests": _SOME,
    "search.composers.replicas": _SOME,
    "search.composers.split": {"additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}},
    "search.encoders.replicas": _SOME,
    "search.composers.gpus": _COUNT,
    "search.encoders.gpus": _COUNT,
    "auth.keys": {"items": {"type": "string", "pattern": "^[0-9a-f]{64}( |$)"}},
    "store.mode": {"enum": ["qdrant", "external", "embedded"]},
    "store.url": {"pattern": _URL},
    "artifacts.url": {"pattern": "^([a-z][a-z0-9+]*://.+)?$"},
    "artifacts.persistence.accessModes": {"items": {"enum": _MODES}, "minItems": 1},
    "artifacts.persistence.size": _SIZE,
    "qdrant.persistence.size": _SIZE,
    "edits.modelCache.accessModes": {"items": {"enum": _MODES}, "minItems": 1},
    "edits.modelCache.size": _SIZE,
    "ray.head.objectStoreMiB": {"minimum": 80},
    "ray.workers.objectStoreMiB": {"minimum": 80},
    "ray.workers.replicas": _SOME,
    "ray.workers.gpus": _COUNT,
    "ray.gcsFaultTolerance.backend": {"enum": ["auto", "rocksdb", "redis", "none"]},
    "ray.gcsFaultTolerance.redisAddress": {"pattern": "^([^:/ ]+:[0-9]+)?$"},
    "ray.oldClusterDeletionDelaySeconds": _COUNT,
    "ray.env": {"items": {"type": "object", "required": ["name"]}},
    "bootstrap.size": {"minimum": 2, "maximum": 10000},
    "bootstrap.queries": _SOME,
    "bootstrap.trainSize": {"minimum": 0, "maximum": 10000},
    "edits.engine": {"enum": ["vllm", "openai", "rules"]},
    "edits.replicas": _COUNT,
    "edits.gpus": _COUNT,
    "edits.autoscaling.kind": {"enum": ["none", "hpa", "keda"]},
    "edits.autoscaling.prometheusAddress": {"pattern": _URL},
    "pipeline.schedule": {"pattern": r"^(@\w+|\S+( \S+){4})$"},
    "pipeline.steps": _SOME,
    "pipeline.flags": {"items": {"type": "string"}},
    "pipeline.source": {"items": {"type": "string"}},
    "monitoring.interval": {"pattern": "^[0-9]+(ms|s|m)$"},
    "monitoring.alerts.disabled": {"items": {"type": "string"}},
    "imagePullSecrets": {"items": {"type": "string"}},
    "extraObjects": {"items": {"type": ["object", "string"]}},
}
_RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES},
}
_DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}


def schema(values: dict[str, Any], path: str = "", said: dict[str, str] | None = None) -> dict[str, Any]:
    """The JSON schema of a map of values."""
    said = said or {}
    properties = {key: _property(f"{path}{key}", value, said) for key, value in values.items()}
    if not path:
        properties["global"] = {"type": "object", "description": "What a parent chart shares; not read"}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(path: str, value: Any, said: dict[str, str]) -> dict[str, Any]:
    name = path.rpartition(".")[2]
    if name == "resources":
        found: dict[str, Any] = dict(_RESOURCES)
    elif name == "digest":
        found = dict(_DIGEST)
    elif isinstance(value, dict) and value and not _free(path):
        return schema(value, f"{path}.", said)
    else:
        found = {"type": _type(value)} | RULES.get(path, {})
    return found | ({"description": said[path]} if path in said else {})


def _free(path: str) -> bool:
    return path.endswith(("annotations", "labels")) and not path.endswith("monitoring.annotations")


def _type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer" if value > 100 else "number"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def descriptions(text: str) -> Iterator[tuple[str, str]]:
    """``(path, comment)`` of every key that has a comment "# -- …" above it, in the order of the file."""
    parents: list[tuple[int, str]] = []
    comment = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*# -- (.*)", line):
            comment = found[1]
        elif found := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):", line):
            indent, key = len(found[1]), found[2]
            parents = [*(parent for parent in parents if parent[0] < indent), (indent, key)]
            if comment:
                yield ".".join(name for _, name in parents), comment
            comment = ""


def readme(values: dict[str, Any], said: dict[str, str]) -> str:
    """README.md: what stays as it is, and the table of values."""
    rows = [f"| `{path}` | `{_shown(values, path)}` | {text} |" for path, text in said.items()]
    return (
        (CHART / "README.md.in")
        .read_text(encoding="utf-8")
        .replace("{{values}}", "\n".join(["| value | default | what it is |", "|---|---|---|", *rows]))
    )


def _shown(values: dict[str, Any], path: str) -> str:
    value: Any = values
    for key in path.split("."):
        value = value[key]
    return json.dumps(value, separators=(", ", ": ")).replace("|", "\\|")


def files() -> dict[Path, str]:
    """Both files as they ought to be. Raises ValueError for a rule of a value that does not exist."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values, said = yaml.safe_load(text), dict(descriptions(text))
    for path in (*RULES, *said):
        _shown(values, path)
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **schema(values, said=said)}
    return {
        CHART / "values.schema.json": json.dumps(whole, indent=2) + "\n",
        CHART / "README.md": readme(values, said),
    }


if __name__ == "__main__":
    for place, content in files().items():
        place.write_text(content, encoding="utf-8")
        print(f"wrote {place}", file=sys.stderr)
