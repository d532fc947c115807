"""The processes that this one started, directly or not, so that none of them outlives it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
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


_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on a descendant whose parent dies becomes a child of this process, so that it can still be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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


def outlive(*, patience_s: float) -> None:
    """Wait until the descendants are gone; those that still run after ``patience_s`` seconds are killed."""
    deadline = time.monotonic() + patience_s
    while (alive := descendants()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(100):  # again, since one may have started another in between
        if not alive:
            return
        for process in alive:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
        alive = descendants()


def _read(pid: int) -> Process | None:
    try:
        # The name in parentheses may hold anything; the fields after it are state, parent, … and, 20th, the start time.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else Process(pid, int(fields[1]), int(fields[19]))
