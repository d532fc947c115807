"""Composers, tuned baselines and the oracles side by side on one benchmark, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scot.baselines import BASELINES, FITTED_BASELINES
from scot.composers import Composer, tuned_baselines
from scot.composers.baselines import TRIED_WEIGHTS
from scot.evaluation.scoring import Estimate, estimates, score
from scot.evaluation.vector_benchmark import QueryVectors, VectorBenchmark

ORACLE, ORACLE_MOVED = "oracle", "oracle_moved"
"""The rows that search with the true captions: T_u, and I + T_u − T_o."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a way of composing, and its metrics by name (``recall@1``, ``recall_subset@1`` …)."""

    name: str
    metrics: Mapping[str, Estimate]

    @property
    def learned(self) -> bool:
        """Whether it is a trained composer, neither a baseline nor an oracle."""
        return self.name.split(":")[0] not in (*BASELINES, *FITTED_BASELINES, ORACLE, ORACLE_MOVED)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table of one drawn world."""

    world: str
    encoder: str
    gallery: int
    queries: int
    rows: tuple[Row, ...]

    def value(self, name: str, metric: str = "recall@1") -> float:
        """A metric of a row by the row's name."""
        return next(row.metrics[metric].value for row in self.rows if row.name == name)

    def best_baseline(self) -> Row:
        """The best row by R@1 that needs no training."""
        plain = (row for row in self.rows if not row.learned and row.name not in (ORACLE, ORACLE_MOVED))
        return max(plain, key=lambda row: row.metrics["recall@1"].value)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**asdict(self), "rows": {row.name: {k: asdict(v) for k, v in row.metrics.items()} for row in self.rows}}


def measure(encoded: VectorBenchmark, queries: QueryVectors) -> dict[str, Estimate]:
    """Rank and score the query vectors of one composer."""
    return estimates(score(encoded.benchmark, encoded.rank(queries)))


def compare(
    encoded: VectorBenchmark, composed: Sequence[tuple[str, QueryVectors]], *, weights: Sequence[float] = TRIED_WEIGHTS
) -> Comparison:
    """Recall of composers by name and query vectors, of the baselines and of both oracles on a benchmark of one part.

    Sum, slerp and centred sum are shown at the weight that is best for this very gallery, and the last with the means
    of this very gallery and its queries' edits, which favors them.
    """
    (part,) = encoded.benchmark.parts
    pool = encoded.references(part.name), encoded.texts([edit for query in part.queries for edit in query.edits])

    def measured(name: str, composer: Composer) -> Row:
        (queries,) = encoded.compose(composer)
        return Row(name, measure(encoded, queries))

    rows = [Row(name, measure(encoded, queries)) for name, queries in composed]
    for composers in tuned_baselines(*pool, weights):
        tried = (measured(name, composer) for name, composer in composers.items())
        rows.append(max(tried, key=lambda row: row.metrics["recall@1"].value))
    rows.append(Row(ORACLE, measure(encoded, encoded.oracle())))
    rows.append(Row(ORACLE_MOVED, measure(encoded, encoded.oracle_moved())))
    gallery = encoded.gallery(part.name)
    several = f", best of {gallery.shape[0]} vectors" if len(gallery.shape) > 1 else ""
    encoder = f"{encoded.encoder_id}{several}"
    return Comparison(encoded.benchmark.name, encoder, len(gallery.names), encoded.benchmark.queries, tuple(rows))
