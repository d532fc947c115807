"""Payload as the gallery stores it: plain JSON that filters can name, without numbers that change on the way.

A dot in a key means nesting, as in a filter: ``{"price.usd": 5}`` is ``{"price": {"usd": 5}}``.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_PAYLOAD_BYTES = 65_536
"""The largest payload of an item, captions included, in bytes of its ``google.protobuf.Struct``."""
EXACT_BELOW = 2**53
"""Whole numbers from here on may change when they become a double, so they are stored as text."""
RESERVED = "_scot_"
"""What the keys begin with that SCOT keeps for itself."""


def clean(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload to store: plain, nested at the dots of its keys, without what JSON does not have (NaN, bytes).

    Raises:
        ValueError: a key that no filter can name, or two values in one place.
    """
    if bad := next((key for key in payload if str(key).startswith(RESERVED)), None):
        raise ValueError(f"the key {bad!r} is reserved")
    values = ((key, plain(value)) for key, value in payload.items())
    return nest((key, value) for key, value in values if value is not None)


def nest(items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """One dict of keys with dots.

    Raises:
        ValueError: an empty key, a double quote, or two values in one place.
    """
    nested: dict[str, Any] = {}
    for key, value in items:
        *folders, name = str(key).split(".")
        if not (name and all(folders)) or '"' in str(key):
            raise ValueError(f"no filter can name the key {key!r}")
        inside = nested
        for folder in folders:
            inside = inside.setdefault(folder, {})
            if not isinstance(inside, dict):
                raise ValueError(f"the key {key!r} is inside another value")
        if name in inside:
            raise ValueError(f"the key {key!r} has two values")
        inside[name] = value
    return nested


def dotted_key(payload: Mapping[str, Any]) -> str | None:
    """A key with a dot, at any depth: no filter can name it."""
    for key, value in payload.items():
        if "." in key:
            return key
        for inside in value if isinstance(value, list) else [value]:
            if isinstance(inside, Mapping) and (found := dotted_key(inside)) is not None:
                return found
    return None


def plain(value: Any) -> Any:
    """A value as JSON knows it, or None for what has no such form (bytes, NaN).

    A whole number that a double cannot hold becomes text. Raises ValueError as :func:`nest`.
    """
    match value:
        case None | str() | bool():
            return value
        case int():
            return value if abs(value) < EXACT_BELOW else str(value)
        case float():
            return value if math.isfinite(value) else None
        case decimal.Decimal():
            if not value.is_finite():
                return None
            return plain(int(value)) if value == value.to_integral_value() else float(value)
        case datetime.date() | datetime.time():  # datetime is a date
            return value.isoformat()
        case datetime.timedelta() | uuid.UUID():
            return str(value)
        case Mapping():
            return nest((key, plain(item)) for key, item in value.items())
        case bytes() | bytearray():
            return None
        case Sequence():
            return [plain(item) for item in value]
        case _:
            return None


def stored_payload(captions: Sequence[str], payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with the first caption beside it, and all captions if there are several."""
    stored = dict(payload)
    if captions:
        stored.setdefault("caption", captions[0])
    if len(captions) > 1:
        stored.setdefault("captions", list(captions))
    return stored


def payload_bytes(payload: Mapping[str, Any]) -> int:
    """How many bytes plain payload has as a ``google.protobuf.Struct``, which is what the service limits."""
    return sum(_field(_field(len(str(key).encode())) + _field(_value_bytes(value))) for key, value in payload.items())


def _value_bytes(value: Any) -> int:
    match value:
        case None | bool():
            return 2
        case int() | float():
            return 9
        case str():
            return _field(len(value.encode()))
        case Mapping():
            return _field(payload_bytes(value))
        case _:
            return _field(sum(_field(_value_bytes(item)) for item in value))


def _field(length: int) -> int:
    """A field of that many bytes with its tag and its length, a varint of 7 bits a byte."""
    return 1 + max(1, (length.bit_length() + 6) // 7) + length
