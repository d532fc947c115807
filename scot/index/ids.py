"""Where an item lives in the store: a pure function of its id, so that indexing the same item again replaces it."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6b0c5a2e-5d0b-5a55-9d5e-5c0753c07001")

ITEM_ID_KEY = "_scot_item_id"
"""The payload key that keeps the caller's id beside the point; never accepted from or shown to a caller."""


def point_id(item_id: str) -> str:
    """The UUIDv5 (RFC 9562, 5.5) of an item id, as Qdrant wants its point ids."""
    return str(uuid.uuid5(_NAMESPACE, item_id))
