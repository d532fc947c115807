"""Rank the gallery of a benchmark for query vectors, and the few images of a query's subset or candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from scot.evaluation.base import SUBSET, WHOLE, Benchmark, Part, Query
from scot.evaluation.topk import BLOCK, similarity, top_k


class Gallery(Protocol):
    """The unit vectors of named images, in order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: ``(D,)``, or ``(V, D)`` for several vectors an image."""

    def blocks(self, size: int = BLOCK, *, reuse: bool = False) -> Iterator[torch.Tensor]:
        """The rows in order, float32, about ``size`` a block; with ``reuse`` a block is valid until the next."""

    def rows(self, wanted: Sequence[str]) -> torch.Tensor:
        """The rows of some images, in the order of ``wanted``."""


def rank(
    part: Part, query_QD: torch.Tensor, stored: Gallery, benchmark: Benchmark
) -> dict[str, dict[str, tuple[str, ...]]]:
    """The rankings of a part's queries, by kind and query id."""
    own = [query for query in part.queries if query.candidates]
    if own and len(own) == len(part.queries):
        return {WHOLE: _among(part, query_QD, stored, lambda query: query.candidates, len(stored.names))}
    row_of = {name: row for row, name in enumerate(stored.names)}
    excluded = [[row_of[query.reference]] if benchmark.drop_reference else [] for query in part.queries]
    searched = len(stored.names) - len(part.apart)
    count = min(benchmark.depth, searched - benchmark.drop_reference)
    rows_QK, _ = top_k(query_QD, _first(stored.blocks(reuse=True), searched), count, excluded)
    found = {
        WHOLE: {
            query.query_id: tuple(stored.names[row] for row in rows)
            for query, rows in zip(part.queries, rows_QK.tolist(), strict=True)
        }
    }
    if benchmark.subset_depth:
        found[SUBSET] = _among(part, query_QD, stored, lambda query: query.subset, benchmark.subset_depth)
    return found


def _first(blocks: Iterator[torch.Tensor], rows: int) -> Iterator[torch.Tensor]:
    """The first rows of the blocks."""
    for block in blocks:
        if rows <= 0:
            return
        yield block[:rows]
        rows -= len(block)


def _among(
    part: Part, query_QD: torch.Tensor, stored: Gallery, pool: Callable[[Query], tuple[str, ...]], depth: int
) -> dict[str, tuple[str, ...]]:
    """Each query's ranking of a few images; of equal scores, the one that is earlier in the gallery first."""
    row_of = {name: row for row, name in enumerate(stored.names)}
    pools = [sorted(pool(query), key=row_of.__getitem__) for query in part.queries]
    used = list(dict.fromkeys(name for names in pools for name in names))
    place = {name: n for n, name in enumerate(used)}
    vectors = stored.rows(used)
    found: dict[str, tuple[str, ...]] = {}
    for query, query_1D, names in zip(part.queries, query_QD.split(1), pools, strict=True):
        scores_N = similarity(query_1D, vectors[[place[name] for name in names]])[0]
        order = scores_N.argsort(descending=True, stable=True)[:depth].tolist()
        found[query.query_id] = tuple(names[n] for n in order)
    return found
