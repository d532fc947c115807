"""Recall of ranked galleries, with several right answers a query, ties against the query, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]
"""For each query the 1-based rank of its first right answer."""

Scores = npt.NDArray[np.float32]

_RESAMPLES = 1_000
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval (percentiles of resampled queries)."""

    value: float
    low: float
    high: float


def max_similarity(query_QD: Scores, gallery_NVD: Scores) -> Scores:
    """The largest cosine of each query with a picture's V vectors: ``(Q, D)`` and ``(N, V, D)`` to ``(Q, N)``.

    The score of BLIP-2 (arXiv 2301.12597), MaxSim for a query of one vector.
    """
    scores_QN = query_QD @ gallery_NVD[:, 0].T
    for one in range(1, gallery_NVD.shape[1]):
        np.maximum(scores_QN, query_QD @ gallery_NVD[:, one].T, out=scores_QN)
    return scores_QN


def similarity(query_QD: Scores, gallery: Scores) -> Scores:
    """Scores ``(Q, N)`` over a gallery ``(N, D)``, by cosine, or ``(N, V, D)``, by :func:`max_similarity`."""
    return max_similarity(query_QD, gallery) if gallery.ndim == 3 else query_QD @ gallery.T


def ranks(
    query_QD: Scores, gallery: Scores, targets: Sequence[Sequence[int]], excluded: Sequence[Sequence[int]]
) -> Ranks:
    """Rank of the best right answer of each query by :func:`similarity`.

    Args:
        query_QD: queries, unit rows.
        gallery: one vector a picture ``(N, D)``, or several ``(N, V, D)``; unit rows.
        targets: rows of the gallery that are right, at least one a query.
        excluded: rows that do not compete (the reference).

    Returns:
        1-based ranks ``(Q,)``; a wrong answer with an equal score is ranked before the right one.
    """
    found = np.empty(len(query_QD), np.int64)
    for start in range(0, len(query_QD), _BLOCK):
        scores_BN = similarity(query_QD[start : start + _BLOCK], gallery)
        for row, scores_N in enumerate(scores_BN, start):
            right = np.asarray(targets[row])
            best = scores_N[right].max()
            scores_N[right] = -np.inf
            scores_N[np.asarray(excluded[row], np.int64)] = -np.inf
            found[row] = 1 + int((scores_N >= best).sum())
    return found


def subset_ranks(
    query_QD: Scores, gallery: Scores, targets: Sequence[Sequence[int]], subsets: Sequence[Sequence[int]]
) -> Ranks:
    """As :func:`ranks`, among a few gallery rows of each query (the reference not among them)."""
    found = np.empty(len(query_QD), np.int64)
    for row, (right, members) in enumerate(zip(targets, subsets, strict=True)):
        query_1D = query_QD[row : row + 1]
        best = similarity(query_1D, gallery[np.asarray(right)]).max()
        others = [member for member in members if member not in right]
        found[row] = 1 + int((similarity(query_1D, gallery[np.asarray(others, np.int64)]) >= best).sum())
    return found


def recall(found: Ranks, k: int, *, seed: int = 0) -> Estimate:
    """Share of queries with a right answer among the first ``k``."""
    hits = (found <= k).astype(np.float64)
    if not len(hits):
        return Estimate(0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    # A resample of n zeros and ones has a binomial number of ones.
    means = rng.binomial(len(hits), hits.mean(), _RESAMPLES) / len(hits)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(hits.mean()), float(low), float(high))
