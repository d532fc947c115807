"""A new composer beside the one that answers: what it would have found, compared once the answer is on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from scot.index.store import GalleryStore
from services.calls import public_error
from services.search.composer.compose_batch import Composed, Vector
from services.search.metrics import GatewayMetrics
from services.search.rpc.limits import SHADOWS
from services.search.rpc.query import Query

logger = logging.getLogger("ray.serve")

TOP = 10
"""Items that are compared."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A query, what was composed of it, and the ids of the page that was answered."""

    query: Query
    composed: Composed
    item_ids: tuple[str, ...]
    asked: bool
    """Whether its shadow was asked for."""

    @property
    def best(self) -> tuple[str, ...] | None:
        """The ids of the ten best items, if the page that was asked for begins with them."""
        whole = self.query.offset == 0 and self.query.limit >= TOP and self.query.score_threshold is None
        return self.item_ids[:TOP] if whole else None


class Shadow:
    """Compares one answer at a time; at most ``SHADOWS`` wait. To be made where an event loop runs."""

    def __init__(self, store: GalleryStore, metrics: GatewayMetrics) -> None:
        self._store, self._metrics = store, metrics
        self._waiting: asyncio.Queue[Answer] = asyncio.Queue(SHADOWS)
        self._work = asyncio.create_task(self._compare_all())

    @property
    def has_time(self) -> bool:
        """Whether one more answer can wait; if not, its shadow need not be composed."""
        return not self._waiting.full()

    def offer(self, answer: Answer) -> None:
        """Compare this answer, if it has a shadow, when it is its turn; never waits."""
        if not answer.composed.shadow:
            return
        if answer.composed.shadow_vector is None:
            self._metrics.shadowed("failed" if answer.asked else "dropped")
            return
        try:
            self._waiting.put_nowait(answer)
        except asyncio.QueueFull:
            self._metrics.shadowed("dropped")

    async def close(self) -> None:
        """Compare no more."""
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)

    async def _compare_all(self) -> None:
        while True:
            answer = await self._waiting.get()
            try:
                self._metrics.shadowed(await self._compare(answer))
            except Exception as error:
                self._metrics.shadowed("failed")
                logger.warning("a shadow cannot be compared: %s", public_error(error)[1])

    async def _compare(self, answer: Answer) -> str:
        query, composed = answer.query, answer.composed
        assert composed.shadow_vector is not None
        theirs = await self._search(query, composed.shadow_vector)
        ours = answer.best
        if ours is None:
            ours = await self._search(query, composed.vector)
        if not ours and not theirs:
            return "empty"
        self._metrics.overlap(composed.shadow, overlap(ours, theirs))
        return "compared"

    async def _search(self, query: Query, vector: Vector) -> tuple[str, ...]:
        with self._metrics.store("shadow"):
            hits = await self._store.search(
                query.collection,
                vector,
                limit=TOP,
                filter=query.filter,
                exclude_ids=query.excluded,
            )
        return tuple(hit.item_id for hit in hits)


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The share of items in common, of the longer list."""
    return len(set(ours) & set(theirs)) / max(len(ours), len(theirs))
