"""A port that the service could not listen on is told before the demo's first step, and not minutes later."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scot.demo import run
from scot.demo.config import DemoConfig
from scot.errors import Conflict, InvalidInput, ScotError
from scot.ports import check_port, free_port


class Started(Exception):
    pass


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoService:
        def __init__(self, *_: object) -> None:
            raise Started

    monkeypatch.setattr(run, "Service", NoService)


@pytest.mark.parametrize(
    ("port", "sentence"),
    [
        (0, "port 0 is not between 1 and 65535"),
        (65_536, "port 65536 is not between 1 and 65535"),
        (10_002, "port 10002 is in the range that Ray reserves for its workers; choose one below 10002"),
        (19_999, "port 19999 is in the range that Ray reserves for its workers; choose one below 10002"),
    ],
)
def test_a_port_that_cannot_be(port: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        run.demo(DemoConfig(data=tmp_path / "demo", port=port))
    assert str(raised.value) == sentence
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_port_that_is_taken(host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        try:
            taken.bind((host, free_port()))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict) as raised:
            run.demo(DemoConfig(data=tmp_path / "demo", port=port))
        assert str(raised.value) == f"port {port} is in use; stop what listens there or choose another port"
        assert capsys.readouterr().out == ""
    check_port(port)


def test_a_free_port_lets_the_service_start(tmp_path: Path) -> None:
    with pytest.raises(Started):
        run.demo(DemoConfig(data=tmp_path / "demo", port=free_port()))


def test_the_service_says_the_same_of_it(tmp_path: Path) -> None:
    from services.search.local import start
    from services.search.local.config import LocalConfig

    for port in (0, 10_002):
        with pytest.raises(ScotError) as of_demo:
            run.demo(DemoConfig(data=tmp_path / "demo", port=port))
        with pytest.raises(ScotError) as of_service:
            start.main(LocalConfig(data=tmp_path / "data", port=port))
        assert str(of_service.value) == str(of_demo.value)


def test_a_free_port_is_taken_by_nobody_else() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)
    # What Linux gives to outgoing connections, and to whoever asks for any port.
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if ephemeral.exists():
        first, last = map(int, ephemeral.read_text().split())
        assert not set(ports) & set(range(first, last + 1))
    with socket.socket() as listener:
        listener.bind(("", ports[0]))
        listener.listen()
        with pytest.raises(Conflict):
            check_port(ports[0])
