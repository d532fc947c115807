"""What a chart meets elsewhere: numbers for names, long names, quotas, mirrors, namespaces that deny, older values."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

import scot
from scot.cluster.helm_release import fullname
from tests.chart.test_objects import EVERYTHING
from tests.support.rendering import HELM, VALUES_FILES, Objects, kind, merge, only, pod_templates, render, values_of

EARLIER = sorted((Path(__file__).parent / "earlier_values").glob("*.yaml"))
EVERY_IMAGE: dict[str, Any] = merge(
    EVERYTHING, {"redis": {"enabled": True}, "ray": {"gcsFaultTolerance": {"backend": "redis"}}}
)
LONGEST = "a-release-with-the-longest-name-that-helm-itself-allows-x"[:53]


def texts_of(value: object) -> Iterator[object]:
    """Every value of labels, annotations and selectors in an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("labels", "annotations", "matchLabels", "selector") and isinstance(inner, dict):
                yield from (each for each in inner.values() if not isinstance(each, dict | list))
            yield from texts_of(inner)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


@pytest.mark.parametrize("name", ["123", "1e3", "0x1f", "on", "null", LONGEST])
def test_any_name_of_a_release(name: str) -> None:
    objects = render(EVERY_IMAGE, name=name)
    for found in objects:
        assert all(isinstance(text, str) for text in texts_of(found)), found["metadata"]["name"]
        assert len(found["metadata"]["name"]) <= 63
        if found["kind"] in ("Service", "RayService"):
            assert found["metadata"]["name"][0].isalpha()
    assert only(objects, "RayService")["metadata"]["name"] == fullname(name)  # as `scot cluster` finds it


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [(20261130, "20261130"), (20261130.0, "20261130"), (202611300945, "202611300945"), ("1e3", "1e3"), ("007", "007")],
)
def test_a_tag_may_be_a_whole_number(tag: object, wanted: str) -> None:
    """Helm reads whole numbers of a values file as floats."""
    (head,) = pod_templates(render({"image": {"tag": tag}}))["RayService/scot/head"]["spec"]["containers"]
    assert head["image"] == f"scot/search:{wanted}"


def test_a_tag_that_is_a_fraction_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="tag"):
        render({"image": {"tag": 1.1}})


def images(objects: Objects) -> set[str]:
    return {
        container["image"]
        for template in pod_templates(objects).values()
        for container in template["spec"]["containers"] + template["spec"].get("initContainers", [])
    }


@pytest.mark.parametrize("registry", ["mirror.example.com:5000/team", "mirror.example.com:5000/team/"])
def test_one_value_moves_every_image_to_a_mirror(registry: str) -> None:
    values = merge(EVERY_IMAGE, {"qdrant": {"image": {"repository": "ghcr.io/qdrant/qdrant"}}})
    plain, moved = images(render(values)), images(render(values | {"imageRegistry": registry}))
    assert len(plain) == 5
    assert moved == {f"mirror.example.com:5000/team/{image.removeprefix('ghcr.io/')}" for image in plain}
    pinned = render({"imageRegistry": registry, "image": {"digest": "sha256:" + "a" * 64}})
    assert "mirror.example.com:5000/team/scot/search@sha256:" + "a" * 64 in images(pinned)


@pytest.mark.parametrize("file", VALUES_FILES)
def test_a_quota_of_requests_counts_every_container(file: str) -> None:
    """A ResourceQuota of requests, or of the memory limit, refuses a pod with a container that has none."""
    values = merge(EVERY_IMAGE if file == "values.yaml" else {}, {"bootstrap": {"enabled": True}})
    for name, template in pod_templates(render(values, file=file)).items():
        for container in template["spec"]["containers"]:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


PARTS = ("qdrant", "redis", "bootstrap", "edits", "rerank", "web", "pipeline")


def test_a_quota_of_cpu_limits_can_be_met() -> None:
    """CPUs have no limit by default: idle ones are shared. Every limit is a value."""
    limited = {"limits": {"cpu": "2", "memory": "8Gi"}}
    values: dict[str, Any] = merge(
        EVERY_IMAGE,
        {
            **{part: {"resources": limited} for part in PARTS},
            "ray": {part: {"resources": limited} for part in ("head", "workers", "autoscaler")},
        },
    )
    objects = render(values)
    for name, template in pod_templates(objects).items():
        for container in template["spec"]["containers"]:
            assert container["resources"]["limits"].get("cpu") == "2" or name.startswith("Pod/"), name
    options = only(objects, "RayService")["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert options["resources"]["limits"]["cpu"] == "2"


def test_a_namespace_that_denies_by_default() -> None:
    """Every pod may send what it must, and no more; every port that a pod of the release calls is open to it."""
    assert not [each for each in kind(render(), "NetworkPolicy") if "Egress" in each["spec"]["policyTypes"]]
    store = {"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}
    objects = render(merge(EVERY_IMAGE, {"networkPolicy": {"egress": True, "egressTo": [store]}}))
    (policy,) = [each for each in kind(objects, "NetworkPolicy") if "Egress" in each["spec"]["policyTypes"]]
    selector = policy["spec"]["podSelector"]["matchLabels"]
    for name, template in pod_templates(objects).items():
        assert selector.items() <= template["metadata"].get("labels", {}).items(), name
    assert store in policy["spec"]["egress"]
    assert {"port": 53, "protocol": "UDP"} in policy["spec"]["egress"][1]["ports"]
    guarded = {
        each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in kind(objects, "NetworkPolicy")
        if "Ingress" in each["spec"]["policyTypes"]
    }
    assert {"search", "qdrant", "redis", "web"} <= guarded


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda path: path.stem)
@pytest.mark.parametrize("more", [{}, {"ray": {"workers": {"replicas": 2}}, "web": {"enabled": True}}])
def test_an_upgrade_with_the_values_of_an_earlier_chart(earlier: Path, more: dict[str, Any], tmp_path: Path) -> None:
    """--reuse-values renders a new chart with the defaults of the old one, which miss what is new."""
    chart = tmp_path / "chart"
    shutil.copytree(HELM, chart)
    shutil.copy(earlier, chart / "values.yaml")
    with helm_python.Chart.load(str(chart)) as loaded:
        files = loaded.render(more | {"checks": False}, name="scot", namespace="shop")
    old = [
        found for path, text in files.items() if path.endswith(".yaml") for found in yaml.safe_load_all(text) if found
    ]
    wanted = render(more)
    assert without_secrets(old) == without_secrets(wanted)


def without_secrets(objects: Objects) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects if each["kind"] != "Secret"}


def test_what_a_user_takes_out_stays_out() -> None:
    """Helm removes a key whose value is null; it does not come back from the defaults."""
    requests = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}
    objects = render({"web": {"enabled": True, "ingress": {"enabled": True, "host": "h", "annotations": {"a": "b"}}}})
    (ingress,) = kind(objects, "Ingress")
    assert ingress["metadata"]["annotations"]["a"] == "b"
    only_memory = {"ray": {"workers": {"resources": {**requests, "requests": {"cpu": None, "memory": "4Gi"}}}}}
    (worker,) = pod_templates(render(only_memory))["RayService/scot/workers"]["spec"]["containers"]
    assert "cpu" not in {key for key, value in worker["resources"]["requests"].items() if value is not None}


def test_the_defaults_are_the_values() -> None:
    assert values_of("defaults.yaml") == values_of("values.yaml")


def script_of_the_test(values: dict[str, Any] | None = None) -> str:
    (pod,) = [each for each in kind(render(values), "Pod") if each["metadata"]["name"] == "scot-test"]
    return str(pod["spec"]["containers"][0]["args"][0])


@pytest.mark.parametrize(("version", "code"), [("0.0.9", 1), (scot.__version__, 0)])
def test_an_older_image_under_the_tag_is_told(version: str, code: int, tmp_path: Path) -> None:
    program = tmp_path / "scot"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "scot {version}" || true\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for script in (script_of_the_test(), script_of_the_test({"image": {"tag": f"{scot.__version__}-cpu"}})):
        done = subprocess.run(
            ["bash", "-euc", script], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == code
        assert ("0.0.9" in done.stderr) == (code == 1)
    assert "--version" not in script_of_the_test({"image": {"tag": "my-build"}})
