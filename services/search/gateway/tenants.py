"""What a key may do with collections: which ones it opens, and how many items it may add."""

from __future__ import annotations

from collections.abc import Sequence

from scot.errors import PermissionDenied
from services.calls import current_key, note
from services.search.gateway.context import Context
from services.search.rpc.validation import checked_name


def collection_of(context: Context, name: str) -> str:
    """The collection of a request that says ``name``; by default the only one of its key, or the service's.

    Raises:
        InvalidInput: the name is malformed.
        PermissionDenied: the key does not open the collection.
    """
    key = current_key.get()
    default = context.settings.service.collection if key is None or not key.only_collection else key.only_collection
    collection = checked_name("collection", name, default=default)
    note(collection=collection)
    if not opens(collection):
        raise PermissionDenied(f"collection: this API key does not open {collection!r}")
    return collection


def opens(collection: str) -> bool:
    """Whether the key of the current request opens a collection."""
    key = current_key.get()
    return key is None or key.opens(collection)


async def beyond_quota(context: Context, collection: str, item_ids: Sequence[str]) -> set[str]:
    """Those of the items that the key of the current request may not add to a collection.

    Items that are there may be replaced. What several gateways store at the same moment is not counted together, so a
    collection may end up a request of each above the number.
    """
    key = current_key.get()
    if key is None or key.items is None:
        return set()
    there = await context.store.engine.count(collection)
    if there + len(item_ids) <= key.items:
        return set()
    known = await context.store.get(collection, item_ids)
    new = [item_id for item_id in item_ids if item_id not in known]
    return set(new[max(0, key.items - there) :])


def quota_sentence(collection: str) -> str:
    """Why an item is beyond the quota."""
    key = current_key.get()
    most = 0 if key is None or key.items is None else key.items
    return f"item_id: collection {collection!r} has the {most:,} items that this API key may fill it to"
