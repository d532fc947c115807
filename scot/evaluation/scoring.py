"""From rankings to the official numbers: the metrics of one ranking, and their means over queries."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scot.errors import InvalidInput
from scot.evaluation.base import SUBSET, WHOLE, Benchmark, Query, Rankings

_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Scores:
    """The metrics as fractions by name, and what each query contributed."""

    metrics: Mapping[str, float]
    per_query: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval (percentiles of resampled queries)."""

    value: float
    low: float
    high: float


def estimate(hits: Sequence[float], *, seed: int = 0) -> Estimate:
    """The share of ones among zeros and ones, one a query; 0 of none."""
    if not hits:
        return Estimate(0.0, 0.0, 0.0)
    mean = math.fsum(hits) / len(hits)
    # A resample of n zeros and ones has a binomial number of ones.
    means = np.random.default_rng(seed).binomial(len(hits), mean, _RESAMPLES) / len(hits)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(mean, float(low), float(high))


def estimates(scores: Scores) -> dict[str, Estimate]:
    """The recalls of a benchmark of one part, with their intervals."""
    names = [name for name in scores.per_query[0] if name != "query"]
    return {name: estimate([query[name] for query in scores.per_query]) for name in names}


def recall_at(ranking: Sequence[str], targets: Collection[str], k: int) -> float:
    """1 when a right answer is among the first ``k`` names, otherwise 0."""
    return float(any(name in targets for name in ranking[:k]))


def recalls(
    query: Query, lists: Mapping[str, Sequence[str]], *, whole_at: Sequence[int], subset_at: Sequence[int] = ()
) -> dict[str, float]:
    """``recall@K`` of the gallery's ranking and ``recall_subset@K`` of the subset's, for the given ones."""
    depths = {WHOLE: whole_at, SUBSET: subset_at}
    return {
        f"{kind}@{k}": recall_at(lists[kind], query.targets, k)
        for kind in depths
        if kind in lists
        for k in depths[kind]
    }


def average_precision(ranking: Sequence[str], targets: Collection[str], k: int) -> float:
    """AP@K = Σ_{i≤K} rel_i · precision@i / min(|targets|, K) (CIRCO, Baldrati et al. 2023, arXiv 2303.15247)."""
    found, precisions = 0, 0.0
    for place, name in enumerate(ranking[:k], 1):
        if name in targets:
            found += 1
            precisions += found / place
    return precisions / min(len(targets), k)


def score(benchmark: Benchmark, rankings: Rankings) -> Scores:
    """Measure every query, average, and add the numbers that papers quote.

    Raises:
        InvalidInput: the split's answers are secret, or no query remains.
    """
    if not benchmark.answered:
        raise InvalidInput(
            f"the answers of {benchmark.name} {benchmark.split} are known to the authors' server only: check the file "
            f"with `scot evaluate validate-submission` and send it there"
        )
    if not benchmark.queries:
        raise InvalidInput(f"no query of {benchmark.name} {benchmark.split} is left to measure")
    per_query: list[dict[str, Any]] = []
    values: dict[str, list[float]] = {}
    for part in benchmark.parts:
        prefix = f"{part.name}/" if part.name and not benchmark.pooled else ""
        for query in part.queries:
            lists = {kind: parts[part.name][query.query_id] for kind, parts in rankings.items()}
            measured = benchmark.measure(query, lists)
            for name, value in measured.items():
                values.setdefault(f"{prefix}{name}", []).append(value)
            per_query.append({**({"part": part.name} if part.name else {}), "query": query.query_id, **measured})
    metrics = {name: math.fsum(each) / len(each) for name, each in values.items()}
    quoted = {**benchmark.headline(metrics), **benchmark.over_queries(per_query)}
    return Scores({**metrics, **quoted}, tuple(per_query))


def mean_over(metrics: Mapping[str, float], parts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """``mean/NAME``: the unweighted mean over the parts."""
    return {f"mean/{name}": math.fsum(metrics[f"{part}/{name}"] for part in parts) / len(parts) for name in names}
