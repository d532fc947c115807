"""The release gate: a composer is promoted if, on every world, it is not measurably worse than the released one.

Not worse means: its recall@1 and its subset recall@1 are not below the lower end of the released composer's 95 %
bootstrap interval, on the same queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import scot
from scot.baselines import NATIVE
from scot.composers import Composer
from scot.evaluation.comparison import measure
from scot.evaluation.model import EncodedBenchmark
from scot.evaluation.scoring import Estimate

GATE_METRICS = ("recall@1", "recall_subset@1")
COMPARED = ("recall@1", "recall@5", "recall@10", "recall_subset@1")

Outcome = Literal["first release", "passed", "forced", "refused", "already released"]


@dataclass(frozen=True, slots=True)
class Check:
    """One metric on one gallery: what the candidate reached, and what the other did.

    The other is the released version, before the first release the packaged composer, and None if there is neither.
    """

    world: str
    gallery: str  # a hash of the pictures' ids and the queries
    pictures: int
    queries: int
    metric: str
    candidate: Estimate
    other: Estimate | None

    @property
    def winner(self) -> Literal["candidate", "other", "neither"]:
        """The composer whose value is above the interval of the other's."""
        if self.other is None or self.candidate.value > self.other.high:
            return "candidate"
        return "other" if self.candidate.value < self.other.low else "neither"

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**asdict(self), "winner": self.winner}


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided about a candidate, with the numbers it used."""

    at: str  # UTC, ISO 8601
    outcome: Outcome
    candidate: str
    released: str | None
    encoder: str
    objection: str  # the reason to refuse it; empty if it passes
    checks: tuple[Check, ...]
    packaged: str | None = None  # what answered, and it was compared with, where nothing is released

    @property
    def compared_with(self) -> str | None:
        """The other of the checks."""
        return self.released or self.packaged

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the released composer."""
        return self.outcome in ("first release", "passed", "forced")

    @property
    def summary(self) -> str:
        """The decision and its numbers in one sentence."""
        if self.objection:
            return self.objection
        if self.outcome == "already released":
            return f"{self.candidate} is the released composer already"
        against = f"not below the interval of {self.released}" if self.released else self._first_release()
        return f"{self.candidate}: {'; '.join(map(_numbers, self.checks))}: {against}"

    def _first_release(self) -> str:
        """How a first release compares with the packaged or native composer that answered until then."""
        before = "nothing was released before"
        if self.packaged is None:
            return before
        other = "the native composer" if self.packaged == NATIVE else f"the packaged {self.packaged}"
        worse = [check for check in self.checks if check.winner == "other"]
        better = [check for check in self.checks if check.winner == "candidate"]
        if worse:
            numbers = "; ".join(
                f"{_numbers(check)} is below its {check.other.value:.3f}" for check in worse if check.other
            )
            return f"{before}, but {other}, which answered, measured better: {numbers}"
        ahead = f"measured better than {other} on {len(better)} of {len(self.checks)} numbers"
        return f"{before}; {ahead if better else f'not below the interval of {other}'}"

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        checks = [check.to_json() for check in self.checks]
        return {**asdict(self), "said": self.summary, "scot": scot.__version__, "checks": checks}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Decision:
        """Read back what :meth:`to_json` wrote. Raises KeyError, TypeError where a field is missing."""
        checks = tuple(
            Check(
                **{name: each[name] for name in ("world", "gallery", "pictures", "queries", "metric")},
                candidate=Estimate(**each["candidate"]),
                other=Estimate(**each["other"]) if each["other"] else None,
            )
            for each in values["checks"]
        )
        names = ("at", "outcome", "candidate", "released", "encoder", "objection")
        return cls(**{name: values[name] for name in names}, checks=checks, packaged=values.get("packaged"))


def compared(
    encoded: EncodedBenchmark,
    candidate: Composer,
    other: Composer | None,
    *,
    gallery: str,
    metrics: Sequence[str] = GATE_METRICS,
) -> list[Check]:
    """Measure one or two composers on one drawn gallery, whose hash is ``gallery``."""
    composers = [candidate] if other is None else [candidate, other]
    ours, *theirs = (measure(encoded, queries) for queries in encoded.compose(*composers))
    benchmark = encoded.benchmark
    size = (len(benchmark.parts[0].gallery or ()), benchmark.queries)
    return [
        Check(benchmark.name, gallery, *size, metric, ours[metric], theirs[0][metric] if theirs else None)
        for metric in metrics
    ]


def decide(
    candidate: str,
    released: str | None,
    encoder: str,
    checks: Sequence[Check],
    *,
    objection: str = "",
    force: bool = False,
    packaged: str | None = None,
) -> Decision:
    """Judge a candidate by its checks against the released version.

    Args:
        candidate: the version to promote.
        released: the version it was compared with, None before the first release.
        encoder: the encoder's id.
        checks: every gate metric of every gallery.
        objection: why the two cannot be compared, which refuses it as well.
        force: promote it in spite of any objection.
        packaged: the packaged or native composer that the checks compare with, where nothing is released; it refuses
            none.
    """
    below = [check for check in checks if check.winner == "other" and released]
    if below and not objection:
        worse = "; ".join(f"{_numbers(check)} is below {_interval(check.other)} of {released}" for check in below)
        objection = f"{candidate} is worse than the released {released}: {worse}"
    outcome: Outcome = "passed" if released else "first release"
    if objection:
        outcome = "forced" if force else "refused"
    return Decision(utc_now(), outcome, candidate, released, encoder, objection, tuple(checks), packaged)


def utc_now() -> str:
    """The time as decisions record it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _numbers(check: Check) -> str:
    return f"{check.metric} {check.candidate.value:.3f} on {check.world}"


def _interval(estimate: Estimate | None) -> str:
    return f"{estimate.low:.3f} to {estimate.high:.3f}, the 95 % interval" if estimate else ""
