"""Two servers that speak Qdrant's protocol on this machine, as a Service of the cluster: each may end and come back.

There is no image of Qdrant where this was developed. What is stored is one state, as in a cluster with all data in each
member.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from scot.ports import free_port
from tests.cluster.namespaces import Namespace
from tests.support.qdrant_server import QdrantServer, qdrant_server

NAME = "qdrant-outside"
AWAY_S = 5.0


class OutsideQdrant:
    """Both members, at ``host``, an address of this machine that pods reach."""

    def __init__(self, host: str) -> None:
        self._host, self._state = host, QdrantServer()
        self._ports = [free_port(), free_port()]
        self._running: list[ExitStack] = []

    def __enter__(self) -> OutsideQdrant:
        self._running = [self._start(port) for port in self._ports]
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._running:
            each.close()

    def kill(self, member: int) -> None:
        """End one at once, with the calls that it is answering; it is back after some seconds."""
        self._running[member].close()
        time.sleep(AWAY_S)
        self._running[member] = self._start(self._ports[member])

    def expose(self, namespace: Namespace) -> str:
        """A Service of the namespace for both; returns its address."""
        port = {"name": "grpc", "port": 6334, "protocol": "TCP"}
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": {"ports": [port]}}
        ]
        for number, target in enumerate(self._ports):
            labels = {"kubernetes.io/service-name": NAME}
            objects.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {"name": f"{NAME}-{number}", "labels": labels},
                    "addressType": "IPv4",
                    "ports": [{"name": "grpc", "port": target, "protocol": "TCP"}],
                    "endpoints": [{"addresses": [self._host]}],
                }
            )
        namespace.apply(objects)
        return f"http://{NAME}:6333"

    def _start(self, port: int) -> ExitStack:
        running = ExitStack()
        running.enter_context(_served(self._host, port, self._state))
        return running


@contextmanager
def _served(host: str, port: int, state: QdrantServer) -> Iterator[None]:
    with qdrant_server(host=host, port=port, state=state):
        yield
