"""A port of a pod on this machine, through the API server, as ``kubectl port-forward`` does it."""

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
    """The address, for the time of the block, at which a pod's port can be reached; a stream for each connection."""
    streams: Any = importlib.import_module("kubernetes.stream")

    def open_stream() -> Any:
        with cluster.saying():
            call = cluster.core.connect_get_namespaced_pod_portforward
            return streams.portforward(call, pod, cluster.namespace, ports=str(port)).socket(port)

    with relayed(open_stream) as address:
        yield address


@contextlib.contextmanager
def relayed(open_stream: Callable[[], Any]) -> Iterator[str]:
    """An address of this machine of which every connection is joined with a stream of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, open_stream), daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts


def _accept(listener: socket.socket, open_stream: Callable[[], Any]) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:
            return
        try:
            there = open_stream()
        except Exception:  # whoever connected sees a closed connection, and says that nobody answers
            here.close()
            continue
        for source, sink in ((here, there), (there, here)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.close()
