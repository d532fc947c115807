"""How an item is stored: its point id, which is a pure function of its own id, and its payload."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any

from scot.data.records import CaptionedImage

_NAMESPACE = uuid.UUID("6b0c5a2e-5d0b-5a55-9d5e-5c0753c07001")

ITEM_ID_KEY = "_scot_item_id"
"""The payload key that keeps the caller's id beside the point; never accepted from or shown to a caller."""


def point_id(item_id: str) -> str:
    """The UUIDv5 (RFC 9562, 5.5) of an item id, as Qdrant wants its point ids."""
    return str(uuid.uuid5(_NAMESPACE, item_id))


def payload_of(record: CaptionedImage) -> dict[str, Any]:
    """The payload to store: the record's own as JSON, the first caption, and all captions if there are several."""
    payload = {str(key): value for key, value in record.payload.items() if key != ITEM_ID_KEY}
    payload.setdefault("caption", record.captions[0] if record.captions else "")
    if len(record.captions) > 1:
        payload.setdefault("captions", list(record.captions))
    plain: dict[str, Any] = json.loads(json.dumps(_finite(payload), default=str))
    return plain


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, as None; NumPy numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    match value:
        case dict():
            return {str(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
