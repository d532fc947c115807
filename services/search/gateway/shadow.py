"""A shadow composer: its results for a query are compared with the answer, after the answer was sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from scot.index.store import GalleryStore
from services.search.composer.messages import Composed, Vector
from services.search.metrics import GatewayMetrics
from services.search.rpc.limits import SHADOWS
from services.search.rpc.query import SearchQuery
from services.search.serve_calls import public_error

logger = logging.getLogger("ray.serve")

TOP = 10
"""The number of items that are compared."""


@dataclass(frozen=True, slots=True)
class AnsweredQuery:
    """A query, its query vectors, and the item ids of the page that was sent."""

    query: SearchQuery
    composed: Composed
    item_ids: tuple[str, ...]
    with_shadow: bool
    """Whether the query vector of its shadow was requested."""

    @property
    def best(self) -> tuple[str, ...] | None:
        """The ids of the ten best items, if the page begins with them."""
        query = self.query
        plain = query.score_threshold is None and query.mmr is None and not query.group_by
        return self.item_ids[:TOP] if plain and query.offset == 0 and query.limit >= TOP else None


class Shadow:
    """Compares one answer at a time; at most ``SHADOWS`` wait. Needs a running event loop."""

    def __init__(self, store: GalleryStore, metrics: GatewayMetrics) -> None:
        self._store, self._metrics = store, metrics
        self._waiting: asyncio.Queue[AnsweredQuery] = asyncio.Queue(SHADOWS)
        self._work = asyncio.create_task(self._compare_all())

    @property
    def has_capacity(self) -> bool:
        """Whether one more answer can wait; if not, its shadow need not be composed."""
        return not self._waiting.full()

    def offer(self, answer: AnsweredQuery) -> None:
        """Queue this answer for comparison, if it has a shadow; never waits."""
        if not answer.composed.shadow:
            return
        if answer.composed.shadow_vector is None:
            self._metrics.shadowed("failed" if answer.with_shadow else "dropped")
            return
        try:
            self._waiting.put_nowait(answer)
        except asyncio.QueueFull:
            self._metrics.shadowed("dropped")

    async def close(self) -> None:
        """Stop comparing."""
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

    async def _compare(self, answer: AnsweredQuery) -> str:
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

    async def _search(self, query: SearchQuery, vector: Vector) -> tuple[str, ...]:
        with self._metrics.store("shadow"):
            hits = await self._store.search(
                query.collection, vector, limit=TOP, filter=query.filter, exclude_ids=query.excluded
            )
        return tuple(hit.item_id for hit in hits)


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The number of items in common, as a share of the longer list."""
    return len(set(ours) & set(theirs)) / max(len(ours), len(theirs))
