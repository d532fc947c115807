"""The methods of SearchService."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from PIL import Image

from scot.errors import InvalidInput
from scot.index.filters import match_to_proto
from scot.index.origin import origin_to_proto
from scot.index.payload import payload_to_proto
from scot.index.store import ItemGroup, ScoredItem
from scot.rerank.pictures import picture_bytes
from scot.v1 import search_pb2
from services.calls import count_request, request_id
from services.ordered_map import ordered_map
from services.search.composer.messages import Composed, ComposeJob, ComposeTurn, EncodedText, Vector
from services.search.gateway.context import Context
from services.search.gateway.conversation import compose_turns, item_vectors, start_item
from services.search.gateway.second_look import candidates, check_rerank, second_look
from services.search.gateway.shadow import AnsweredQuery
from services.search.gateway.tenants import collection_of
from services.search.rpc import limits
from services.search.rpc.query import SearchQuery, parse_query
from services.search.rpc.validation import (
    checked_field,
    checked_filter,
    checked_image,
    checked_number,
    checked_text,
    vector_message,
)
from services.search.serve_calls import public_error
from services.search.tracing import span

if TYPE_CHECKING:
    from scot.encoders.resizing import Pixels

logger = logging.getLogger("ray.serve")


async def compose_search(
    context: Context, request: search_pb2.ComposeSearchRequest
) -> search_pb2.ComposeSearchResponse:
    """Answer one query."""
    response = await answer_query(context, request)
    context.metrics.answer(request, response)
    return response


async def compose_search_stream(
    context: Context, requests: AsyncIterator[search_pb2.ComposeSearchRequest]
) -> AsyncIterator[search_pb2.ComposeSearchResponse]:
    """Answer many queries; a refused one is answered with its error, and the stream continues."""

    async def answer(request: search_pb2.ComposeSearchRequest) -> search_pb2.ComposeSearchResponse:
        begun, status = time.perf_counter(), "OK"
        try:
            await count_request(request)
            async with context.stream_queries:  # first come, first served, for all streams
                return await compose_search(context, request)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:
            status, message = public_error(error)
            if status == "INTERNAL":
                logger.error("a query of a stream failed", exc_info=error)
            return search_pb2.ComposeSearchResponse(error=search_pb2.QueryError(status=status, message=message))
        finally:
            context.metrics.request("stream_query", status, time.perf_counter() - begun)

    async for response in ordered_map(requests, answer, window=limits.STREAM_WINDOW):
        yield response


async def answer_query(context: Context, request: search_pb2.ComposeSearchRequest) -> search_pb2.ComposeSearchResponse:
    """Check the request, decode, compose in one call to the towers unless the query came before, search the store."""
    begun = time.perf_counter()
    info = context.encoder_info
    query = parse_query(request, dim=info.dim, collection=collection_of(context, request.collection))
    with context.metrics.store("check"):
        await context.store.check(query.collection, info.encoder_id, info.dim)
    check_rerank(context, query.rerank)
    vectors = await item_vectors(context, query)
    key = context.queries.key(query, vectors)
    composed, decoded = await context.queries.get(key, query.composer), time.perf_counter()
    with_shadow = composed is None and context.shadow.has_capacity
    shown: list[bytes] = []
    if composed is None:
        with span("decode"):
            turns = await compose_turns(context, query, vectors, _keep_small(shown) if query.rerank else None)
        decoded = time.perf_counter()
        composed = await _composed(context, query, turns, with_shadow=with_shadow)
        context.queries.put(key, composed)
    search_begun = time.perf_counter()
    with context.metrics.store("search"):
        hits, groups = await _found(context, query, composed.vector)
    found = time.perf_counter()
    item_ids = tuple(hit.item_id for hit in hits)
    look = None
    if query.rerank is not None:
        look = await second_look(context, query, hits, shown[0] if shown else None)
        item_ids, hits = item_ids[query.offset :][: query.limit], look.hits
    done = time.perf_counter()
    context.shadow.offer(AnsweredQuery(query, composed, item_ids, with_shadow=with_shadow))
    return search_pb2.ComposeSearchResponse(
        hits=[_hit(hit) for hit in hits],
        composer=composed.composer,
        encoder=info.encoder_id,
        text_truncated=composed.text_truncated,
        timings=search_pb2.Timings(
            decode=decoded - begun,
            queue=composed.queue_s,
            compose=composed.compose_s,
            search=found - search_begun,
            rerank=done - found if look is not None else 0.0,
            total=done - begun,
        ),
        reranked=look is not None and not look.reason,
        rerank_reason=look.reason if look is not None else "",
        request_id=request_id.get(),
        query_vector=vector_message(composed.vector) if query.with_vectors else None,
        groups=[search_pb2.Group(value=match_to_proto(group.value), hits=len(group.items)) for group in groups],
    )


async def encode(context: Context, request: search_pb2.EncodeRequest) -> search_pb2.EncodeResponse:
    """Embed images and texts in any mix, in the order of the request."""
    checked_number("inputs", len(request.inputs), limits.MAX_INPUTS)

    async def prepared(field: str, each: search_pb2.EncodeInput) -> Pixels | str:
        match each.WhichOneof("source"):
            case "image":
                return await context.pixels(f"{field}.image", checked_image(f"{field}.image", each.image))
            case "text":
                return checked_text(f"{field}.text", each.text)
        raise InvalidInput(f"{field}: set image or text")

    inputs = await asyncio.gather(*(prepared(f"inputs[{place}]", each) for place, each in enumerate(request.inputs)))
    images = [each for each in inputs if not isinstance(each, str)]
    texts = [each for each in inputs if isinstance(each, str)]
    encoded: list[EncodedText] = await context.encoder.texts.remote(texts) if texts else []
    text_rows = iter(encoded)
    image_rows = iter(await context.encode_pixels(images) if images else ())
    rows = [next(text_rows) if isinstance(each, str) else EncodedText(next(image_rows), False) for each in inputs]
    return search_pb2.EncodeResponse(
        vectors=[vector_message(row.vector) for row in rows],
        encoder=context.encoder_info.encoder_id,
        truncated=[row.truncated for row in rows],
        request_id=request_id.get(),
    )


async def list_composers(context: Context, _: search_pb2.ListComposersRequest) -> search_pb2.ListComposersResponse:
    """Versions and baselines."""
    return search_pb2.ListComposersResponse(
        composers=[search_pb2.ComposerInfo(**asdict(info)) for info in await context.composer.composer_infos.remote()],
        encoder=context.encoder_info.encoder_id,
    )


async def facets(context: Context, request: search_pb2.FacetsRequest) -> search_pb2.FacetsResponse:
    """Count the values of payload fields, and the items, that a filter leaves."""
    if len(request.fields) > limits.MAX_FACETS:
        raise InvalidInput(f"fields: {len(request.fields)} are more than {limits.MAX_FACETS}")
    if request.limit > limits.MAX_FACET_VALUES:
        raise InvalidInput(f"limit: {request.limit} is more than {limits.MAX_FACET_VALUES}")
    fields = [checked_field(f"fields[{place}]", name) for place, name in enumerate(request.fields)]
    collection = collection_of(context, request.collection)
    filter = checked_filter("filter", request.filter) if request.HasField("filter") else None
    with context.metrics.store("facets"):
        found = await context.store.facets(
            collection, fields, filter=filter, limit=request.limit or limits.DEFAULT_FACET_VALUES
        )

    def facet(field: str) -> search_pb2.Facet:
        counts = [search_pb2.FacetValue(value=match_to_proto(value), count=n) for value, n in found.values[field]]
        return search_pb2.Facet(field=field, values=counts)

    return search_pb2.FacetsResponse(facets=[facet(field) for field in fields], total=found.total)


async def _composed(
    context: Context, query: SearchQuery, turns: tuple[ComposeTurn, ...], *, with_shadow: bool
) -> Composed:
    """The query vector, in one call to the towers."""
    job = ComposeJob(
        turns,
        query.composer,
        caller=query.session or request_id.get(),
        with_shadow=with_shadow,
        item=start_item(query),
        caption_weight=(await context.store.cached_info(query.collection)).config.caption_weight,
    )
    with span("compose") as traced:
        composed = await context.compose(job)
        traced.note(
            scot__composer=composed.composer,
            scot__queue_s=composed.queue_s,
            scot__compose_s=composed.compose_s,
            scot__batch=composed.batch,
        )
    return composed


async def _found(
    context: Context, query: SearchQuery, vector: Vector
) -> tuple[Sequence[ScoredItem], Sequence[ItemGroup]]:
    """The hits, and the groups that they belong to, if there are groups."""
    offset, limit = (query.offset, query.limit) if query.rerank is None else candidates(context, query)
    where: dict[str, Any] = {
        "limit": limit,
        "offset": offset,
        "filter": query.filter,
        "score_threshold": query.score_threshold,
        "exclude_ids": query.excluded,
        "with_vectors": query.with_vectors,
    }
    if not query.group_by:
        return await context.store.search(query.collection, vector, mmr=query.mmr, **where), ()
    groups = await context.store.search_groups(query.collection, vector, query.group_by, size=query.group_size, **where)
    return [hit for group in groups for hit in group.items], groups


def _keep_small(kept: list[bytes]) -> Callable[[Image.Image], None]:
    """Keeps a decoded image as a judge is sent it."""
    return lambda image: kept.append(picture_bytes(image))


def _hit(hit: ScoredItem) -> search_pb2.Hit:
    return search_pb2.Hit(
        item_id=hit.item_id,
        score=hit.score,
        payload=payload_to_proto(hit.payload),
        vector=None if hit.vector is None else vector_message(hit.vector),
        origin=origin_to_proto(hit.origin),
    )
