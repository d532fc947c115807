"""The methods of IndexService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scot.errors import InvalidInput, ScotError
from scot.index.store import Item
from scot.v1 import index_pb2
from services.calls import count_request
from services.search.gateway.context import Context
from services.search.rpc import limits
from services.search.rpc.validation import (
    checked_id,
    checked_ids,
    checked_image,
    checked_name,
    checked_number,
    checked_payload,
    checked_vector,
    payload_message,
    vector_message,
)

if TYPE_CHECKING:
    from scot.encoders.base import Pixels


@dataclass(slots=True)
class _Draft:
    """A checked item; either its vector or its pixels are known."""

    item_id: str
    payload: dict[str, Any]
    vector: npt.NDArray[np.float32] | None
    pixels: Pixels | None


async def upsert_items(context: Context, request: index_pb2.UpsertItemsRequest) -> index_pb2.UpsertItemsResponse:
    """Insert or replace items. When this returns, the accepted ones are stored; each refused one has its error."""
    collection, info = _collection(context, request.collection), context.encoder_info
    checked_number("items", len(request.items), limits.MAX_ITEMS)
    with context.metrics.store("check"):
        await context.store.ensure(collection, info.encoder_id, info.dim, context.settings.service.collections)
    first: dict[str, int] = {}
    for place, item in enumerate(request.items):
        first.setdefault(item.item_id, place)
    drafts = await asyncio.gather(
        *(_draft(context, place, item, first[item.item_id]) for place, item in enumerate(request.items))
    )
    accepted = [draft for draft in drafts if isinstance(draft, _Draft)]
    images = [(draft, draft.pixels) for draft in accepted if draft.pixels is not None]
    if images:
        vectors = await context.encode_pixels([pixels for _, pixels in images])
        for (draft, _), vector in zip(images, vectors, strict=True):
            draft.vector = vector
    with context.metrics.store("upsert"):
        await context.store.upsert(collection, [Item(draft.item_id, draft.vector, draft.payload) for draft in accepted])
    response = index_pb2.UpsertItemsResponse(
        results=[
            index_pb2.ItemResult(
                item_id=item.item_id,
                ok=isinstance(draft, _Draft),
                error="" if isinstance(draft, _Draft) else str(draft),
            )
            for item, draft in zip(request.items, drafts, strict=True)
        ],
        upserted=len(accepted),
        refused=len(drafts) - len(accepted),
    )
    context.metrics.upserted(response)
    return response


async def upsert_items_stream(
    context: Context, requests: AsyncIterator[index_pb2.UpsertItemsRequest]
) -> index_pb2.UpsertItemsResponse:
    """Any number of requests; the response names the refused items."""
    total = index_pb2.UpsertItemsResponse()
    async for request in requests:
        count_request()
        response = await upsert_items(context, request)
        total.upserted += response.upserted
        total.refused += response.refused
        total.results.extend(result for result in response.results if not result.ok)
    return total


async def delete_items(context: Context, request: index_pb2.DeleteItemsRequest) -> index_pb2.DeleteItemsResponse:
    """Delete; an id that does not exist is no error."""
    collection = _collection(context, request.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with context.metrics.store("delete"):
        response = index_pb2.DeleteItemsResponse(deleted=await context.store.delete(collection, ids))
    context.metrics.deleted(response)
    return response


async def get_items(context: Context, request: index_pb2.GetItemsRequest) -> index_pb2.GetItemsResponse:
    """Look up items by id; the response lists the missing ids."""
    collection = _collection(context, request.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with context.metrics.store("get"):
        found = await context.store.get(collection, ids, with_vectors=request.with_vectors)
    return index_pb2.GetItemsResponse(
        items=[
            index_pb2.StoredItem(
                item_id=item.item_id,
                payload=payload_message(item.payload),
                vector=None if item.vector is None else vector_message(item.vector),
            )
            for item in found.values()
        ],
        missing=[item_id for item_id in dict.fromkeys(ids) if item_id not in found],
    )


async def collection_info(
    context: Context, request: index_pb2.CollectionInfoRequest
) -> index_pb2.CollectionInfoResponse:
    """The number of items of a collection, and its encoder."""
    collection = _collection(context, request.collection)
    with context.metrics.store("info"):
        info = await context.store.info(collection)
    return index_pb2.CollectionInfoResponse(
        collection=info.name, items=info.items, encoder=info.encoder_id, dim=info.dim
    )


def _collection(context: Context, name: str) -> str:
    return checked_name("collection", name, default=context.settings.service.collection)


async def _draft(context: Context, place: int, item: index_pb2.Item, first: int) -> _Draft | ScotError:
    try:
        item_id = checked_id("item_id", item.item_id)
        if first != place:
            return InvalidInput(f"item_id: items[{first}] of this request has the same")
        payload = checked_payload("payload", item.payload)
        kind = item.WhichOneof("content")
        if kind == "vector":
            return _Draft(item_id, payload, checked_vector("vector", item.vector, context.encoder_info.dim), None)
        if kind == "image":
            return _Draft(item_id, payload, None, await context.pixels("image", checked_image("image", item.image)))
        return InvalidInput("content: set image or vector")
    except ScotError as error:
        return error
