"""``scot web`` as a process: what it loads, its address, its metrics, its end; and beside ``scot serve``."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from scot.errors import Unavailable
from scot.ports import free_port
from services.search.local.config import LocalConfig
from services.search.local.web import web_beside
from tests.support.served_web import Answer, ask, connected
from tests.support.tls import self_signed

HEAVY = {"torch", "ray", "numpy", "PIL", "qdrant_client", "qdrant_edge", "open_clip", "pyarrow", "fastapi"}


@dataclass(frozen=True)
class Web:
    process: subprocess.Popen[str]
    url: str
    metrics: str


@contextmanager
def web(address: str, *flags: str) -> Iterator[Web]:
    port, metrics = free_port(), free_port()
    place = ["--address", address, "--port", str(port), "--metrics-port", str(metrics)]
    command = [sys.executable, "-m", "scot.cli", "web", *place, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"SCOT's web service listens on (\S+) for (\S+); /docs describes it\n", line)
            assert found, process.communicate()
            assert (found[1].rpartition(":")[2], found[2]) == (str(port), address)
            yield Web(process, found[1], f"http://localhost:{metrics}")
        finally:
            process.kill()


def test_it_loads_no_model_no_store_and_no_ray() -> None:
    script = "import sys, services.web.server; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_it_serves_counts_and_ends(address: str) -> None:
    with web(address) as running:
        assert ask(running.url, "/readyz").status == 200
        assert ask(running.url, "/v1/list-composers", {}).status == 200
        assert ask(running.url, "/v1/nothing", {}).status == 404
        for trace, flags in (("a" * 32, "01"), ("b" * 32, "00")):
            ask(running.url, "/v1/list-composers", {}, traceparent=f"00-{trace}-{'c' * 16}-{flags}")
        metrics = ask(running.metrics, "/metrics").body.decode()
        with_traces = ask(running.metrics, "/metrics", accept="application/openmetrics-text").body.decode()
        running.process.send_signal(signal.SIGTERM)
        _, log = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert 'scot_web_request_seconds_count{route="/v1/list-composers",status="200"} 3.0' in metrics
    assert set(re.findall(r'# {trace_id="(.+?)"}', with_traces)) == {"a" * 32}  # the one that is sampled
    assert 'scot_web_request_seconds_count{route="none",status="404"} 1.0' in metrics
    assert "scot_web_requests_in_flight 0.0" in metrics
    assert log.count('"event": "request"') == 4  # health checks are not logged


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_right_after_the_start_ends_it(number: signal.Signals) -> None:
    with web("localhost:1") as running:
        running.process.send_signal(number)
        assert running.process.wait(30) == 0


def test_a_request_under_way_is_answered_before_the_end(address: str) -> None:
    answers: list[Answer] = []
    with web(address) as running, connected(running.url) as stream:
        body = b'{"limit": 1, "edits": [{"text": "red"}]}'
        head = f"POST /v1/compose-search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + body[:10])
        while "scot_web_requests_in_flight 1.0" not in ask(running.metrics, "/metrics").body.decode():
            pass
        running.process.send_signal(signal.SIGINT)
        while True:  # until it no longer accepts
            try:
                answers.append(ask(running.url, "/healthz"))
            except OSError:
                break
        stream.sendall(body[10:])
        received = b""
        while chunk := stream.recv(65536):
            received += chunk
        assert running.process.wait(60) == 0
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert all(answer.status == 200 for answer in answers)


def test_callers_are_sent_elsewhere_before_the_end(address: str) -> None:
    with web(address, "--stop-delay-s", "4") as running:
        kept = HTTPConnection("127.0.0.1", int(running.url.rpartition(":")[2]), timeout=60)

        def last_one() -> bool:
            kept.request("GET", "/healthz")
            answer = kept.getresponse()
            answer.read()
            assert answer.status == 200
            return answer.headers["connection"] == "close"

        assert not last_one()
        running.process.send_signal(signal.SIGTERM)
        while not last_one():
            time.sleep(0.05)
        assert ask(running.url, "/healthz").status == 200  # it still accepts
        assert running.process.wait(60) == 0
        assert "Traceback" not in running.process.communicate()[1]


def test_a_second_signal_ends_the_delay(address: str) -> None:
    with web(address, "--stop-delay-s", "3600") as running:
        running.process.send_signal(signal.SIGTERM)
        while ask(running.url, "/healthz").headers.get("connection") != "close":
            time.sleep(0.05)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0


def test_it_speaks_tls(address: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    with web(address, "--tls-certificate", str(certificate), "--tls-key", str(key)) as running:
        assert running.url.startswith("https://localhost:")
        connection = HTTPSConnection("127.0.0.1", int(running.url.rpartition(":")[2]), context=context, timeout=60)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "scot.cli", "web"]
        for flag in ("--port", "--metrics-port"):
            done = subprocess.run([*command, flag, port], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 1
            assert re.fullmatch(r"scot web: .*port \d+ (is in use|cannot be listened on).*\n", done.stderr)


@pytest.mark.parametrize("flags", [["--host", "999.1.1.1"], ["--tls-key", "a.pem", "--tls-certificate", "b.pem"]])
def test_what_it_cannot_listen_with_is_told(flags: list[str]) -> None:
    command = [sys.executable, "-m", "scot.cli", "web", "--port", str(free_port()), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n"), "Traceback" in done.stderr) == (1, 1, False)


def test_it_runs_beside_the_search_service(address: str, tmp_path: Path) -> None:
    host, _, port = address.partition(":")
    assert host == "127.0.0.1"
    config, stop = LocalConfig(data=tmp_path, port=int(port), web=True, web_port=free_port()), threading.Event()
    url = f"http://localhost:{config.web_port}"
    with web_beside(config, stop):
        while True:
            try:
                assert ask(url, "/readyz").status == 200
                break
            except ConnectionRefusedError:
                assert not stop.wait(0.05)
    with pytest.raises(ConnectionRefusedError):
        ask(url, "/readyz")


def test_its_unexpected_end_is_the_end_of_both(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = LocalConfig(data=tmp_path, web=True, web_port=taken.getsockname()[1])
        stop = threading.Event()
        with pytest.raises(Unavailable, match="the web service ended with exit code 1"), web_beside(config, stop):
            assert stop.wait(120)


def test_nothing_starts_unasked(tmp_path: Path) -> None:
    stop = threading.Event()
    with web_beside(LocalConfig(data=tmp_path), stop):
        assert not stop.is_set()
    assert not stop.is_set()
