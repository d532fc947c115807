"""Protobuf messages to and from SCOT's types; a malformed value is refused with the name of its field."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf import struct_pb2

from scot.baselines import BASELINES, parse_baseline
from scot.data.payload import dotted_key
from scot.errors import InvalidInput
from scot.index.filters import Filter, filter_from_proto
from scot.index.origin import Origin, origin_from_proto
from scot.index.payload import RESERVED_PREFIX, payload_from_proto, reserved_key
from scot.v1 import index_pb2, search_pb2
from services.search.rpc import limits

Sized = TypeVar("Sized", str, bytes)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_DIGEST = re.compile("[0-9a-f]{0,64}")
_BASELINE = re.compile(r"[a-z_]+(:[0-9.]+)?")


def checked_text(field: str, text: str) -> str:
    """A non-empty text, without surrounding space."""
    return _sized(field, text.strip(), limits.MAX_TEXT_CHARS, "characters")


def checked_image(field: str, image: bytes) -> bytes:
    """The bytes of an image, not yet decoded."""
    return _sized(field, image, limits.MAX_IMAGE_BYTES, "bytes")


def checked_id(field: str, item_id: str) -> str:
    """An item id."""
    return _sized(field, item_id, limits.MAX_ID_CHARS, "characters")


def _sized(field: str, value: Sized, most: int, unit: str) -> Sized:
    if not value:
        raise InvalidInput(f"{field}: must not be empty")
    if len(value) > most:
        raise InvalidInput(f"{field}: {len(value)} {unit} are more than {most}")
    return value


def checked_number(field: str, number: int, most: int) -> None:
    """Check that the number is between 1 and ``most``."""
    if not number:
        raise InvalidInput(f"{field}: give at least one")
    if number > most:
        raise InvalidInput(f"{field}: {number} are more than {most}")


def checked_ids(field: str, item_ids: Sequence[str], most: int = limits.MAX_IDS) -> list[str]:
    """From 1 to ``most`` item ids."""
    checked_number(field, len(item_ids), most)
    return [checked_id(f"{field}[{place}]", item_id) for place, item_id in enumerate(item_ids)]


def checked_name(field: str, name: str, *, default: str) -> str:
    """A collection's or composer's name; an empty one means the default."""
    if not name:
        return default
    if not is_name(name):
        raise InvalidInput(
            f"{field}: a name is at most {limits.MAX_NAME_CHARS} letters, digits, dots, dashes, underscores"
        )
    return name


def is_name(name: str) -> bool:
    """Whether a request can name a collection so."""
    return len(name) <= limits.MAX_NAME_CHARS and _NAME.fullmatch(name) is not None


def checked_composer(field: str, name: str) -> str:
    """The name of a composer, or of a baseline with or without a weight (``sum:0.7``); empty: the default one."""
    kind, colon, _ = name.partition(":")
    if kind not in BASELINES:
        return checked_name(field, name, default="")
    if len(name) > limits.MAX_NAME_CHARS or not _BASELINE.fullmatch(name):
        raise InvalidInput(f"{field}: a baseline's weight is a number from 0 to 1, as in sum:0.7")
    if colon:
        try:
            parse_baseline(name)
        except InvalidInput as error:
            raise InvalidInput(f"{field}: {error}") from None
    return name


def checked_vector(field: str, vector: search_pb2.Vector, dim: int) -> npt.NDArray[np.float32]:
    """The vector scaled to unit length, ``(D,)``."""
    with np.errstate(invalid="ignore"):  # NaNs of every kind are refused below
        values = np.asarray(vector.values, dtype=np.float64)
    if values.shape != (dim,):
        raise InvalidInput(f"{field}: has {values.size} values; this encoder's vectors have {dim}")
    if not np.isfinite(values).all():
        raise InvalidInput(f"{field}: every value must be a finite number")
    length = float(np.linalg.norm(values))
    if length == 0.0:
        raise InvalidInput(f"{field}: a vector of zeros has no direction")
    unit: npt.NDArray[np.float32] = (values / length).astype(np.float32)
    return unit


def checked_field(field: str, name: str) -> str:
    """The name of a payload field."""
    if not name or len(name) > limits.MAX_FIELD_CHARS or name.startswith(RESERVED_PREFIX) or '"' in name:
        raise InvalidInput(
            f"{field}: name a payload field in at most {limits.MAX_FIELD_CHARS} characters without a double quote"
        )
    return name


def checked_filter(field: str, message: search_pb2.Filter) -> Filter:
    """The filter over payload fields."""
    if len(message.must) + len(message.should) + len(message.must_not) > limits.MAX_CONDITIONS:
        raise InvalidInput(f"{field}: more than {limits.MAX_CONDITIONS} conditions")
    for name in ("must", "should", "must_not"):
        for place, condition in enumerate(getattr(message, name)):
            path = f"{field}.{name}[{place}]"
            checked_field(f"{path}.field", condition.field)
            if len(condition.any.values) > limits.MAX_ANY:
                raise InvalidInput(f"{path}.any: {len(condition.any.values)} values are more than {limits.MAX_ANY}")
            if len(condition.text) > limits.MAX_TEXT_CHARS:
                raise InvalidInput(
                    f"{path}.text: {len(condition.text)} characters are more than {limits.MAX_TEXT_CHARS}"
                )
    return filter_from_proto(field, message)


def checked_payload(field: str, message: struct_pb2.Struct) -> dict[str, Any]:
    """The payload as plain Python; whole numbers become ``int``, so that they match as integers."""
    if message.ByteSize() > limits.MAX_PAYLOAD_BYTES:
        raise InvalidInput(f"{field}: larger than {limits.MAX_PAYLOAD_BYTES} bytes")
    if (reserved := reserved_key(message.fields)) is not None:
        raise InvalidInput(f"{field}: the key {reserved!r} is reserved")
    try:
        payload = payload_from_proto(message)
    except (ValueError, RecursionError) as error:  # NaN or infinity, which JSON does not have, or too deep nesting
        raise InvalidInput(f"{field}: contains a number or a nesting that JSON does not allow") from error
    if (key := dotted_key(payload)) is not None:
        raise InvalidInput(f"{field}: no filter can name the key {key!r}, because a dot means nesting: nest objects")
    return payload


def checked_page(field: str, token: str) -> str | None:
    """Where a page begins, as ``next`` of the page before says it; None for the first page."""
    if not token:
        return None
    try:
        return str(uuid.UUID(token))
    except ValueError:
        raise InvalidInput(f"{field}: is not the `next` of another answer") from None


def checked_origin(field: str, message: index_pb2.Item) -> Origin | None:
    """The origin of an item, if it has one."""
    origin = origin_from_proto(message)
    if origin is not None:
        _sized(f"{field}.source", origin.source, limits.MAX_ORIGIN_CHARS, "characters")
        if origin.path:
            _sized(f"{field}.path", origin.path, limits.MAX_ORIGIN_CHARS, "characters")
        for name in ("sha256", "metadata"):
            if not _DIGEST.fullmatch(getattr(origin, name)):
                raise InvalidInput(f"{field}.{name}: must be at most 64 hexadecimal digits")
        if origin.size >= 2**63:
            raise InvalidInput(f"{field}.size: is too large")
    return origin


def vector_message(vector: npt.NDArray[np.float32]) -> search_pb2.Vector:
    """The message of a ``(D,)`` vector."""
    return search_pb2.Vector(values=vector.tolist())
