"""The registry's gate (``scot composers promote``), here or as a job in the cluster, where the registry can be read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scot.cluster.job_status import Outcome
from scot.composers import Registry
from scot.errors import NotFound, NotPromoted, ScotError, Unavailable

Run = Callable[[str, Sequence[str], Callable[[str], None]], Outcome]
"""Run a command in the cluster: a title, its words, and what gets the lines of its log."""


@dataclass(frozen=True)
class Question:
    """What the gate is asked."""

    version: str
    composers: str
    galleries: tuple[str, ...]
    encoder: str
    force: bool = False


def readable_here(question: Question) -> bool:
    """Whether the registry and every gallery can be read from this machine."""
    try:
        known = bool(Registry(question.composers).versions())
    except (ScotError, OSError, ImportError, ValueError):
        return False
    return known and all(Path(gallery).is_dir() for gallery in question.galleries)


class GateHere:
    """The gate in this process."""

    def __init__(self, question: Question, show: Callable[[str], None] = print) -> None:
        self._question, self._show = question, show

    def promote(self) -> bool:
        """Measure and move the pointer. Raises NotPromoted and what the registry raises."""
        from scot.evaluation import promotion

        asked = self._question
        decision = promotion.promote(
            Registry(asked.composers),
            asked.version,
            galleries=[Path(gallery) for gallery in asked.galleries],
            encoder=asked.encoder,
            cache=Path(tempfile.gettempdir()) / "scot-gate",  # embeddings of galleries, by their content
            force=asked.force,
            on_progress=self._show,
        )
        self._show(decision.summary)
        if decision.outcome == "refused":
            raise NotPromoted(f"{decision.summary}; --force promotes it all the same")
        return decision.promoted

    def rollback(self) -> None:
        """Move the pointer back. Raises NotFound when nothing was released before."""
        from scot.evaluation import promotion

        promotion.rollback(Registry(self._question.composers))


class GateInCluster:
    """The gate as a job beside the data."""

    def __init__(self, question: Question, run: Run, show: Callable[[str], None]) -> None:
        self._question, self._run, self._show = question, run, show

    def promote(self) -> bool:
        """Measure and move the pointer, in a job. Raises NotPromoted when the job says no."""
        asked = self._question
        words = ["promote", asked.version, "--composers", asked.composers, "--encoder", asked.encoder]
        words += ["--gallery", *asked.galleries] if asked.galleries else []
        words += ["--cache", "/tmp/gate", *(["--force"] if asked.force else [])]
        lines: list[str] = []
        ended = self._composers("promote", words, lines)
        if not ended.succeeded:
            refusals = [line for line in lines if line.startswith("scot composers promote: ")]
            said = refusals[-1].partition(": ")[2] if refusals else f"the job that measures it {ended.said}"
            raise NotPromoted(said)
        return any(re.match(rf"promoted {re.escape(asked.version)} \(", line) for line in lines)

    def rollback(self) -> None:
        """Move the pointer back, in a job. Raises Unavailable when the job fails."""
        ended = self._composers("rollback", ["rollback", "--composers", self._question.composers], [])
        if not ended.succeeded:
            raise Unavailable(f"the job that does it {ended.said}")

    def _composers(self, title: str, words: Sequence[str], lines: list[str]) -> Outcome:
        def show(line: str) -> None:
            lines.append(line)
            self._show(line)

        return self._run(title, ["python", "-m", "scot.cli", "composers", *words], show)


def published(lines: Sequence[str]) -> str:
    """The version that a pretraining job says it published. Raises NotFound when it says none."""
    for line in reversed(lines):
        if match := re.match(r"published (\S+) \(", line) or re.search(r"is finished: .*, published as (\S+)$", line):
            return match[1]
    raise NotFound("the pretraining job did not say which version it published")
