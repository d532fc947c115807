"""The chart against a real API server with the KubeRay operator: installed, upgraded, rolled back, removed.

Nodes may be simulated (kwok): the tests check what the server accepts and what KubeRay creates.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import namespaces
from tests.cluster.namespaces import Found, Namespace, chart_of_version, removed
from tests.support.rendering import HELM, VALUES_FILES

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="a cluster with KubeRay is needed: set KUBECONFIG"),
    pytest.mark.skipif(not (shutil.which("helm") and shutil.which("kubectl")), reason="helm and kubectl are needed"),
    pytest.mark.timeout(600),
]

PATIENCE_S = 240
EVERYTHING = [
    "--set", "monitoring.monitors=true,monitoring.alerts.enabled=true,monitoring.dashboards.enabled=true",
    "--set", "ingress.enabled=true,ingress.host=scot.example.com,pipeline.enabled=true",
    "--set", "edits.enabled=true,edits.replicas=2",
    "--set", "ray.workers.replicas=2,ray.autoscaler.enabled=true,ray.workers.maxReplicas=3",
    "--set", "qdrant.config.storage.performance.max_search_threads=2",
]  # fmt: skip

SMALLER = [
    "--set",
    "artifacts.persistence.size=20Gi,qdrant.persistence.size=20Gi",
]  # a test cluster's volumes are small


class Charts(Namespace):
    """Where charts are installed."""

    def refused(self, *arguments: str) -> str:
        """The error of a helm command that fails."""
        done = self.run("helm", *arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def names(self, what: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.get(what)["items"]}

    def pods(self, node: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-l", f"ray.io/node-type={node}")["items"]
        return found


@pytest.fixture(scope="module", autouse=True)
def hostnames() -> None:
    """Every kubelet labels its node with its host's name; simulated nodes may not have the label."""
    unlabelled = ["kubectl", "get", "nodes", "-l", "!kubernetes.io/hostname", "-o", "name"]
    for node in subprocess.run(unlabelled, capture_output=True, text=True, check=True).stdout.split():
        label = f"kubernetes.io/hostname={node.removeprefix('node/')}"
        subprocess.run(["kubectl", "label", node, label], capture_output=True, check=True)


@pytest.fixture
def namespace() -> Iterator[Charts]:
    with removed(Charts("chart")) as made:
        yield made


def until(look: Callable[[], Found | None]) -> Found:
    return namespaces.until(look, PATIENCE_S)


@pytest.mark.parametrize("file", VALUES_FILES)
def test_the_server_takes_every_values_file(file: str, namespace: Charts) -> None:
    if "external" in file:
        namespace.kubectl("create", "secret", "generic", "qdrant-access", "--from-literal=api-key=k")
    namespace.helm("install", "scot", str(HELM), "-f", str(HELM / file), "--dry-run=server")
    namespace.helm("install", "scot", str(HELM), "-f", str(HELM / file))
    until(lambda: namespace.pods("head") and namespace.pods("worker"))


def test_everything_at_once_and_nothing_is_left(namespace: Charts) -> None:
    namespace.helm("install", "scot", str(HELM), *EVERYTHING)
    until(lambda: namespace.pods("head"))
    assert namespace.names("podmonitors,servicemonitors") == {"scot-ray", "scot-edits", "scot-qdrant"}
    rules = namespace.get("prometheusrule", "scot")["spec"]["groups"]
    assert all(rule["annotations"]["runbook_url"] for group in rules for rule in group["rules"])
    namespace.helm("uninstall", "scot")
    until(lambda: not namespace.names("pods"))
    kinds = "all,rayservices,rayclusters,secrets,configmaps,networkpolicies,poddisruptionbudgets,ingresses,roles"
    left = namespace.names(
        f"{kinds},rolebindings,cronjobs,serviceaccounts,podmonitors,prometheusrules,persistentvolumeclaims"
    )
    assert left <= {"default", "kube-root-ca.crt", "scot-artifacts", "storage-scot-qdrant-0"}
    assert {"scot-artifacts", "storage-scot-qdrant-0"} <= left


def test_kuberay_makes_the_pods_that_are_meant(namespace: Charts) -> None:
    namespace.helm("install", "scot", str(HELM))

    def scheduled() -> list[dict[str, Any]]:
        pods = [*namespace.pods("head"), *namespace.pods("worker")]
        return pods if [pod["spec"].get("nodeName") for pod in pods].count(None) == 0 and len(pods) == 2 else []

    head, worker = until(scheduled)
    for pod in (head, worker):
        container = pod["spec"]["containers"][0]
        environment = {each["name"]: each for each in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "scot-ray-token"
        assert environment["SCOT_QDRANT_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "scot-qdrant"
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/dev/shm", "/tmp", "/artifacts"}
        assert {port["name"] for port in container["ports"]} >= {"metrics", "serve", "serve-grpc"}
        assert "readinessProbe" in container
        assert "livenessProbe" in container
    assert head["spec"]["nodeName"] == worker["spec"]["nodeName"]  # they share a volume of one node
    assert "wget" in json.dumps(worker["spec"]["containers"][0]["readinessProbe"])


def test_a_new_chart_version_replaces_no_pod_and_keeps_every_secret(namespace: Charts, tmp_path: Path) -> None:
    secrets = ("scot-keys", "scot-ray-token", "scot-qdrant")

    def kept() -> dict[str, Any]:
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.get("pods")["items"]}
        return {"pods": uids, "secrets": [namespace.get("secret", name)["data"] for name in secrets]}

    namespace.helm("install", "scot", str(chart_of_version("1.0.0", tmp_path)))
    until(lambda: namespace.pods("head") and namespace.pods("worker"))
    before = kept()
    namespace.helm("upgrade", "scot", str(chart_of_version("2.0.0", tmp_path)))
    assert namespace.get("rayservice", "scot")["metadata"]["labels"]["helm.sh/chart"] == "scot-2.0.0"
    assert kept() == before
    namespace.helm("rollback", "scot", "1")
    assert namespace.get("rayservice", "scot")["metadata"]["labels"]["helm.sh/chart"] == "scot-1.0.0"
    assert kept() == before


def test_an_install_takes_over_the_volumes_that_were_kept(namespace: Charts) -> None:
    for _ in range(2):
        namespace.helm("install", "scot", str(HELM))
        claim = namespace.get("pvc", "scot-artifacts")["metadata"]["uid"]
        namespace.helm("uninstall", "scot")
        until(lambda: not namespace.names("pods"))
        assert namespace.get("pvc", "scot-artifacts")["metadata"]["uid"] == claim


def test_gpus_land_on_the_node_that_has_them(namespace: Charts) -> None:
    nodes = {node["metadata"]["name"]: node["status"]["allocatable"] for node in namespace.get("nodes")["items"]}
    with_gpus = {name for name, has in nodes.items() if int(has.get("nvidia.com/gpu", 0))}
    if not with_gpus:
        pytest.skip("no node of this cluster has GPUs")
    namespace.helm("install", "scot", str(HELM), "-f", str(HELM / "values-gpu.yaml"), *SMALLER)

    def placed() -> list[str]:
        pods = [*namespace.pods("worker"), *namespace.get("pods", "-l", "app.kubernetes.io/component=edits")["items"]]
        places = [pod["spec"].get("nodeName", "") for pod in pods]
        return places if len(places) >= 3 and all(places) else []

    assert set(until(placed)) <= with_gpus


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["--set", "serch.encoder=tiny"], "serch"),
        (["--set", "qdrant.persistence.storageClass=fast"], 'qdrant.persistence.storageClass is "fast"'),
        (["--set", "auth.existingSecret=mine"], 'the Secret "mine", which does not exist in the namespace'),
        (["--set", "auth.existingSecret=half"], 'the Secret "half", which has no key "admin-key"'),
        (["--set", "route.enabled=true,route.parentRefs[0].name=g"], "install the Gateway API first"),
        (["--set", "store.mode=external,store.url=qdrant:6333"], "at '/store/url'"),
    ],
)  # fmt: skip
def test_wrong_values_are_an_error_before_anything_is_created(
    values: list[str], sentence: str, namespace: Charts
) -> None:
    if "gateway.networking.k8s.io" in namespace.kubectl("api-versions") and "Gateway" in sentence:
        pytest.skip("this cluster has the Gateway API")
    namespace.kubectl("create", "secret", "generic", "half", "--from-literal=keys.txt=")
    error = namespace.refused("install", "scot", str(HELM), *values)
    assert sentence in error.replace("\\", "")
    assert namespace.names("rayservices,statefulsets,services") == set()


def test_two_releases_in_one_namespace(namespace: Charts) -> None:
    namespace.helm("install", "scot", str(HELM))
    namespace.helm("install", "other", str(HELM))
    assert namespace.names("rayservices") == {"scot", "other-scot"}
    until(lambda: len(namespace.pods("head")) == 2)
