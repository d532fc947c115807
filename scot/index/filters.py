"""Filters: conditions on the payload of search results.

>>> Filter(must=[Match("kind", "shirt"), Range("price", lte=30)], must_not=[Exists("sold")])  # doctest: +SKIP
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from scot.errors import InvalidInput
from scot.v1 import search_pb2

_BOUNDS = ("gt", "gte", "lt", "lte")
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Match:
    """The field equals the value; a list contains it."""

    field: str
    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Range:
    """The field is a number within the given bounds."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field exists and is neither null nor an empty list; with ``exists=False``, the opposite."""

    field: str
    exists: bool = True


Condition: TypeAlias = Match | Range | Exists


@dataclass(frozen=True, slots=True)
class Filter:
    """All of ``must``, at least one of ``should`` if it is not empty, and none of ``must_not``."""

    must: Sequence[Condition] = field(default_factory=tuple)
    should: Sequence[Condition] = field(default_factory=tuple)
    must_not: Sequence[Condition] = field(default_factory=tuple)


def filter_to_proto(filter: Filter) -> search_pb2.Filter:
    """The protobuf message of a filter. Raises InvalidInput for a value that the message cannot hold."""

    def converted(part: str) -> list[search_pb2.Condition]:
        conditions = getattr(filter, part)
        if not isinstance(conditions, Sequence):
            raise InvalidInput(f"filter.{part}: must be a list of conditions, not {type(conditions).__name__}")
        return [_condition_to_proto(f"filter.{part}[{n}]", each) for n, each in enumerate(conditions)]

    return search_pb2.Filter(must=converted("must"), should=converted("should"), must_not=converted("must_not"))


def filter_from_proto(field: str, message: search_pb2.Filter) -> Filter:
    """The filter of a protobuf message, which is the request's ``field``.

    Raises:
        InvalidInput: a condition is incomplete, or a bound is not finite; the sentence begins with its field.
    """
    return Filter(
        must=_conditions_from_proto(f"{field}.must", message.must),
        should=_conditions_from_proto(f"{field}.should", message.should),
        must_not=_conditions_from_proto(f"{field}.must_not", message.must_not),
    )


def _condition_to_proto(field: str, condition: Condition) -> search_pb2.Condition:
    if not isinstance(condition, Match | Range | Exists):
        raise InvalidInput(f"{field}: must be a Match, a Range or an Exists, not {type(condition).__name__}")
    if not isinstance(condition.field, str):
        raise InvalidInput(f"{field}.field: must be text, not {type(condition.field).__name__}")
    try:
        return _message_of(condition)
    except (TypeError, ValueError) as error:  # protobuf's: no int64, no number, no Unicode
        raise InvalidInput(f"{field}: {error}") from None


def _message_of(condition: Condition) -> search_pb2.Condition:
    match condition:
        case Exists(field, exists):
            return search_pb2.Condition(field=field, exists=exists)
        case Match(field, bool() as boolean):
            return search_pb2.Condition(field=field, match=search_pb2.Match(boolean=boolean))
        case Match(field, int() as integer):
            return search_pb2.Condition(field=field, match=search_pb2.Match(integer=integer))
        case Match(field, str() as keyword):
            return search_pb2.Condition(field=field, match=search_pb2.Match(keyword=keyword))
        case Match(_, value):
            raise TypeError(f"a Match needs text, an integer or a boolean, not {type(value).__name__}")
        case Range(field):
            bounds = {name: getattr(condition, name) for name in _BOUNDS}
            return search_pb2.Condition(field=field, range=search_pb2.Range(**bounds))


def _conditions_from_proto(field: str, messages: Iterable[search_pb2.Condition]) -> tuple[Condition, ...]:
    return tuple(_condition_from_proto(f"{field}[{place}]", message) for place, message in enumerate(messages))


def _condition_from_proto(field: str, message: search_pb2.Condition) -> Condition:
    kind = message.WhichOneof("test")
    if kind == "exists":
        return Exists(message.field, message.exists)
    if kind == "match":
        value = message.match.WhichOneof("value")
        if value is None:
            raise InvalidInput(f"{field}.match: set one of keyword, integer and boolean")
        return Match(message.field, getattr(message.match, value))
    if kind == "range":
        bounds = {name: getattr(message.range, name) for name in _BOUNDS if message.range.HasField(name)}
        if not bounds:
            raise InvalidInput(f"{field}.range: give at least one of {', '.join(_BOUNDS)}")
        if not all(math.isfinite(bound) for bound in bounds.values()):
            raise InvalidInput(f"{field}.range: every bound must be a finite number")
        return Range(message.field, **bounds)
    raise InvalidInput(f"{field}: set one of match, range and exists")


def path_of(field: str) -> str:
    """Qdrant's path of a field: a dot nests, and a key that is more than a word is quoted."""
    return ".".join(key if _WORD.fullmatch(key) else f'"{key}"' for key in field.split("."))
