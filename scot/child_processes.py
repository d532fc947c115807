"""The processes that this process started, directly or not; none of them may outlive it."""

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
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Process:
    """A process of Linux; its start time (in clock ticks) distinguishes it from a later one with the same id."""

    pid: int
    parent: int
    began: int


def adopt_orphans() -> None:
    """From now on, a descendant whose parent dies becomes a child of this process, so that it can still be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[Process]:
    """The current children, their children and so on; empty on systems without ``/proc``."""
    children: dict[int, list[Process]] = defaultdict(list)
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit() and (process := _read(int(entry.name))):
            children[process.parent].append(process)
    found: list[Process] = []
    parents = [os.getpid()]
    while parents:
        born = children[parents.pop()]
        found += born
        parents += [process.pid for process in born]
    return found


def wait_or_kill(*, patience_s: float) -> None:
    """Wait until all descendants have ended; after ``patience_s`` seconds, kill the rest."""
    deadline = time.monotonic() + patience_s
    while (alive := descendants()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(100):  # repeated, since one may have started another meanwhile
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
        # The name in parentheses may contain anything; after it come state, parent, … and, 20th, the start time.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else Process(pid, int(fields[1]), int(fields[19]))
