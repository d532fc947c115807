"""multipart/form-data: a part for each field, named by its path, such as ``reference.image`` or ``edits[0].text``.

A part ``request`` holds the rest as JSON. Fields of bytes are taken as they are, a file's too; other fields are text,
or JSON for messages.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from services.web.json_messages import merge, read_json, to_message
from services.web.problems import Problem, invalid

REQUEST = "request"
MAX_PARTS = 1_000
_SEGMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})(?:\[([0-9]{1,4})\])?", re.ASCII)


def read_form(content_type: str, body: bytes, kind: type[Message]) -> Message:
    """The message of a form. Raises Problem (INVALID_ARGUMENT)."""
    parts = _parts(content_type, body)
    documents = [content for name, content in parts if name == REQUEST]
    if len(documents) > 1:
        raise invalid("the part request stands twice")
    message = to_message(read_json(documents[0]), kind) if documents else kind()
    for name, content in parts:
        if name != REQUEST:
            _set(message, name, content)
    return message


def _parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a form by their names, in its order. Raises Problem."""
    reader = _Reader()
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    try:
        parser = MultipartParser(boundary, reader.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise invalid("the body is not multipart/form-data") from None
    if not reader.ended:
        raise invalid("the body is not multipart/form-data: it has no end")
    return reader.parts


class _Reader:
    """Collects the parts that python_multipart finds."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bytes]] = []
        self.ended = False
        self._name, self._value, self._disposition = b"", b"", b""
        self._data = bytearray()

    def callbacks(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in dir(self) if name.startswith("on_")}

    def on_part_begin(self) -> None:
        self._name, self._value, self._disposition, self._data = b"", b"", b"", bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def on_part_end(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise invalid(f"the form has more than {MAX_PARTS:,} parts")
        name = parse_options_header(self._disposition)[1].get(b"name")
        if name is None:
            raise invalid("a part of the form has no name")
        self.parts.append((name.decode("utf-8", "replace"), bytes(self._data)))

    def on_end(self) -> None:
        self.ended = True


def _set(message: Message, path: str, value: bytes) -> None:
    *parents, last = (_segment(path, each) for each in path.split("."))
    for name, place in parents:
        message = _child(message, name, place, path)
    field = _field(message, last[0], path)
    _check_oneof(message, field, path)
    if not field.is_repeated and any(each.name == field.name for each, _ in message.ListFields()):
        raise invalid(f"{path}: is set already")
    if field.type == FieldDescriptor.TYPE_BYTES:
        setattr(message, field.name, value)
        return
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise invalid(f"{path}: is not UTF-8 text") from None
    try:
        _set_text(message, field, last[1], text, path)
    except Problem as problem:
        own = f"{field.name}: "  # merge names the field alone
        raise invalid(f"{path}: {problem.detail.removeprefix(own)}") from None


def _set_text(message: Message, field: Any, place: int | None, text: str, path: str) -> None:
    structured = field.message_type is not None or field.type == FieldDescriptor.TYPE_BOOL
    value = read_json(text.encode()) if structured else text
    if field.is_repeated:
        if place not in (None, len(getattr(message, field.name))):
            raise invalid(f"{path}: number the parts of a list from 0, without gaps")
        value = value if isinstance(value, list) and place is None else [value]
    elif place is not None:
        raise invalid(f"{path}: {field.name} is not a list")
    part = type(message)()
    merge({field.name: value}, part)
    message.MergeFrom(part)


def _child(message: Message, name: str, place: int | None, path: str) -> Message:
    field = _field(message, name, path)
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        raise invalid(f"{path}: {name} has no fields of its own")
    if field.is_repeated != (place is not None):
        raise invalid(f"{path}: {name} is {'' if field.is_repeated else 'not '}a list")
    _check_oneof(message, field, path)
    child = getattr(message, field.name)
    if place is None:
        child.SetInParent()
        return child  # type: ignore[no-any-return]
    if place > len(child):
        raise invalid(f"{path}: number the parts of a list from 0, without gaps")
    return child.add() if place == len(child) else child[place]  # type: ignore[no-any-return]


def _field(message: Message, name: str, path: str) -> Any:
    for field in message.DESCRIPTOR.fields:
        if name in (field.name, field.json_name):
            return field
    raise invalid(f"{path[:100]}: there is no such field")


def _check_oneof(message: Message, field: Any, path: str) -> None:
    oneof = field.containing_oneof
    if oneof is not None and (set_field := message.WhichOneof(oneof.name)) not in (None, field.name):
        raise invalid(f"{path}: {set_field} is set already")


def _segment(path: str, text: str) -> tuple[str, int | None]:
    found = _SEGMENT.fullmatch(text)
    if found is None:
        raise invalid(f"{path[:100]!r} is not a path of fields, such as edits[0].text")
    return found[1], None if found[2] is None else int(found[2])
