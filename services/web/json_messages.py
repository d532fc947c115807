"""Protobuf messages to and from their canonical JSON (https://protobuf.dev/programming-guides/json).

Stricter than ``json_format`` where it loses something silently: a key that stands twice, and base64 with characters
that are not base64. Fields without presence are written even when they have their default, so that ``hits`` is a list
always.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from services.web.problems import invalid

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""The most values of one document; each takes many times its size in memory."""
Parsed = TypeVar("Parsed", bound=Message)


def read_json(body: bytes) -> Any:
    """The value of a JSON document. Raises Problem (INVALID_ARGUMENT)."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise invalid(f"the JSON document has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise invalid(f"the JSON document is nested deeper than {MAX_DEPTH}") from None
    except UnicodeDecodeError:
        raise invalid("the JSON document is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if _deeper_than(value, MAX_DEPTH):
        raise invalid(f"the JSON document is nested deeper than {MAX_DEPTH}")
    return value


def to_message(value: Any, kind: type[Parsed]) -> Parsed:
    """A message of its canonical JSON value; camelCase and the proto's names. Raises Problem (INVALID_ARGUMENT)."""
    if not isinstance(value, dict):
        raise invalid(f"a {kind.DESCRIPTOR.name} is a JSON object")
    message = kind()
    merge(value, message)
    return message


def merge(value: Any, message: Message) -> None:
    """Set a message's fields from a canonical JSON value. Raises Problem (INVALID_ARGUMENT)."""
    try:
        ParseDict(value, message)
    except ParseError as error:
        raise invalid(_sentence(str(error))) from None
    except (RecursionError, ValueError, TypeError) as error:
        raise invalid(f"{message.DESCRIPTOR.name}: a value is not of its field's type") from error
    _check_base64(value, message, "")


def to_json(message: Message) -> bytes:
    """The canonical JSON of a message."""
    value = MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit + 1):
        if not level:
            return False
        containers = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for each in containers for child in each if isinstance(child, dict | list)]
    return True


def _sentence(error: str) -> str:
    """``edits[0].weight: Couldn't parse float: x`` from the nested texts of json_format."""
    text = error.partition("\n")[0]
    names = re.findall(r"Failed to parse (\w+) field: ", text)
    text = text.rpartition(" field: ")[2].rstrip(".")
    reason, _, place = text.rpartition(" at ")
    place = (reason and place.strip('"').partition(".")[2]) or ".".join(names)
    reason = reason or text
    if unknown := re.search(r'has no field named "(.*)"$', reason):
        return f"{f'{place}.' if place else ''}{unknown[1]}: there is no such field"
    return f"{place or 'the request'}: {reason}"


def _check_base64(value: Any, message: Message, path: str) -> None:
    """Refuse bytes fields of which decoding has left out characters."""
    if not isinstance(value, dict):
        return
    for field in message.DESCRIPTOR.fields:
        given = value.get(field.json_name, value.get(field.name))
        if given is None or (field.message_type is None and field.type != FieldDescriptor.TYPE_BYTES):
            continue
        name = f"{path}{field.name}"
        found = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_BYTES and isinstance(given, str):
            length = len(given.rstrip("="))
            if length % 4 == 1 or len(found) != length * 3 // 4:
                raise invalid(f"{name}: is not base64 without line breaks")
        elif (
            field.message_type is None
            or field.message_type.full_name.startswith("google.protobuf.")
            or field.message_type.GetOptions().map_entry
        ):
            continue
        elif field.is_repeated:
            for place, (each, part) in enumerate(zip(given, found, strict=True)):
                _check_base64(each, part, f"{name}[{place}].")
        else:
            _check_base64(given, found, f"{name}.")
