"""The edit service's HorizontalPodAutoscaler, followed by the controller of a real cluster.

The metric comes from an API server of this test, in place of a metrics adapter. Nodes may be simulated; the cluster's
API server has to run on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
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

from tests.cluster.namespaces import Namespace, removed, until
from tests.support.http_server import http_server
from tests.support.rendering import HELM
from tests.support.tls import self_signed, tls_proxy

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="a cluster with KubeRay is needed: set KUBECONFIG"),
    pytest.mark.skipif(not (shutil.which("helm") and shutil.which("kubectl")), reason="helm and kubectl are needed"),
    pytest.mark.timeout(600),
]
GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
VALUES = [
    "edits.enabled=true,edits.engine=rules,edits.autoscaling.kind=hpa",
    "edits.autoscaling.waitingPerReplica=100,edits.autoscaling.maxReplicas=3",
    "artifacts.persistence.size=20Gi,qdrant.persistence.size=20Gi",
]


@dataclass
class Load:
    """The captions that wait in each pod."""

    waiting: int = 0


class Metrics(BaseHTTPRequestHandler):
    """The API of custom metrics: https://github.com/kubernetes/metrics/tree/master/pkg/apis/custom_metrics."""

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
        api, name = f"{GROUP}/{VERSION}", "scot_edits_captions_waiting"
        if not path.endswith(f"/pods/*/{name}"):
            resource = {"name": f"pods/{name}", "singularName": "", "namespaced": True, "kind": "MetricValueList"}
            resources = [{**resource, "verbs": ["get"]}]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        value = {"metric": {"name": name}, "timestamp": now, "value": str(self._load.waiting)}
        pods = self._namespace.get("pods", "-l", "app.kubernetes.io/component=edits")["items"]
        described = [
            {"kind": "Pod", "namespace": self._namespace.name, "name": each["metadata"]["name"]} for each in pods
        ]
        items = [{"describedObject": each, **value} for each in described]
        return {"kind": "MetricValueList", "apiVersion": api, "metadata": {}, "items": items}


@pytest.fixture
def load(tmp_path: Path, namespace: Namespace) -> Iterator[Load]:
    """The load that the cluster's metrics APIs show."""
    load = Load()
    with ExitStack() as running:
        address = running.enter_context(http_server(partial(Metrics, namespace, load)))
        address = running.enter_context(tls_proxy(address, *self_signed(tmp_path), "http/1.1"))
        host, _, port = address.rpartition(":")
        service = {"metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": host}}
        spec = {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "metrics", "namespace": namespace.name, "port": int(port)},
        }  # fmt: skip
        name = f"{VERSION}.{GROUP}"
        api = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": spec,
        }
        objects = [{"apiVersion": "v1", "kind": "Service", **service}, api]
        running.callback(namespace.run, "kubectl", "delete", "apiservice", name)
        namespace.apply(objects)
        yield load


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with removed(Namespace("autoscaling")) as made:
        yield made


def test_replicas_follow_the_queue(namespace: Namespace, load: Load) -> None:
    namespace.helm("install", "scot", str(HELM), *(word for values in VALUES for word in ("--set", values)))

    def replicas() -> int:
        return int(namespace.get("deployment", "scot-edits")["spec"]["replicas"])

    def seen() -> bool:
        """Whether the autoscaler has read the metric."""
        conditions = namespace.get("hpa", "scot-edits")["status"].get("conditions") or ()
        return any(each["type"] == "ScalingActive" and each["status"] == "True" for each in conditions)

    until(seen, 120)
    assert replicas() == 1
    load.waiting = 130  # of a target of 100
    until(lambda: replicas() == 3, 240)
