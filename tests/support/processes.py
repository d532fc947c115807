"""Processes of a running service, by their titles."""

from __future__ import annotations

from pathlib import Path

from scot.child_processes import descendants


def titled(beginning: str) -> set[int]:
    """The ids of the processes below this one whose titles begin so."""
    return {process.pid for process in descendants() if _title(process.pid).startswith(beginning)}


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return ""
