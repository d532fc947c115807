"""The methods of IndexService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from scot.errors import InvalidInput, ScotError
from scot.index.captions import captions_of, summed
from scot.index.collections import CollectionInfo, describe_all
from scot.index.origin import origin_to_proto
from scot.index.payload import payload_to_proto
from scot.index.store import Item
from scot.index.thumbnails import CONTENT_TYPE
from scot.v1 import index_pb2
from services.calls import count_request, note
from services.search.gateway.context import Context
from services.search.gateway.tenants import beyond_quota, collection_of, opens, quota_sentence
from services.search.rpc import limits
from services.search.rpc.validation import (
    checked_id,
    checked_ids,
    checked_image,
    checked_number,
    checked_origin,
    checked_page,
    checked_payload,
    checked_vector,
    is_name,
    vector_message,
)

if TYPE_CHECKING:
    from scot.encoders.base import Vectors
    from scot.encoders.resizing import Pixels


async def upsert_items(context: Context, request: index_pb2.UpsertItemsRequest) -> index_pb2.UpsertItemsResponse:
    """Insert or replace items. When this returns, the accepted ones are stored; each refused one has its error."""
    collection, info = collection_of(context, request.collection), context.encoder_info
    checked_number("items", len(request.items), limits.MAX_ITEMS)
    with context.metrics.store("check"):
        await context.store.ensure(collection, info.encoder_id, info.dim, context.settings.service.collections)
    first: dict[str, int] = {}
    for place, message in enumerate(request.items):
        first.setdefault(message.item_id, place)
    beyond = await beyond_quota(context, collection, [item_id for item_id in first if item_id])
    refusals = {first[item_id]: quota_sentence(collection) for item_id in beyond}
    for place, message in enumerate(request.items):
        if first[message.item_id] != place:
            refusals[place] = f"item_id: items[{first[message.item_id]}] of this request has the same"
    checked = await asyncio.gather(
        *(_item(context, collection, message, refusals.get(place, "")) for place, message in enumerate(request.items))
    )
    items = {place: each[0] for place, each in enumerate(checked) if not isinstance(each, ScotError)}
    pixels = {place: each[1] for place, each in enumerate(checked) if not isinstance(each, ScotError)}
    images = {place: each for place, each in pixels.items() if each is not None}
    if images:
        captions = [captions_of(items[place].payload) for place in images]
        weight = (await context.store.cached_info(collection)).config.caption_weight
        vectors = await _encoded(context, list(images.values()), captions, weight)
        for place, vector in zip(images, vectors, strict=True):
            items[place] = replace(items[place], vector=vector)
    with context.metrics.store("upsert"):
        await context.store.upsert(collection, list(items.values()))
    response = index_pb2.UpsertItemsResponse(
        results=[
            index_pb2.ItemResult(
                item_id=message.item_id, ok=place in items, error="" if place in items else str(checked[place])
            )
            for place, message in enumerate(request.items)
        ],
        upserted=len(items),
        refused=len(checked) - len(items),
    )
    note(upserted=response.upserted, refused=response.refused)
    context.metrics.items("indexed", response.upserted)
    context.metrics.items("refused", response.refused)
    return response


async def upsert_items_stream(
    context: Context, requests: AsyncIterator[index_pb2.UpsertItemsRequest]
) -> index_pb2.UpsertItemsResponse:
    """Any number of requests; the response names the refused items."""
    total = index_pb2.UpsertItemsResponse()
    async for request in requests:
        await count_request(request)
        response = await upsert_items(context, request)
        total.upserted += response.upserted
        total.refused += response.refused
        total.results.extend(result for result in response.results if not result.ok)
    note(upserted=total.upserted, refused=total.refused)
    return total


async def delete_items(context: Context, request: index_pb2.DeleteItemsRequest) -> index_pb2.DeleteItemsResponse:
    """Delete; an id that does not exist is no error."""
    collection = collection_of(context, request.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with context.metrics.store("delete"):
        response = index_pb2.DeleteItemsResponse(deleted=await context.store.delete(collection, ids))
    note(deleted=response.deleted)
    context.metrics.items("deleted", response.deleted)
    return response


async def get_items(context: Context, request: index_pb2.GetItemsRequest) -> index_pb2.GetItemsResponse:
    """Look up items by id; the response lists the missing ids."""
    collection = collection_of(context, request.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with context.metrics.store("get"):
        found = await context.store.get(collection, ids, with_vectors=request.with_vectors)
    return index_pb2.GetItemsResponse(
        items=[
            index_pb2.StoredItem(
                item_id=item.item_id,
                payload=payload_to_proto(item.payload),
                vector=None if item.vector is None else vector_message(item.vector),
                origin=origin_to_proto(item.origin),
            )
            for item in found.values()
        ],
        missing=[item_id for item_id in dict.fromkeys(ids) if item_id not in found],
    )


async def list_items(context: Context, request: index_pb2.ListItemsRequest) -> index_pb2.ListItemsResponse:
    """One page of the ids and origins of a source's items, or of all items."""
    collection = collection_of(context, request.collection)
    if request.limit > limits.MAX_LISTED:
        raise InvalidInput(f"limit: {request.limit} is more than {limits.MAX_LISTED}")
    if len(request.source) > limits.MAX_ORIGIN_CHARS:
        raise InvalidInput(f"source: {len(request.source)} characters are more than {limits.MAX_ORIGIN_CHARS}")
    after = checked_page("after", request.after)
    with context.metrics.store("list"):
        found, following = await context.store.scroll(
            collection, source=request.source, after=after, limit=request.limit or limits.MAX_LISTED
        )
    items = [index_pb2.ListedItem(item_id=item.item_id, origin=origin_to_proto(item.origin)) for item in found]
    return index_pb2.ListItemsResponse(items=items, next=following or "")


async def get_pictures(context: Context, request: index_pb2.GetPicturesRequest) -> index_pb2.GetPicturesResponse:
    """Thumbnails of items; the response lists the ids without one."""
    collection = collection_of(context, request.collection)
    ids = checked_ids("item_ids", request.item_ids, limits.MAX_PICTURES)
    with context.metrics.store("pictures"):
        found = await context.store.pictures(collection, ids)
    return index_pb2.GetPicturesResponse(
        pictures=[
            index_pb2.Picture(item_id=item_id, image=image, content_type=CONTENT_TYPE)
            for item_id, image in found.items()
        ],
        missing=[item_id for item_id in dict.fromkeys(ids) if item_id not in found],
    )


async def collection_info(
    context: Context, request: index_pb2.CollectionInfoRequest
) -> index_pb2.CollectionInfoResponse:
    """The number of items of a collection, and its encoder."""
    collection = collection_of(context, request.collection)
    with context.metrics.store("info"):
        return _info_message(await context.store.info(collection))


async def list_collections(context: Context, _: index_pb2.ListCollectionsRequest) -> index_pb2.ListCollectionsResponse:
    """The collections that a request can name, and its key opens."""
    with context.metrics.store("collections"):
        found = await describe_all(context.store.engine)
    named = [each for each in found if is_name(each.name) and opens(each.name)]
    return index_pb2.ListCollectionsResponse(collections=[_info_message(each) for each in named])


async def _encoded(
    context: Context, images: Sequence[Pixels], captions: Sequence[Sequence[str]], weight: float
) -> Vectors:
    """The vectors ``(N, D)`` of images, with their captions in them where the collection has a weight for those."""
    texts = [text for each in captions for text in each]
    if not weight or not texts:
        return await context.encode_pixels(images)
    vectors, encoded = await asyncio.gather(context.encode_pixels(images), context.encoder.texts.remote(texts))
    return summed(vectors, captions, np.stack([each.vector for each in encoded]), weight)


def _info_message(info: CollectionInfo) -> index_pb2.CollectionInfoResponse:
    return index_pb2.CollectionInfoResponse(
        collection=info.name,
        items=info.items,
        encoder=info.encoder_id,
        dim=info.dim,
        caption_weight=info.config.caption_weight,
    )


async def _item(
    context: Context, collection: str, message: index_pb2.Item, refusal: str
) -> tuple[Item, Pixels | None] | ScotError:
    """The item with its vector, or with the pixels to embed; or why it is refused, ``refusal`` if that is not empty."""
    try:
        item_id = checked_id("item_id", message.item_id)
        if refusal:
            return InvalidInput(refusal)
        payload, origin = checked_payload("payload", message.payload), checked_origin("origin", message)
        item = Item(item_id, None, payload, origin)
        match message.WhichOneof("content"):
            case "vector":
                vector = checked_vector("vector", message.vector, context.encoder_info.dim)
                return replace(item, vector=vector), None
            case "image":
                thumbnails = context.store.thumbnails
                decoded = None if thumbnails is None else partial(thumbnails.write, collection, item_id)
                return item, await context.pixels("image", checked_image("image", message.image), decoded)
        return InvalidInput("content: set image or vector")
    except ScotError as error:
        return error
