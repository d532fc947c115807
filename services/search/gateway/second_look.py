"""The second look at the first hits: a vision-language model judges their thumbnails, in the time that the query has.

The first stage's answer is ready before it begins, so a slow or dead judge costs the query its deadline and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scot.data.images import decode_image
from scot.edit import Edit
from scot.errors import InvalidInput, NotFound, ScotError
from scot.index.store import ScoredItem
from scot.rerank import Reranking
from scot.rerank.pictures import picture_bytes
from services.search.gateway.context import Context
from services.search.rpc.query import RerankInput, SearchQuery
from services.search.tracing import span


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The hits of a page, and why they are in the first stage's order; an empty reason: they were reranked."""

    hits: Sequence[ScoredItem]
    reason: str


def check_rerank(context: Context, rerank: RerankInput | None) -> None:
    """Check that the service can do what a request wants. Raises InvalidInput, NotFound."""
    if rerank is None:
        return
    config = context.settings.service.rerank
    if context.reranker is None:
        raise InvalidInput("rerank: this service has no reranker (its setting rerank_url)")
    if rerank.model not in ("", config.rerank_model):
        raise NotFound(f"rerank.model: this service has no reranker {rerank.model!r}, but {config.rerank_model!r}")


def candidates(context: Context, query: SearchQuery) -> tuple[int, int]:
    """The offset and limit of the first stage's search: the page, and what is to be judged."""
    if (top := _top(context, query)) <= query.offset:
        return query.offset, query.limit
    return 0, max(top, query.offset + query.limit)


async def second_look(
    context: Context, query: SearchQuery, found: Sequence[ScoredItem], reference: bytes | None
) -> SecondLook:
    """The page of a query after its first hits were judged; whatever fails, the page in the first stage's order.

    Args:
        context: the gateway's.
        query: a query with ``rerank``.
        found: the hits of the search that :func:`candidates` says.
        reference: the picture that the query shows, if it shows one itself and that was decoded for its vector.
    """
    assert query.rerank is not None
    top = _top(context, query)
    if top <= query.offset:
        return SecondLook(found, "behind_top")
    with span("rerank") as traced:
        if context.second_looks.locked():  # a slow judge leaves half of the gateway's places to other searches
            judged = Reranking(tuple(range(len(found[:top]))), "busy")
        else:
            async with context.second_looks:
                judged = await _judged(context, query, query.rerank, found[:top], reference)
        traced.note(scot__rerank=judged.reason or "reranked", scot__verdicts=judged.asked)
    context.metrics.reranked(judged, len(found[:top]))
    hits = [*(found[place] for place in judged.order), *found[top:]]
    return SecondLook(hits[query.offset : query.offset + query.limit], judged.reason or "")


async def _judged(
    context: Context, query: SearchQuery, rerank: RerankInput, found: Sequence[ScoredItem], reference: bytes | None
) -> Reranking:
    assert context.reranker is not None
    config, begun = context.settings.service.rerank, time.perf_counter()
    first = tuple(range(len(found)))
    (turn,) = query.turns
    shown = turn.references[0] if turn.references else None
    named = [shown.item_id] if shown is not None and shown.item_id is not None else []
    names = [*named, *(hit.item_id for hit in found)]
    deadline_s = config.rerank_deadline_s if rerank.deadline_s is None else rerank.deadline_s
    try:
        async with asyncio.timeout(deadline_s):
            pictures = await _thumbnails(context, query.collection, names)
            if reference is None and shown is not None and shown.image is not None:  # its query vector was cached
                reference = await asyncio.get_running_loop().run_in_executor(context.threads, _decoded, shown.image)
    except TimeoutError:
        return Reranking(first, "late")
    if shown is not None:
        reference = pictures.get(named[0]) if named else reference
        if reference is None:
            return Reranking(first, "no_reference_picture")
    return await context.reranker.rerank(
        _said(turn.edits),
        reference,
        [pictures.get(hit.item_id) for hit in found],
        weight=config.rerank_weight if rerank.weight is None else rerank.weight,
        deadline_s=max(0.0, deadline_s - (time.perf_counter() - begun)),
    )


async def _thumbnails(context: Context, collection: str, names: Sequence[str]) -> dict[str, bytes]:
    """The thumbnails of items that were just found: the store need not be asked whether they exist."""
    if context.store.thumbnails is None:
        return {}
    try:
        return await asyncio.to_thread(context.store.thumbnails.read, collection, names)
    except ScotError:
        return {}


def _decoded(image: bytes) -> bytes:
    return picture_bytes(decode_image(image))


def _top(context: Context, query: SearchQuery) -> int:
    assert query.rerank is not None
    return query.rerank.top or context.settings.service.rerank.rerank_top


def _said(edits: Sequence[Edit]) -> str:
    """The edits as one text."""
    return ", and ".join(f"not {edit.text}" if edit.negative else edit.text for edit in edits)
