"""Forward a pod's port to this machine through the API server, like ``kubectl port-forward``."""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from scot.cluster.api import Cluster

_CHUNK = 65536


@contextlib.contextmanager
def forwarded(cluster: Cluster, pod: str, port: int) -> Iterator[str]:
    """A local address for a pod's port while the context is open; each connection has its own stream."""
    streams: Any = importlib.import_module("kubernetes.stream")

    def open_stream() -> Any:
        with cluster.translated_errors():
            call = cluster.core.connect_get_namespaced_pod_portforward
            return streams.portforward(call, pod, cluster.namespace, ports=str(port)).socket(port)

    with relayed(open_stream) as address:
        yield address


@contextlib.contextmanager
def relayed(open_stream: Callable[[], Any]) -> Iterator[str]:
    """A local address; each connection to it is joined with its own stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, open_stream), daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the accepting thread


def _accept(listener: socket.socket, open_stream: Callable[[], Any]) -> None:
    while True:
        try:
            local, _ = listener.accept()
        except OSError:
            return
        try:
            remote = open_stream()
        except Exception:  # the client sees a closed connection and reports it
            local.close()
            continue
        for source, sink in ((local, remote), (remote, local)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.close()
