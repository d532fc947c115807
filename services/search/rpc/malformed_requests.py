"""Malformed requests: bytes that protobuf cannot parse are refused with the name of the field.

Without this, gRPC answers them with UNKNOWN and the name of a Python class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

_MAX_FIELDS = 10_000  # that are searched for the invalid one, so that a large request cannot take much time
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class MalformedRequest:
    """Takes the place of a request that cannot be parsed; its sender gets the sentence."""

    sentence: str


def reader(message: type[Message]) -> Callable[[bytes], Message | MalformedRequest]:
    """The parser of requests of a type."""

    def read(data: bytes) -> Message | MalformedRequest:
        try:
            return message.FromString(data)
        except DecodeError:
            field = invalid_text_field(message.DESCRIPTOR, data)
            if field:
                return MalformedRequest(f"{field}: is not UTF-8 text")
            return MalformedRequest(f"the request is not a valid {message.DESCRIPTOR.full_name} message")

    return read


def invalid_text_field(descriptor: Any, data: bytes) -> str:
    """The first text field that is not UTF-8, such as ``edits[0].text``; ``""`` when something else is wrong.

    Follows the wire format: https://protobuf.dev/programming-guides/encoding.
    """
    try:
        return _Scan(data).message(descriptor, 0, len(data), "")
    except (IndexError, RecursionError, _Stop):
        return ""


class _Stop(Exception):
    """The bytes are damaged, or there are too many fields."""


class _Scan:
    def __init__(self, data: bytes) -> None:
        self._data, self._fields = data, 0

    def message(self, descriptor: Any, at: int, end: int, path: str) -> str:
        places: dict[int, int] = {}
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise _Stop
            tag, at = self._varint(at)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                _, at = self._varint(at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            elif kind == _BYTES:
                length, at = self._varint(at)
                if at + length > end:
                    raise _Stop
                place = places[number] = places.get(number, -1) + 1
                found = self._field(descriptor.fields_by_number.get(number), at, at + length, path, place)
                if found:
                    return found
                at += length
            else:
                raise _Stop  # a group, which SCOT's messages do not have
        return ""

    def _field(self, field: Any, at: int, end: int, path: str, place: int) -> str:
        if field is None or field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            return ""
        name = f"{path}{field.name}[{place}]" if field.is_repeated else f"{path}{field.name}"
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            return self.message(field.message_type, at, end, f"{name}.")
        try:
            self._data[at:end].decode("utf-8")
        except UnicodeDecodeError:
            return name
        return ""

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
            if shift >= 70:
                raise _Stop
