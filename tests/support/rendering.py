"""The chart, rendered by Helm's own engine without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

HELM = Path(__file__).resolve().parents[2] / "helm"
VALUES_FILES = ("values.yaml", "values-local.yaml", "values-gpu.yaml", "values-external-qdrant.yaml", "values-ha.yaml")

Objects = list[dict[str, Any]]


def values_of(name: str) -> dict[str, Any]:
    """A values file of the chart."""
    found: dict[str, Any] = yaml.safe_load((HELM / name).read_text(encoding="utf-8"))
    return found


def render(
    values: Mapping[str, Any] | None = None, *, file: str = "values.yaml", name: str = "scot", checks: bool = False
) -> Objects:
    """Every object of a release, with a values file and more values over it.

    Raises:
        helm_python.HelmError: the values are refused by the schema or by the chart's own checks.
    """
    with helm_python.Chart.load(str(HELM)) as chart:
        merged = _merged(values, file) | {"checks": checks}
        chart.validate_schema(merged)
        files = chart.render(merged, name=name, namespace="shop")
    manifests = [text for path, text in sorted(files.items()) if not path.endswith(".txt")]
    return [found for text in manifests for found in yaml.safe_load_all(text) if found]


def notes(values: Mapping[str, Any] | None = None, *, file: str = "values.yaml") -> str:
    """What is said after an install."""
    with helm_python.Chart.load(str(HELM)) as chart:
        files = chart.render(_merged(values, file) | {"checks": False}, name="scot", namespace="shop")
    return next(text for path, text in files.items() if path.endswith("NOTES.txt"))


def _merged(values: Mapping[str, Any] | None, file: str) -> dict[str, Any]:
    return merge({} if file == "values.yaml" else values_of(file), values or {})


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: maps by key, everything else replaced."""
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def kind(objects: Objects, name: str) -> Objects:
    """The objects of a kind."""
    return [found for found in objects if found["kind"] == name]


def only(objects: Objects, name: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = kind(objects, name)
    return found


def pod_templates(objects: Objects) -> dict[str, dict[str, Any]]:
    """Every pod template, by kind and name."""
    templates: dict[str, dict[str, Any]] = {}
    for found in objects:
        name, spec = f"{found['kind']}/{found['metadata']['name']}", found.get("spec", {})
        match found["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                templates[name] = spec["template"]
            case "CronJob":
                templates[name] = spec["jobTemplate"]["spec"]["template"]
            case "Pod":
                templates[name] = found
            case "RayService":
                cluster = spec["rayClusterConfig"]
                templates[f"{name}/head"] = cluster["headGroupSpec"]["template"]
                for group in cluster["workerGroupSpecs"]:
                    templates[f"{name}/{group['groupName']}"] = group["template"]
    return templates
