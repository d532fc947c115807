"""Who reaches whom under the chart's NetworkPolicies, asked from inside of pods.

Pods with the labels of the chart's pod templates listen on the ports of their components, and others with and without
these labels connect. Needs what test_node.py needs, and nodes that enforce NetworkPolicies; it skips where none do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.cluster.namespaces import Namespace, removed, until
from tests.support.rendering import kind, pod_templates, render

IMAGE = os.environ.get("SCOT_TEST_IMAGE", "scot/search:0.1.0")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCOT_TEST_NODE"), reason="needs nodes that run pods: set SCOT_TEST_NODE=1 and KUBECONFIG"
    ),
    pytest.mark.timeout(900),
]
KUBERAY = {"app.kubernetes.io/created-by": "kuberay-operator"}
VALUES = {
    "web": {"enabled": True},
    "redis": {"enabled": True},
    "rerank": {"enabled": True, "model": "some/model"},
    "qdrant": {"replicas": 3},
    "ray": {"gcsFaultTolerance": {"backend": "redis"}},
    "networkPolicy": {
        "egress": True,
        "searchFrom": [{"podSelector": {"matchLabels": {"app": "shop"}}}],
        "metricsFrom": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}],
    },
}
LISTEN = """
import socket, sys, threading
def accept(server):
    while True:
        server.accept()[0].close()
for port in map(int, sys.argv[1:]):
    threading.Thread(target=accept, args=(socket.create_server(("", port)),)).start()
print("listening", flush=True)
"""
CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else ""
    return "reached"
places = sys.argv[1:]
print(json.dumps(dict(zip(places, ThreadPoolExecutor(64).map(reached, places)))))
"""
PORTS = {
    "search": (9000, 8080, 44217, 44227, 8265, 8000, 6379, 10001),
    "qdrant": (6333, 6334, 6335),
    "redis": (6379,),
    "rerank": (8000,),
    "web": (8080, 8081),
    "stranger": (8001,),
    "closed": (8001,),
}
METRICS = {"search:8080", "search:44217", "search:44227", "qdrant:6333", "rerank:8000", "web:8081"}
OF_SEARCH = {f"search:{port}" for port in PORTS["search"]}
STORE = {"qdrant:6333", "qdrant:6334"}
REACHED = {
    "search": OF_SEARCH | STORE | {"redis:6379", "rerank:8000", "web:8080"},
    "web": OF_SEARCH | STORE | {"web:8080"},
    "qdrant": OF_SEARCH | STORE | {"qdrant:6335", "web:8080"},
    "job": OF_SEARCH | STORE | {"redis:6379", "web:8080", "stranger:8001"},
    "shop": {"search:9000", "web:8080", "stranger:8001"},
    "stranger": {"web:8080", "stranger:8001"},
    "prometheus": METRICS | {"web:8080", "stranger:8001"},
    "operator": {"search:8265", "search:8000", "search:6379", "web:8080", "stranger:8001"},
}


def labels_of(component: str) -> dict[str, str]:
    """The labels that the chart gives the pods of a component; KubeRay adds its own."""
    found = [
        template["metadata"]["labels"]
        for template in pod_templates(render(VALUES)).values()
        if template["metadata"]["labels"].get("app.kubernetes.io/component") == component
    ]
    return {**found[0], **(KUBERAY if component == "search" else {})}


def pod(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A pod that listens on the ports of its name."""
    listen = " ".join(map(str, PORTS.get(name, ())))
    container = {
        "name": "python", "image": IMAGE, "command": ["sh", "-c", f"python -c '{LISTEN}' {listen}; exec sleep 3600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}


def addresses(namespace: Namespace) -> dict[str, str]:
    """The running pods' addresses."""
    found = namespace.get("pods")["items"]
    assert all(each["status"]["phase"] == "Running" for each in found)
    logs = {each["metadata"]["name"]: namespace.kubectl("logs", each["metadata"]["name"]) for each in found}
    assert all(log == "listening\n" for log in logs.values()), logs
    return {each["metadata"]["name"]: each["status"]["podIP"] for each in found}


@pytest.fixture(scope="module")
def reached() -> Iterator[dict[str, dict[str, str]]]:
    """By pod: what came of connecting to each ``component:port``."""
    policies = kind(render(VALUES), "NetworkPolicy")
    closed: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "closed"}}, "policyTypes": ["Ingress"]},
    }  # fmt: skip
    with removed(Namespace("policies")) as inside, removed(Namespace("policies")) as outside:
        components = [pod(name, labels_of(name)) for name in ("search", "qdrant", "redis", "rerank", "web")]
        others = {"job": KUBERAY, "shop": {"app": "shop"}, "stranger": {"app": "stranger"}, "closed": {"app": "closed"}}
        inside.apply([closed, *policies, *components, *(pod(name, labels) for name, labels in others.items())])
        prometheus, operator = {"app": "prometheus"}, {"app.kubernetes.io/name": "kuberay-operator"}
        outside.apply([pod("prometheus", prometheus), pod("operator", operator)])
        here = until(lambda: addresses(inside), 300, AssertionError, KeyError)
        until(lambda: addresses(outside), 300, AssertionError, KeyError)
        places = {f"{here[name]}:{port}": f"{name}:{port}" for name, ports in PORTS.items() for port in ports}

        def ask(source: str) -> dict[str, str]:
            namespace = outside if source in ("prometheus", "operator") else inside
            found = json.loads(namespace.kubectl("exec", source, "--", "python", "-c", CONNECT, *places))
            return {places[place]: outcome for place, outcome in found.items()}

        if ask("stranger")["closed:8001"]:
            pytest.skip("this cluster does not enforce NetworkPolicies")
        yield {source: ask(source) for source in REACHED}


@pytest.mark.parametrize("source", REACHED)
def test_only_what_is_allowed_is_reached(reached: dict[str, dict[str, str]], source: str) -> None:
    itself = {f"{source}:{port}" for port in PORTS.get(source, ())}  # no policy comes between a pod and itself
    assert {place for place, outcome in reached[source].items() if outcome} == REACHED[source] | itself
