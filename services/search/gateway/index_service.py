"""What IndexService does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scot.errors import InvalidInput, ScotError
from scot.index.store import Item
from scot.v1 import index_pb2
from services.search.gateway.search_service import encode_pixels, named_pixels
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
    from services.search.gateway.gateway import Gateway


@dataclass(slots=True)
class _Draft:
    """An item on its way in: either its vector or its pixels are known."""

    item_id: str
    payload: dict[str, Any]
    vector: npt.NDArray[np.float32] | None
    pixels: Pixels | None


async def upsert_items(gateway: Gateway, request: index_pb2.UpsertItemsRequest) -> index_pb2.UpsertItemsResponse:
    """Insert or replace items. When this returns, the accepted ones are stored; each refused one says why."""
    collection = checked_name("collection", request.collection, default=gateway.settings.collection)
    checked_number("items", len(request.items), limits.MAX_ITEMS)
    with gateway.metrics.store("check"):
        await gateway.store.ensure(collection, gateway.card.encoder_id, gateway.card.dim, gateway.settings.layout)
    seen: dict[str, int] = {}
    for place, item in enumerate(request.items):
        seen.setdefault(item.item_id, place)
    drafts = await asyncio.gather(
        *(_draft(gateway, place, item, seen[item.item_id]) for place, item in enumerate(request.items))
    )
    accepted = [draft for draft in drafts if isinstance(draft, _Draft)]
    pictures = [(draft, draft.pixels) for draft in accepted if draft.pixels is not None]
    if pictures:
        vectors = await encode_pixels(gateway, [pixels for _, pixels in pictures])
        for (draft, _), vector in zip(pictures, vectors, strict=True):
            draft.vector = vector
    with gateway.metrics.store("upsert"):
        await gateway.store.upsert(collection, [Item(draft.item_id, draft.vector, draft.payload) for draft in accepted])
    return index_pb2.UpsertItemsResponse(
        results=[
            index_pb2.ItemResult(item_id=item.item_id, ok=isinstance(draft, _Draft), error=_told(draft))
            for item, draft in zip(request.items, drafts, strict=True)
        ],
        upserted=len(accepted),
        refused=len(drafts) - len(accepted),
    )


async def delete_items(gateway: Gateway, request: index_pb2.DeleteItemsRequest) -> index_pb2.DeleteItemsResponse:
    """Delete; ids that are not there are no error."""
    collection = checked_name("collection", request.collection, default=gateway.settings.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with gateway.metrics.store("delete"):
        return index_pb2.DeleteItemsResponse(deleted=await gateway.store.delete(collection, ids))


async def get_items(gateway: Gateway, request: index_pb2.GetItemsRequest) -> index_pb2.GetItemsResponse:
    """Look up by id; those that are not there are listed."""
    collection = checked_name("collection", request.collection, default=gateway.settings.collection)
    ids = checked_ids("item_ids", request.item_ids)
    with gateway.metrics.store("get"):
        found = await gateway.store.get(collection, ids, with_vectors=request.with_vectors)
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
    gateway: Gateway, request: index_pb2.CollectionInfoRequest
) -> index_pb2.CollectionInfoResponse:
    """How many items a collection has, and of which encoder."""
    collection = checked_name("collection", request.collection, default=gateway.settings.collection)
    with gateway.metrics.store("info"):
        info = await gateway.store.info(collection)
    return index_pb2.CollectionInfoResponse(
        collection=info.name, items=info.items, encoder=info.encoder_id, dim=info.dim
    )


async def _draft(gateway: Gateway, place: int, item: index_pb2.Item, first: int) -> _Draft | ScotError:
    try:
        item_id = checked_id("item_id", item.item_id)
        if first != place:
            return InvalidInput(f"item_id: items[{first}] of this request has the same")
        payload = checked_payload("payload", item.payload)
        kind = item.WhichOneof("content")
        if kind == "vector":
            return _Draft(item_id, payload, checked_vector("vector", item.vector, gateway.card.dim), None)
        if kind == "image":
            return _Draft(
                item_id, payload, None, await named_pixels(gateway, "image", checked_image("image", item.image))
            )
        return InvalidInput("content: set image or vector")
    except ScotError as error:
        return error


def _told(draft: _Draft | ScotError) -> str:
    return "" if isinstance(draft, _Draft) else str(draft)
