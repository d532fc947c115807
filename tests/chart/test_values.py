"""Values: what the schema refuses, what the chart's checks reject with a sentence, and the notes."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest

from services.search.rpc import limits
from tests.support.rendering import HELM, VALUES_FILES, notes, render, values_of
from tools.generate import chart_reference


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"serch": {}}, "serch"),
        ({"search": {"encoderr": "tiny"}}, "encoderr"),
        ({"search": {"service": {"type": "Cluster"}}}, "search/service/type"),
        ({"search": {"gateway": {"replicas": 0}}}, "search/gateway/replicas"),
        ({"search": {"composers": {"split": {"v2": 10}}}}, "search/composers/split"),
        ({"store": {"mode": "redis"}}, "store/mode"),
        ({"store": {"url": "qdrant:6333"}}, "store/url"),
        ({"artifacts": {"persistence": {"size": "ten"}}}, "artifacts/persistence/size"),
        ({"artifacts": {"persistence": {"accessModes": []}}}, "artifacts/persistence/accessModes"),
        ({"ray": {"workers": {"replicas": "two"}}}, "ray/workers/replicas"),
        ({"ray": {"workers": {"resources": {"request": {}}}}}, "request"),
        ({"ray": {"gcsFaultTolerance": {"backend": "etcd"}}}, "gcsFaultTolerance/backend"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
        ({"auth": {"keys": ["scot_secret"]}}, "auth/keys"),
        ({"bootstrap": {"size": 20_000}}, "bootstrap/size"),
        ({"pipeline": {"schedule": "daily"}}, "pipeline/schedule"),
        ({"fullnameOverride": "Scot"}, "fullnameOverride"),
        ({"fullnameOverride": "s" * 41}, "fullnameOverride"),
    ],
)
def test_the_schema_names_what_is_wrong(values: dict[str, Any], key: str) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        render(values)
    assert key in str(refused.value).replace(".", "/")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"store": {"mode": "external"}}, "store.url must be the address of Qdrant"),
        ({"store": {"mode": "external", "url": "http://q:6333", "caSecret": "a"}}, "begins with https://"),
        ({"store": {"url": "http://q:6333"}}, "set store.mode=external"),
        ({"store": {"mode": "embedded"}, "search": {"gateway": {"replicas": 2}}}, "only one gateway can open it"),
        ({"artifacts": {"persistence": {"enabled": False}}}, "artifacts need storage"),
        ({"ingress": {"enabled": True}}, "needs ingress.host"),
        ({"route": {"enabled": True}}, "needs route.parentRefs"),
        (
            {"ray": {"gcsFaultTolerance": {"backend": "redis"}}},
            "set redis.enabled=true, or ray.gcsFaultTolerance.redisAddress",
        ),
        ({"search": {"composers": {"gpus": 1}}}, "raise ray.workers.gpus"),
        ({"edits": {"enabled": True, "model": ""}}, "needs edits.model"),
    ],
)
def test_a_contradiction_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(helm_python.HelmError, match=sentence):
        render(values)


def test_a_cluster_without_kuberay_is_an_error_that_says_how_to_install_it() -> None:
    with pytest.raises(helm_python.HelmError, match=r"no ray.io/v1/RayService: install the KubeRay operator first"):
        render(checks=True)


@pytest.mark.parametrize("file", VALUES_FILES)
def test_every_values_file_passes_the_schema(file: str) -> None:
    with helm_python.Chart.load(str(HELM)) as chart:
        chart.validate_schema(values_of(file))


def test_a_gateway_has_the_places_that_it_has_without_the_chart() -> None:
    gateway = values_of("values.yaml")["search"]["gateway"]
    assert gateway["maxOngoingRequests"] == limits.MAX_AT_WORK + limits.MAX_WATCHES
    assert gateway["maxQueuedRequests"] == limits.MAX_WAITING


def test_every_value_is_described() -> None:
    """So that the reference has a line for each."""
    described = dict(chart_reference.comments((HELM / "values.yaml").read_text(encoding="utf-8")))

    def undescribed(values: dict[str, Any], path: str = "") -> list[str]:
        found = []
        for key, value in values.items():
            if f"{path}{key}" in described:
                continue
            found += undescribed(value, f"{path}{key}.") if isinstance(value, dict) else [f"{path}{key}"]
        return found

    assert undescribed(values_of("values.yaml")) == []


def test_the_notes_say_what_to_do_next() -> None:
    text = notes()
    assert 'scot search --address localhost:9000 --item-id wardrobe-00001 --edit "make it blue"' in text
    assert "get secret scot-keys" in text
    assert "get secret" not in notes({"auth": {"enabled": False}})
    assert "embedded store is for small galleries" in notes(file="values-local.yaml")


def test_the_notes_warn_about_a_gpu_request_without_gpus() -> None:
    assert "no node offers one now" in notes(file="values-gpu.yaml")


def test_the_chart_has_the_version_of_the_package() -> None:
    from scot import __version__

    with helm_python.Chart.load(str(HELM)) as chart:
        assert chart.metadata["appVersion"] == __version__
