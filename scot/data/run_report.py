"""What a finished job did, as numbers: ``_report.json``, which ``scot plan --check`` compares with the plan.

A report belongs to a run, not to its result: equal results may have been made in another time, on other machines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scot.data.storage import Folder
from scot.errors import InvalidInput, NotFound
from scot.machine import machine

REPORT = "_report.json"
_DEEP = 3  # a report is at most so many folders below the one that is named


@dataclass(frozen=True, slots=True)
class RunReport:
    """One job: how long it took, what it did itself (without what an earlier run had finished), and with what."""

    job: str
    """edits, encoding, pretraining or indexing."""
    seconds: float
    counts: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Of the machine that ran it."""
    machine: str = field(default_factory=machine)

    def write(self, folder: str | Path) -> None:
        """Write it into the folder of the job's result, atomically.

        Raises:
            Unavailable: the folder cannot be written.
        """
        Folder(folder).write(REPORT, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The JSON of the report."""
        return json.dumps(asdict(self), indent=1).encode()


def size_of(folder: str | Path) -> int:
    """The bytes of the files of a folder, its reports left out; a folder that is a URL has 0: it is not listed."""
    place = Folder(folder)
    if not place.local:
        return 0
    files = Path(place.path("")).rglob("*")
    return sum(each.stat().st_size for each in files if each.is_file() and each.name != REPORT)


def read_reports(place: str | Path) -> Iterator[RunReport]:
    """The report in a file or a folder, or those of the folders below a local one.

    Raises:
        NotFound: there is none.
        InvalidInput: one cannot be read.
    """
    source = Folder(place)
    if source.exists(REPORT):
        yield _parsed(source.read(REPORT), source.path(REPORT))
        return
    path = Path(source.path("")) if source.local else Path(str(place))
    if source.local and path.is_file():
        yield _parsed(path.read_bytes(), str(path))
        return
    patterns = ["*/" * deep + REPORT for deep in range(1, _DEEP + 1)]
    found = sorted(each for pattern in patterns for each in path.glob(pattern)) if source.local else []
    if not found:
        raise NotFound(f"there is no report ({REPORT}) in {place}: the job that writes it has not finished")
    for each in found:
        yield _parsed(each.read_bytes(), str(each))


def _parsed(data: bytes, name: str) -> RunReport:
    try:
        raw = json.loads(data)
        counts = {str(key): float(value) for key, value in raw["counts"].items()}
        settings, cores = dict(raw["settings"]), int(raw["cores"])
        return RunReport(str(raw["job"]), float(raw["seconds"]), counts, settings, cores, str(raw["machine"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(f"{name} is not the report of a job") from None
