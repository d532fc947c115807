"""The chart's HorizontalPodAutoscalers, followed by the controller of a real cluster.

The metrics come from an API server of this test, in place of a metrics adapter and metrics-server. Nodes may be
simulated; the cluster's API server has to run on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from tests.cluster.namespaces import Namespace, removed, until
from tests.support.http_server import http_server
from tests.support.rendering import HELM
from tests.support.tls import self_signed, tls_proxy

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="a cluster with KubeRay is needed: set KUBECONFIG"),
    pytest.mark.skipif(not (shutil.which("helm") and shutil.which("kubectl")), reason="helm and kubectl are needed"),
    pytest.mark.timeout(600),
]
CUSTOM, RESOURCES = "custom.metrics.k8s.io/v1beta2", "metrics.k8s.io/v1beta1"
VALUES = [
    "edits.enabled=true,edits.engine=rules,edits.autoscaling.kind=hpa",
    "edits.autoscaling.waitingPerReplica=100,edits.autoscaling.maxReplicas=3",
    "web.enabled=true,web.autoscaling.enabled=true,web.autoscaling.maxReplicas=5",
    "artifacts.persistence.size=20Gi,qdrant.persistence.size=20Gi",
]


@dataclass
class Load:
    """What each pod says."""

    waiting: int = 0
    millicores: int = 10


class Metrics(BaseHTTPRequestHandler):
    """The two metrics APIs: https://github.com/kubernetes/metrics/tree/master/pkg/apis."""

    def __init__(self, namespace: Namespace, load: Load, *arguments: Any) -> None:
        self._namespace, self._load = namespace, load
        super().__init__(*arguments)

    def do_GET(self) -> None:
        found = self._answer(unquote(self.path.partition("?")[0]))
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No line for each request."""

    def _answer(self, path: str) -> dict[str, Any]:
        items: list[dict[str, Any]]
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        if path.endswith("/pods/*/scot_edits_captions_waiting"):
            metric, value = {"name": "scot_edits_captions_waiting"}, str(self._load.waiting)
            items = [
                {
                    "describedObject": {"kind": "Pod", "namespace": self._namespace.name, "name": name},
                    "metric": metric, "timestamp": now, "value": value,
                }
                for name, _ in self._pods("edits")
            ]  # fmt: skip
            return {"kind": "MetricValueList", "apiVersion": CUSTOM, "metadata": {}, "items": items}
        if path.endswith(f"/namespaces/{self._namespace.name}/pods"):
            usage = {"cpu": f"{self._load.millicores}m", "memory": "50Mi"}
            items = [
                {
                    "metadata": {"name": name, "namespace": self._namespace.name, "labels": labels},
                    "timestamp": now, "window": "10s", "containers": [{"name": "web", "usage": usage}],
                }
                for name, labels in self._pods("web")
            ]  # fmt: skip
            return {"kind": "PodMetricsList", "apiVersion": RESOURCES, "metadata": {}, "items": items}
        group = path.removeprefix("/apis/")
        kind = "PodMetrics" if group == RESOURCES else "MetricValueList"
        name = "pods" if group == RESOURCES else "pods/scot_edits_captions_waiting"
        resource = {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "list"]}
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": [resource]}

    def _pods(self, component: str) -> list[tuple[str, dict[str, str]]]:
        found = self._namespace.get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
        return [(each["metadata"]["name"], each["metadata"]["labels"]) for each in found]


@pytest.fixture
def load(tmp_path: Path, namespace: Namespace) -> Iterator[Load]:
    """The load that the cluster's metrics APIs show."""
    load = Load()
    with ExitStack() as running:
        address = running.enter_context(http_server(partial(Metrics, namespace, load)))
        address = running.enter_context(tls_proxy(address, *self_signed(tmp_path), "http/1.1"))
        host, _, port = address.rpartition(":")
        service = {"metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": host}}
        objects: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Service", **service}]
        for group, _, version in (api.partition("/") for api in (CUSTOM, RESOURCES)):
            spec = {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": "metrics", "namespace": namespace.name, "port": int(port)},
            }  # fmt: skip
            name = {"name": f"{version}.{group}"}
            objects.append(
                {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": name} | {"spec": spec}
            )
        names = [each["metadata"]["name"] for each in objects[1:]]
        running.callback(namespace.run, "kubectl", "delete", "apiservice", *names)
        command = ["kubectl", "-n", namespace.name, "apply", "-f", "-"]
        subprocess.run(command, input=yaml.safe_dump_all(objects), text=True, check=True, capture_output=True)
        yield load


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with removed(Namespace("autoscaling")) as made:
        yield made


def test_replicas_follow_the_queue_and_the_processor_time(namespace: Namespace, load: Load) -> None:
    sets = [word for values in VALUES for word in ("--set", values)]
    namespace.helm("install", "scot", str(HELM), *sets)

    def replicas(name: str) -> int:
        return int(namespace.get("deployment", name)["spec"]["replicas"])

    def seen(name: str) -> bool:
        """Whether the autoscaler has read its metric."""
        conditions = namespace.get("hpa", name)["status"].get("conditions") or ()
        return any(each["type"] == "ScalingActive" and each["status"] == "True" for each in conditions)

    until(lambda: seen("scot-edits") and seen("scot-web"), 120)
    assert (replicas("scot-edits"), replicas("scot-web")) == (1, 2)
    load.waiting, load.millicores = 130, 350  # of a target of 100, and of 200 % of 100m
    until(lambda: replicas("scot-edits") == 3 and replicas("scot-web") == 5, 240)
