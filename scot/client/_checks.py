"""Checks of the client's arguments: a wrong type is one sentence that begins with the name of the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from scot.errors import InvalidInput

T = TypeVar("T")

_SHOWN = 60


def text(field: str, value: object) -> str:
    """The value, if it is Unicode text. Raises InvalidInput."""
    if not isinstance(value, str):
        raise InvalidInput(f"{field}: must be text, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{field}: must be Unicode text, not {shown(value)}") from None
    return value


def texts(field: str, values: object) -> list[str]:
    """A list of texts; one text is no list, because Python would take it apart. Raises InvalidInput."""
    return [text(f"{field}[{place}]", each) for place, each in enumerate(items(field, values))]


def items(field: str, values: object) -> list[Any]:
    """The elements of a list or another iterable, which is neither one text nor a mapping. Raises InvalidInput."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"{field}: must be a list, not {shown(values)}")
    return list(values)


def number(field: str, value: object) -> float:
    """The value, if it is a number. Raises InvalidInput."""
    if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, Sequence):
        raise InvalidInput(f"{field}: must be a number, not {shown(value)}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{field}: must be a number, not {shown(value)}") from None


def whole(field: str, value: object) -> int:
    """The value, if it is an integer, NumPy's included. Raises InvalidInput."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidInput(f"{field}: must be an integer, not {shown(value)}")
    return int(value)


def instance(field: str, value: object, kind: type[T]) -> T:
    """The value, if it is of the class. Raises InvalidInput."""
    if not isinstance(value, kind):
        noun = {"bool": "True or False", "dict": "a dict"}.get(kind.__name__, f"of the class {kind.__name__}")
        raise InvalidInput(f"{field}: must be {noun}, not {shown(value)}")
    return value


def shown(value: object) -> str:
    """A value as an error shows it: its type, and its beginning if it is short to print."""
    plain = ascii(value) if isinstance(value, str | bytes | int | float | bool | None) else ""
    kind = type(value).__name__
    if not plain or value is None:
        return kind
    return f"{kind} {plain}" if len(plain) <= _SHOWN else f"{kind} {plain[: _SHOWN - 3]}..."
