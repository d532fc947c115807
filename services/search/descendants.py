"""The processes that this one started, directly or not, so that none of them outlives it."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of Linux; the time it began (in clock ticks) tells it from a later one with the same number."""

    pid: int
    parent: int
    began: int


def descendants() -> list[Process]:
    """Children, their children and so on, as of now; none where there is no ``/proc``."""
    children: dict[int, list[Process]] = defaultdict(list)
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit() and (process := _read(int(entry.name))):
            children[process.parent].append(process)
    found: list[Process] = []
    ahead = [os.getpid()]
    while ahead:
        born = children[ahead.pop()]
        found += born
        ahead += [process.pid for process in born]
    return found


def outlive(processes: list[Process], *, patience_s: float) -> None:
    """Wait until the processes are gone; those that still run after ``patience_s`` seconds are killed."""
    deadline = time.monotonic() + patience_s
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _runs(process: Process) -> bool:
    now = _read(process.pid)
    return now is not None and now.began == process.began


def _read(pid: int) -> Process | None:
    try:
        # The name in parentheses may hold anything; the fields after it are state, parent, … and, 20th, the start time.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else Process(pid, int(fields[1]), int(fields[19]))
