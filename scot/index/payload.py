"""How an item is stored: its point id, and its payload as JSON-like Python and as protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2

from scot.data.payload import RESERVED

_NAMESPACE = uuid.UUID("6b0c5a2e-5d0b-5a55-9d5e-5c0753c07001")

RESERVED_PREFIX = RESERVED
"""How the payload keys begin that SCOT stores beside a caller's own; never accepted from a caller, never returned."""
ITEM_ID_KEY = "_scot_item_id"
"""The payload key that keeps the caller's id beside the point."""
ORIGIN_KEY = "_scot_origin"
"""The payload key of the item's origin (:mod:`scot.index.origin`)."""
SOURCE_FIELD = "_scot_origin.source"
"""The field of an item's source; every collection has an index of it."""
BOOLEANS_KEY = "_scot_booleans"
"""The payload key of the embedded store's list of boolean fields (:mod:`scot.index.shard`)."""


def reserved_key(payload: Iterable[str]) -> str | None:
    """The first of the payload's keys that is reserved for SCOT, if any."""
    return min((key for key in payload if key.startswith(RESERVED_PREFIX)), default=None)


def point_id(item_id: str) -> str:
    """The UUIDv5 (RFC 9562, 5.5) of an item id, because Qdrant's point ids are UUIDs; the same item replaces itself."""
    return str(uuid.uuid5(_NAMESPACE, item_id))


def payload_to_proto(payload: Mapping[str, Any]) -> struct_pb2.Struct:
    """The message of a payload. Raises TypeError or ValueError when it is not JSON-like."""
    message = struct_pb2.Struct()
    message.update(dict(payload))
    return message


def payload_from_proto(message: struct_pb2.Struct) -> dict[str, Any]:
    """The payload of a message; whole numbers become ``int``, as they were stored.

    Raises:
        ValueError, RecursionError: a number or a nesting that JSON does not allow.
    """
    payload: dict[str, Any] = _whole_numbers(json_format.MessageToDict(message))
    return payload


def _whole_numbers(value: Any) -> Any:
    """JSON has one type of number; the whole ones as ``int``, inside lists and dicts too."""
    match value:
        case dict():
            return {key: _whole_numbers(each) for key, each in value.items()}
        case list():
            return [_whole_numbers(each) for each in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value
