"""The two acts of the demo: what Ctrl-C ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scot.demo import run
from scot.demo.config import DemoConfig
from scot.demo.service import Service
from scot.errors import Unavailable
from scot.ports import free_port

events: list[str] = []


class FakeService:
    """Records what the demo does with it."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> FakeService:
        events.append("started")
        return self

    def __exit__(self, *_: object) -> None:
        events.append("stopped")

    def wait(self) -> None:
        events.append("waited for")


@pytest.fixture(autouse=True)
def acts(monkeypatch: pytest.MonkeyPatch) -> None:
    events.clear()
    monkeypatch.setattr(run, "Service", FakeService)
    monkeypatch.setattr(run, "_act_one", lambda *_: events.append("act one"))
    monkeypatch.setattr(run, "_act_two", lambda *_: events.append("act two"))


def interrupted(*_: Any) -> None:
    events.append("Ctrl-C")
    raise KeyboardInterrupt


def demo(tmp_path: Path, *, once: bool = False) -> int:
    return run.demo(DemoConfig(data=tmp_path, once=once, port=free_port()))


def test_both_acts_run_and_the_service_continues(tmp_path: Path) -> None:
    assert demo(tmp_path) == 0
    assert events == ["started", "act one", "act two", "waited for", "stopped"]


def test_once_ends_after_both_acts(tmp_path: Path) -> None:
    assert demo(tmp_path, once=True) == 0
    assert events == ["started", "act one", "act two", "stopped"]


def test_an_interrupted_second_act_leaves_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_act_two", interrupted)
    assert demo(tmp_path) == 0
    assert events == ["started", "act one", "Ctrl-C", "waited for", "stopped"]


def test_once_an_interrupted_second_act_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_act_two", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, once=True)
    assert events == ["started", "act one", "Ctrl-C", "stopped"]


def test_an_interrupted_first_act_stops_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_act_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path)
    assert events == ["started", "Ctrl-C", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_the_end_of_the_terminal_stop_the_service(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(*_: Any) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(run, "_act_one", act)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path)
    assert events == ["started", "stopped"]
    assert signal.getsignal(number) is before


def service(script: str, tmp_path: Path) -> Service:
    """A service whose process runs ``script``."""
    made = Service(DemoConfig(data=tmp_path), Console())
    made.command = (sys.executable, "-uc", script)
    return made


def test_the_service_shows_its_lines_until_it_listens_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(print('composer v1 answers now')));"
        "print('starting'); print('SCOT listens on x'); time.sleep(60)"
    )
    with service(script, tmp_path) as running:
        running.wait_until_listening()
        group = os.getpgid(running.pid)
        assert group != os.getpgid(0)  # a Ctrl-C of the terminal does not reach it
    out = capsys.readouterr().out
    assert "starting" in out
    assert "composer v1 answers now" in out
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_a_service_that_ends_at_its_start_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match=r"did not start \(exit code 3\)"),
        service("raise SystemExit(3)", tmp_path) as running,
    ):
        running.wait_until_listening()
