"""Rerank the rankings of a benchmark, whoever made them: the judge sees the images, and writes rankings again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scot.errors import ImageRefused
from scot.evaluation.base import WHOLE, Benchmark, Query, Rankings
from scot.evaluation.images import ImageFile
from scot.progress import SILENT, Progress
from scot.rerank import RerankConfig, Reranker, Reranking, load_judge
from scot.rerank.pictures import picture_bytes
from scot.rerank.reranker import fit_weight

_QUERIES_AT_ONCE = 32
Images = Mapping[str, Mapping[str, ImageFile]]
"""Part to image name to its file."""


@dataclass(frozen=True, slots=True)
class RerankedBenchmark:
    """The new rankings, how many queries kept the first order and why, and the weights that fit half of the queries.

    ``weights`` is for one half and the other, empty where the answers are secret.
    """

    rankings: Rankings
    kept: Mapping[str, int]
    weights: tuple[float, ...]
    asked: int
    prompt_tokens: int
    completion_tokens: int


async def rerank_benchmark(
    benchmark: Benchmark, rankings: Rankings, images: Images, config: RerankConfig, progress: Progress = SILENT
) -> RerankedBenchmark:
    """Judge the first ``rerank_top`` names of every ranking; the names behind them stay where they are."""
    reranker = Reranker(load_judge(config))
    work = [(kind, part.name, query) for kind in rankings for part in benchmark.parts for query in part.queries]
    new: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    kept: Counter[str] = Counter()
    judged: list[tuple[Sequence[float], Sequence[bool]]] = []
    tokens: Counter[str] = Counter()
    try:
        with progress.task("reranking", len(work), "rankings") as task:
            for start in range(0, len(work), _QUERIES_AT_ONCE):
                some = work[start : start + _QUERIES_AT_ONCE]
                first = [rankings[kind][part][query.query_id] for kind, part, query in some]
                done = await asyncio.gather(
                    *(
                        _rerank(reranker, query, names[: config.rerank_top], images[part], config)
                        for (_, part, query), names in zip(some, first, strict=True)
                    )
                )
                for (kind, part, query), names, found in zip(some, first, done, strict=True):
                    top = names[: config.rerank_top]
                    order = (*(top[place] for place in found.order), *names[len(top) :])
                    new.setdefault(kind, {}).setdefault(part, {})[query.query_id] = order
                    if found.reason is not None:
                        kept[found.reason] += 1
                    if kind == WHOLE:
                        judged.append((found.probabilities, [name in query.targets for name in top]))
                    for name in ("asked", "prompt_tokens", "completion_tokens"):
                        tokens[name] += getattr(found, name)
                task.advance(len(some))
    finally:
        await reranker.close()
    weights = tuple(fit_weight(judged[half::2]) for half in (0, 1)) if benchmark.answered else ()
    return RerankedBenchmark(
        new, kept, weights, *(tokens[name] for name in ("asked", "prompt_tokens", "completion_tokens"))
    )


async def _rerank(
    reranker: Reranker, query: Query, names: Sequence[str], files: Mapping[str, ImageFile], config: RerankConfig
) -> Reranking:
    reference, *candidates = await asyncio.to_thread(
        lambda: [_picture(files.get(name)) for name in (query.reference, *names)]
    )
    if reference is None:
        return Reranking(tuple(range(len(names))), "no_reference_picture")
    return await reranker.rerank(query.edits[0], reference, candidates, weight=config.rerank_weight)


def _picture(file: ImageFile | None) -> bytes | None:
    try:
        return None if file is None else picture_bytes(file.load())
    except ImageRefused:
        return None
