"""What SearchService does, step by step."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from scot.errors import ImageRefused, InvalidInput, NotFound
from scot.index.store import ScoredItem
from scot.v1 import search_pb2
from services.calls import request_id
from services.search.composer.compose_batch import Composed, Job, Move
from services.search.gateway.shadow import Answer
from services.search.rpc import limits
from services.search.rpc.query import Query, Step, parse_query
from services.search.rpc.validation import checked_image, checked_number, checked_text, payload_message, vector_message
from services.search.tracing import span

if TYPE_CHECKING:
    from scot.encoders.base import Pixels, TokenizedText, Vectors
    from services.search.gateway.gateway import Gateway


async def compose_search(
    gateway: Gateway, request: search_pb2.ComposeSearchRequest
) -> search_pb2.ComposeSearchResponse:
    """Check, decode and tokenise, compose in one call to the towers, look up."""
    begun = time.perf_counter()
    query = parse_query(request, dim=gateway.card.dim, default_collection=gateway.settings.collection)
    with gateway.metrics.store("check"):
        await gateway.store.check(query.collection, gateway.card.encoder_id, gateway.card.dim)
    with span("decode"):
        pixels, texts, stored = await asyncio.gather(
            _pixels(gateway, query),
            asyncio.gather(*(_tokens(gateway, step) for step in query.steps)),
            _stored(gateway, query),
        )
    decoded = time.perf_counter()
    moves = tuple(Move(text.tokens, step.weight, step.negative) for text, step in zip(texts, query.steps, strict=True))
    caller = query.session or request_id.get()
    job = Job(pixels, stored, moves, query.composer, caller, shadowed=gateway.shadow.has_time)
    with span("compose") as traced:
        composed: Composed = await gateway.composer.compose.remote(job)
        traced.note(
            scot__composer=composed.composer,
            scot__queue_s=composed.queue_s,
            scot__compose_s=composed.compose_s,
            scot__batch=composed.batch,
        )
    looking = time.perf_counter()
    with gateway.metrics.store("search"):
        hits = await gateway.store.search(
            query.collection,
            composed.vector,
            limit=query.limit,
            offset=query.offset,
            filter=query.filter,
            score_threshold=query.score_threshold,
            exclude_ids=query.excluded,
            with_vectors=query.with_vectors,
        )
    done = time.perf_counter()
    gateway.shadow.offer(Answer(query, composed, tuple(hit.item_id for hit in hits), asked=job.shadowed))
    return search_pb2.ComposeSearchResponse(
        hits=[_hit(hit) for hit in hits],
        composer=composed.composer,
        encoder=gateway.card.encoder_id,
        text_truncated=any(text.truncated for text in texts),
        timings=search_pb2.Timings(
            decode=decoded - begun,
            queue=composed.queue_s,
            compose=composed.compose_s,
            search=done - looking,
            total=done - begun,
        ),
        request_id=request_id.get(),
        query_vector=vector_message(composed.vector) if query.with_vectors else None,
    )


async def encode(gateway: Gateway, request: search_pb2.EncodeRequest) -> search_pb2.EncodeResponse:
    """Embed pictures and texts in any mix, in the order given."""
    checked_number("inputs", len(request.inputs), limits.MAX_INPUTS)
    pictures: dict[int, asyncio.Future[Pixels]] = {}
    texts: dict[int, asyncio.Future[TokenizedText]] = {}
    checked: list[tuple[int, str, bytes | str]] = []
    for place, each in enumerate(request.inputs):
        field = f"inputs[{place}]"
        kind = each.WhichOneof("source")
        if kind == "image":
            checked.append((place, f"{field}.image", checked_image(f"{field}.image", each.image)))
        elif kind == "text":
            checked.append((place, f"{field}.text", checked_text(f"{field}.text", each.text)))
        else:
            raise InvalidInput(f"{field}: set image or text")
    for place, field, content in checked:
        if isinstance(content, bytes):
            pictures[place] = asyncio.ensure_future(named_pixels(gateway, field, content))
        else:
            texts[place] = asyncio.ensure_future(gateway.tokens(content))
    await asyncio.gather(*pictures.values(), *texts.values())
    rows: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    if texts:
        vectors = await gateway.encoder.tokens.remote([text.result().tokens for text in texts.values()])
        rows.update(zip(texts, vectors, strict=True))
    if pictures:
        rows.update(
            zip(pictures, await encode_pixels(gateway, [each.result() for each in pictures.values()]), strict=True)
        )
    return search_pb2.EncodeResponse(
        vectors=[vector_message(rows[place]) for place in range(len(checked))],
        encoder=gateway.card.encoder_id,
        truncated=[place in texts and texts[place].result().truncated for place in range(len(checked))],
        request_id=request_id.get(),
    )


async def encode_pixels(gateway: Gateway, pixels: list[Pixels]) -> Vectors:
    """N pictures to ``(N, D)`` in calls small enough for Serve's message limit."""
    at_once = max(1, limits.HANDLE_BYTES // pixels[0].nbytes)
    calls = [gateway.encoder.pixels.remote(pixels[i : i + at_once]) for i in range(0, len(pixels), at_once)]
    return np.concatenate(await asyncio.gather(*calls))


async def list_composers(gateway: Gateway) -> search_pb2.ListComposersResponse:
    """Versions and baselines."""
    cards = await gateway.composer.composer_infos.remote()
    return search_pb2.ListComposersResponse(
        composers=[
            search_pb2.ComposerInfo(
                name=card.name,
                released=card.released,
                architecture=card.architecture,
                encoder=card.encoder,
                metrics=card.metrics,
                share=card.share,
                shadow=card.shadow,
            )
            for card in cards
        ],
        encoder=gateway.card.encoder_id,
    )


async def _pixels(gateway: Gateway, query: Query) -> Pixels | None:
    return None if query.image is None else await named_pixels(gateway, "reference.image", query.image)


async def named_pixels(gateway: Gateway, field: str, image: bytes) -> Pixels:
    """Decode the checked picture that came in a field. Raises ImageRefused by the field's name."""
    try:
        return await gateway.pixels(image)
    except ImageRefused as error:
        raise ImageRefused(error.reason, f"{field}: {error}") from error


async def _tokens(gateway: Gateway, step: Step) -> TokenizedText:
    return await gateway.tokens(step.text)


async def _stored(gateway: Gateway, query: Query) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    """The reference's vector when it was given or is in the collection, of unit length."""
    if query.item_id is None:
        return query.vector
    with gateway.metrics.store("get"):
        found = await gateway.store.get(query.collection, [query.item_id], with_vectors=True)
    if query.item_id not in found:
        raise NotFound(f"reference.item_id: there is no item {query.item_id!r} in collection {query.collection!r}")
    return found[query.item_id].vector


def _hit(hit: ScoredItem) -> search_pb2.Hit:
    return search_pb2.Hit(
        item_id=hit.item_id,
        score=hit.score,
        payload=payload_message(hit.payload),
        vector=None if hit.vector is None else vector_message(hit.vector),
    )
