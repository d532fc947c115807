"""Filters: conditions on the payload of search results.

>>> Filter(must=[Match("kind", "shirt"), Range("price", lte=30)], must_not=[Exists("sold")])  # doctest: +SKIP
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from scot.errors import InvalidInput
from scot.v1 import search_pb2

_BOUNDS = ("gt", "gte", "lt", "lte")
_LETTER = re.compile(r"\w")
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Match:
    """The field equals the value; a list contains it."""

    field: str
    value: str | int | bool


@dataclass(frozen=True, slots=True)
class MatchAny:
    """The field equals one of the values, or is a list that contains one of them."""

    field: str
    values: Sequence[str | int | bool]


@dataclass(frozen=True, slots=True)
class MatchText:
    """The field is text, or a list with a text, that has every word of ``text``, in any order and case."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class DatetimeRange:
    """The field is a date or a date and time in RFC 3339, within the bounds; without a zone, UTC is meant."""

    field: str
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None


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


Condition: TypeAlias = Match | MatchAny | MatchText | Range | DatetimeRange | Exists


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
    if not isinstance(condition, Condition):
        raise InvalidInput(
            f"{field}: must be a Match, MatchAny, MatchText, Range, DatetimeRange or Exists, "
            f"not {type(condition).__name__}"
        )
    if not isinstance(condition.field, str):
        raise InvalidInput(f"{field}.field: must be text, not {type(condition.field).__name__}")
    try:
        return _message_of(condition)
    except (AttributeError, OverflowError, TypeError, ValueError) as error:  # protobuf's: no int64, no date, no Unicode
        raise InvalidInput(f"{field}: {error}") from None


def _message_of(condition: Condition) -> search_pb2.Condition:
    match condition:
        case Exists(field, exists):
            return search_pb2.Condition(field=field, exists=exists)
        case Match(field, value):
            return search_pb2.Condition(field=field, match=match_to_proto(value))
        case MatchAny(_, str() | bytes() as values):
            raise TypeError(f"a MatchAny needs a list of values, not {type(values).__name__}")
        case MatchAny(field, values):
            listed = search_pb2.MatchAny(values=[match_to_proto(value) for value in values])
            return search_pb2.Condition(field=field, any=listed)
        case MatchText(field, text):
            return search_pb2.Condition(field=field, text=text)
        case Range(field):
            bounds = {name: getattr(condition, name) for name in _BOUNDS}
            return search_pb2.Condition(field=field, range=search_pb2.Range(**bounds))
        case DatetimeRange(field):
            times = search_pb2.DatetimeRange()
            for name in _BOUNDS:
                if (time := getattr(condition, name)) is not None:
                    getattr(times, name).FromDatetime(time)
            return search_pb2.Condition(field=field, datetime=times)


def match_to_proto(value: object) -> search_pb2.Match:
    """The message of a value. Raises TypeError or ValueError for one that is no text, int64 or boolean."""
    match value:
        case bool():
            return search_pb2.Match(boolean=value)
        case int():
            return search_pb2.Match(integer=value)
        case str():
            return search_pb2.Match(keyword=value)
    raise TypeError(f"a Match needs text, an integer or a boolean, not {type(value).__name__}")


def match_from_proto(field: str, message: search_pb2.Match) -> str | int | bool:
    """The value of a message. Raises InvalidInput when it has none."""
    kind = message.WhichOneof("value")
    if kind is None:
        raise InvalidInput(f"{field}: set one of keyword, integer and boolean")
    value: str | int | bool = getattr(message, kind)
    return value


def _conditions_from_proto(field: str, messages: Iterable[search_pb2.Condition]) -> tuple[Condition, ...]:
    return tuple(_condition_from_proto(f"{field}[{place}]", message) for place, message in enumerate(messages))


def _condition_from_proto(field: str, message: search_pb2.Condition) -> Condition:
    match message.WhichOneof("test"):
        case "exists":
            return Exists(message.field, message.exists)
        case "match":
            return Match(message.field, match_from_proto(f"{field}.match", message.match))
        case "any":
            values = tuple(
                match_from_proto(f"{field}.any.values[{n}]", each) for n, each in enumerate(message.any.values)
            )
            if not values:
                raise InvalidInput(f"{field}.any: give at least one value")
            return MatchAny(message.field, values)
        case "text":
            if not _LETTER.search(message.text):
                raise InvalidInput(f"{field}.text: give at least one word")
            return MatchText(message.field, message.text)
        case "range":
            bounds = _given(f"{field}.range", message.range)
            if not all(math.isfinite(bound) for bound in bounds.values()):
                raise InvalidInput(f"{field}.range: every bound must be a finite number")
            return Range(message.field, **bounds)
        case "datetime":
            return DatetimeRange(message.field, **_times(f"{field}.datetime", message.datetime))
    raise InvalidInput(f"{field}: set one of match, any, text, range, datetime and exists")


def _given(field: str, message: search_pb2.Range | search_pb2.DatetimeRange) -> dict[str, Any]:
    bounds = {name: getattr(message, name) for name in _BOUNDS if message.HasField(name)}
    if not bounds:
        raise InvalidInput(f"{field}: give at least one of {', '.join(_BOUNDS)}")
    return bounds


def _times(field: str, message: search_pb2.DatetimeRange) -> dict[str, datetime]:
    try:
        return {name: bound.ToDatetime(tzinfo=UTC) for name, bound in _given(field, message).items()}
    except (OverflowError, ValueError):
        raise InvalidInput(f"{field}: every bound must be within the years 1 to 9999") from None


def path_of(field: str) -> str:
    """Qdrant's path of a field: a dot nests, and a key that is more than a word is quoted."""
    return ".".join(key if _WORD.fullmatch(key) else f'"{key}"' for key in field.split("."))
