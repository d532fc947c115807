"""The progress display: plain lines with total, rate and time left; a bar on a terminal."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from scot.progress import SILENT, Progress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("scot.progress.time.monotonic", lambda: now[0])
    return now


def test_a_line_every_few_seconds_and_at_the_end(clock: list[float]) -> None:
    lines: list[str] = []
    with Progress(lines.append).task("encoding", total=1_200, unit="images") as task:
        for _ in range(12):
            clock[0] += 1.0
            task.advance(100)
    assert lines == [
        "encoding: 300 of 1,200 images (100/s, 9 s left)",
        "encoding: 600 of 1,200 images (100/s, 6 s left)",
        "encoding: 900 of 1,200 images (100/s, 3 s left)",
        "encoding: 1,200 of 1,200 images (100/s)",
    ]


def test_what_an_earlier_run_did_does_not_count_for_the_rate(clock: list[float]) -> None:
    lines: list[str] = []
    with Progress(lines.append).task("writing", unit="captions") as task:
        task.skip(1_000)
        clock[0] += 4.0
        task.advance(2, "7 edits")
        task.total = 1_012
        clock[0] += 4.0
        task.advance(2)
    assert lines == [
        "writing: 1,002 captions (0.5/s) 7 edits",
        "writing: 1,004 of 1,012 captions (0.5/s, 16 s left) 7 edits",
    ]


def test_threads_share_a_task() -> None:
    lines: list[str] = []
    with Progress(lines.append).task("counting") as task:
        threads = [threading.Thread(target=lambda: [task.advance() for _ in range(1_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lines[-1].startswith("counting: 4,000 (")


def test_a_stream_that_is_no_terminal_gets_plain_lines_in_its_encoding() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    progress = Progress.on(stream)
    progress.line("die Größe")
    with progress.task("encoding", 2, "images") as task:
        task.advance(2)
    stream.seek(0)
    first, second = stream.read().splitlines()
    assert first == "die Gr??e"
    assert second.startswith("encoding: 2 of 2 images (")


def test_a_terminal_gets_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    progress = Progress(console=console)
    with progress.task("encoding", 2, "images") as task:
        progress.line("[not markup]")
        task.advance(2)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "encoding: 2 of 2 images (" in shown
    assert "[not markup]" in shown
    assert "━" in shown


def test_silence_and_empty_tasks() -> None:
    lines: list[str] = []
    for progress in (SILENT, Progress(lines.append)):
        with progress.task("encoding", 0):
            pass
    SILENT.line("nobody reads this")
    assert lines == []


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 89, 95, 5_300, 12_000)] == ["0 s", "89 s", "2 min", "88 min", "3 h 20 min"]
