"""A job's log over HTTP, by the kubernetes package, from a server that cuts connections as real ones do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scot.cluster.api import Cluster
from scot.cluster.logs import LogFollower
from scot.errors import NotFound, PermissionDenied, Unavailable

LINES = [f"2026-11-26T00:00:0{number}Z line {number}" for number in range(6)]


class Api(BaseHTTPRequestHandler):
    """One submitter pod. The first stream of its log breaks off after three lines; the second one stays open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if self.path.startswith("/api/v1/namespaces/n/pods?"):
            pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}}
            self._send(200, {"items": [pod]})
        elif self.path.startswith("/api/v1/namespaces/n/pods/p/log"):
            self._log(server)
        elif "rayjobs/forbidden" in self.path:
            self._send(403, {"message": 'rayjobs is forbidden: User "u" cannot get it'})
        else:
            self._send(404, {"message": "rayjobs.ray.io not found"})

    def _log(self, server: Server) -> None:
        server.streams += 1
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in LINES[:3] if server.streams == 1 else LINES:
            data = f"{line}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if server.streams == 1:
            self.close_connection = True  # without the last chunk: the connection is lost
            return
        server.streaming.set()
        server.closing.wait(60)
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, code: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.streams = 0
        self.streaming, self.closing = threading.Event(), threading.Event()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "kubeconfig"
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(config), encoding="utf-8")
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield server
        server.closing.set()
        server.shutdown()


def test_a_broken_stream_is_opened_anew_and_an_open_one_does_not_hold_up_the_end(server: Server) -> None:
    shown: list[str] = []
    follower = LogFollower(Cluster(), "j", shown.append)
    assert server.streaming.wait(60)
    end = time.monotonic() + 60
    while len(shown) < 6 and time.monotonic() < end:
        time.sleep(0.01)
    follower.finish(0)  # returns although the server never ends the stream
    assert shown == [f"line {number}" for number in range(6)]
    assert server.streams == 2
    assert not server.closing.is_set()


def test_the_namespace_is_the_kubeconfigs_and_refusals_become_sentences(server: Server) -> None:
    cluster = Cluster()
    assert cluster.namespace == "n"
    with pytest.raises(NotFound, match="not found in namespace n"):
        cluster.get("rayjobs", "missing")
    with pytest.raises(PermissionDenied, match="no permission in namespace n"):
        cluster.get("rayjobs", "forbidden")


@pytest.mark.filterwarnings("ignore")
def test_an_unavailable_server_is_reported(server: Server) -> None:
    cluster = Cluster()
    server.shutdown()
    server.server_close()
    with pytest.raises(Unavailable, match="cannot be reached"):
        cluster.get("rayjobs", "j")
