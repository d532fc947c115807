"""One page of a search in an order that all pages share: best first, and equal scores by point id.

An engine keeps the best ``offset + limit`` points and cuts. Which of several equal points it keeps depends on that
number, so that pages of equal scores (copies of a picture) would lose some points and repeat others. The score at each
rank does not depend on it. So a page asks for its two neighbors as well: if neither has the score of the page's edge,
the page has the right points; otherwise the points down to that score are fetched by their ids alone, and sorted.
"""

from __future__ import annotations

from dataclasses import replace

from scot.index.config import SearchParams
from scot.index.engine import Engine, Point, Search

MAX_RANKED = 50_000
"""The most points that are sorted; behind so many, equal scores are in the engine's own order."""
_AT_LEAST, _GROWTH = 256, 4


async def ranked(engine: Engine, collection: str, search: Search, params: SearchParams) -> list[Point]:
    """The points of ``search`` from its ``offset`` on, up to its ``limit``, by descending score and ascending id.

    Maximal marginal relevance has an order of its own, which stays as it is.
    """
    if search.mmr is not None:
        return await engine.query(collection, search, params)
    before = min(1, search.offset)
    wider = replace(search, offset=search.offset - before, limit=before + search.limit + 1)
    found = await engine.query(collection, wider, params)
    page = found[before : before + search.limit]
    if not page:
        return []
    begins_within = before == 1 and found[0].score == page[0].score
    ends_within = len(found) > before + len(page) and found[-1].score == page[-1].score
    if not (begins_within or ends_within):
        return sorted(page, key=_rank)
    best = await _best(engine, collection, search, params, rank=search.offset + len(page))
    wanted = sorted(best, key=_rank)[search.offset : search.offset + search.limit]
    known = {point.id: point for point in page}
    if missing := [point.id for point in wanted if point.id not in known]:
        fetched = await engine.retrieve(collection, missing, with_vectors=search.with_vectors)
        known |= {point.id: point for point in fetched}
    # A point that was deleted since then has a score alone.
    return [replace(known[point.id], score=point.score) for point in wanted if point.id in known]


async def _best(engine: Engine, collection: str, search: Search, params: SearchParams, *, rank: int) -> list[Point]:
    """The points that score at least what the one at ``rank`` (from 1) does, and more, without payloads."""
    most = max(_AT_LEAST, search.offset + search.limit + 1)
    while True:
        plain = replace(search, offset=0, limit=most, with_payload=False, with_vectors=False)
        found = await engine.query(collection, plain, params)
        if len(found) < most or found[-1].score < found[rank - 1].score or most >= MAX_RANKED:
            return found
        most = min(MAX_RANKED, most * _GROWTH)


def _rank(point: Point) -> tuple[float, str]:
    return -point.score, point.id
