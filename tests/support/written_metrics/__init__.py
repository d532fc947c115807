"""Metrics of servers that do not run on a test machine, served over HTTP as those servers would write them.

Nothing here was recorded. The files are written by hand after the servers' sources: names, labels and types as in
Qdrant 1.19 (src/common/metrics.rs), vLLM 0.32 (v1/metrics/loggers.py), KubeRay 1.6 (controllers/ray/metrics),
kube-state-metrics 2 (docs/metrics/workload) and the kubelet's volume statistics. Values of counters and histograms are
a second's worth, and grow by as much.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.http_server import http_server

FOLDER = Path(__file__).resolve().parent


def exposition(name: str, seconds: float) -> str:
    """What the server would answer after ``seconds`` of even work."""
    lines, grows = [], False
    for line in (FOLDER / f"{name}.prom").read_text(encoding="utf-8").splitlines():
        if line.startswith("# TYPE"):
            grows = line.split()[-1] in ("counter", "histogram")
        if line.startswith("#") or not line or not grows:
            lines.append(line)
        else:
            series, _, value = line.rpartition(" ")
            lines.append(f"{series} {float(value) * seconds}")
    return "\n".join(lines) + "\n"


@contextmanager
def served(name: str) -> Iterator[str]:
    """HOST:PORT of a server that answers every path with the metrics of that name."""
    begun = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition(name, time.monotonic() - begun).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http_server(Handler) as address:
        yield address
