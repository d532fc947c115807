"""From verdicts to an order. Whatever goes wrong, the first stage's order stays, and the reason is told."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scot.edits.concurrency import gather_or_cancel
from scot.rerank.config import RerankConfig
from scot.rerank.judge import Judge, Question, Reason, Unanswered, Verdict, load_judge

_CACHED = 100_000
_SAME = 1e-6
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(41))
"""The weights that :func:`fit_weight` tries."""


@dataclass(frozen=True, slots=True)
class Reranking:
    """The order of N candidates: ``order[0]`` is the place, in the first stage's order, of the best one."""

    order: tuple[int, ...]
    reason: Reason | None = None
    """Why the order is the first stage's; None: the candidates were judged."""
    probabilities: tuple[float, ...] = ()
    """P(right) of each candidate in the first stage's order; empty if they were not judged."""
    asked: int = 0
    """Verdicts that the endpoint gave; the others were in the cache."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Reranker:
    """Judges the candidates of queries, with a cache of verdicts by content."""

    def __init__(self, judge: Judge, *, cached: int = _CACHED) -> None:
        self._judge, self._most = judge, cached
        self._verdicts: dict[bytes, float] = {}  # the oldest first

    async def rerank(
        self,
        edit: str,
        reference: bytes | None,
        candidates: Sequence[bytes | None],
        *,
        weight: float,
        deadline_s: float = math.inf,
    ) -> Reranking:
        """Judge candidates, given in the first stage's order, and fuse (:func:`fused`); never raises ScotError.

        Args:
            edit: what the query says.
            reference: its encoded picture; None: a search by text.
            candidates: encoded pictures; None where there is none.
            weight: of a verdict beside the rank.
            deadline_s: seconds after which the first stage's order is returned. What was judged until then is cached.
        """
        first = tuple(range(len(candidates)))
        shown = [each for each in candidates if each is not None]
        if len(shown) < len(candidates):
            return Reranking(first, "no_candidate_picture")
        asked: list[Verdict] = []
        found: list[float] = []
        reason: Reason | None = None
        try:
            async with asyncio.timeout(deadline_s if math.isfinite(deadline_s) else None):
                found = await gather_or_cancel(
                    self._probability(Question(edit, reference, each), asked) for each in shown
                )
        except Unanswered as error:
            reason = error.reason
        except TimeoutError:
            reason = "late"
        if len(found) > 1 and max(found) - min(found) < _SAME:
            reason = "same_for_all"
        read, written = (sum(getattr(each, f"{kind}_tokens") for each in asked) for kind in ("prompt", "completion"))
        order = first if reason is not None else fused(found, weight)
        return Reranking(order, reason, tuple(found), len(asked), read, written)

    async def close(self) -> None:
        """Close the judge."""
        await self._judge.close()

    async def _probability(self, question: Question, asked: list[Verdict]) -> float:
        key = self._key(question)
        if (known := self._verdicts.pop(key, None)) is None:
            verdict = await self._judge.judge(question)
            asked.append(verdict)
            known = verdict.probability
            while len(self._verdicts) >= self._most:
                del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = known
        return known

    def _key(self, question: Question) -> bytes:
        digest = hashlib.sha256()
        parts = (self._judge.id.encode(), question.edit.encode(), question.reference or b"", question.candidate)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()


def load_reranker(config: RerankConfig) -> Reranker | None:
    """The reranker of a configuration; None without an endpoint. Raises as :func:`~scot.rerank.judge.load_judge`."""
    return Reranker(load_judge(config)) if config.rerank_url else None


def fused(probabilities: Sequence[float], weight: float) -> tuple[int, ...]:
    """The order by w P(right) − r / N, with the rank r = 0 … N − 1 of the first stage.

    With a weight of 0 it is the first stage's. From 1 on, a candidate that is surely right comes before all that are
    surely wrong; equal ones keep their order.
    """
    number = len(probabilities)
    return tuple(sorted(range(number), key=lambda rank: (rank / number - weight * probabilities[rank], rank)))


def fit_weight(judged: Sequence[tuple[Sequence[float], Sequence[bool]]]) -> float:
    """The smallest weight of the highest R@1, if that is above the first stage's by a standard error; otherwise 0.

    Args:
        judged: for each query, P(right) of its candidates and whether they are right, in the first stage's order.
    """
    hits = {weight: [float(right[fused(found, weight)[0]]) for found, right in judged if found] for weight in WEIGHTS}
    if not hits[0.0]:
        return 0.0
    best = max(WEIGHTS, key=lambda weight: (sum(hits[weight]), -weight))
    gains = [after - before for after, before in zip(hits[best], hits[0.0], strict=True)]
    mean = sum(gains) / len(gains)
    error = math.sqrt(max(0.0, sum(gain * gain for gain in gains) / len(gains) - mean * mean) / len(gains))
    return best if mean > error else 0.0
