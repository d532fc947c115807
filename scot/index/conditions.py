"""A :class:`~scot.index.filters.Filter` for either engine: Qdrant's client, and the embedded engine's binding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from scot.index.filters import Condition, DatetimeRange, Exists, Filter, Match, MatchAny, MatchText, Range, path_of
from scot.index.payload import BOOLEANS_KEY


def to_qdrant(filter: Filter | None, exclude: Sequence[str] = ()) -> Any:
    """The ``models.Filter`` of Qdrant's client, or None; it leaves out the point ids ``exclude``."""
    from qdrant_client import models

    def convert(condition: Condition) -> Any:
        key = path_of(condition.field)
        match condition:
            case Match(value=value):
                return models.FieldCondition(key=key, match=models.MatchValue(value=value))
            case MatchAny(values=values):
                texts, integers, booleans = _by_kind(values)
                tests: list[Any] = [models.MatchAny(any=each) for each in (texts, integers) if each]
                tests += [models.MatchValue(value=each) for each in booleans]
                return _either([models.FieldCondition(key=key, match=each) for each in tests], models.Filter)
            case MatchText(text=text):
                return models.FieldCondition(key=key, match=models.MatchText(text=text))
            case Range(gt=gt, gte=gte, lt=lt, lte=lte):
                return models.FieldCondition(key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte))
            case DatetimeRange(gt=after, gte=since, lt=before, lte=until):
                times = models.DatetimeRange(gt=after, gte=since, lt=before, lte=until)
                return models.FieldCondition(key=key, range=times)
            case Exists(exists=exists):
                empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
                return models.Filter(must_not=[empty]) if exists else empty

    has_id = models.HasIdCondition(has_id=list(exclude)) if exclude else None
    return _assembled(filter, convert, has_id, models.Filter)


def to_edge(filter: Filter | None, exclude: Sequence[str] = ()) -> Any:
    """The ``qdrant_edge.Filter`` of the embedded engine, or None; it leaves out the point ids ``exclude``."""
    import qdrant_edge as edge

    def convert(condition: Condition) -> Any:
        key = path_of(condition.field)
        match condition:
            case Match(value=bool(value)):  # the binding reads True as the integer 1
                return edge.FieldCondition(BOOLEANS_KEY, match=edge.MatchValue(boolean(key, value)))
            case Match(value=value):
                return edge.FieldCondition(key, match=edge.MatchValue(value))
            case MatchAny(values=values):
                texts, integers, booleans = _by_kind(values)
                found = [edge.FieldCondition(key, match=edge.MatchAny(each)) for each in (texts, integers) if each]
                if booleans:
                    listed = edge.MatchAny([boolean(key, each) for each in booleans])
                    found.append(edge.FieldCondition(BOOLEANS_KEY, match=listed))
                return _either(found, edge.Filter)
            case MatchText(text=text):
                return edge.FieldCondition(key, match=edge.MatchText(text))
            case Range(gt=gt, gte=gte, lt=lt, lte=lte):
                return edge.FieldCondition(key, range=edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
            case DatetimeRange(gt=after, gte=since, lt=before, lte=until):
                times = edge.RangeDateTime(gt=_rfc(after), gte=_rfc(since), lt=_rfc(before), lte=_rfc(until))
                return edge.FieldCondition(key, range=times)
            case Exists(exists=exists):
                empty = edge.IsEmptyCondition(key)
                return edge.Filter(must_not=[empty]) if exists else empty

    return _assembled(filter, convert, edge.HasIdCondition(set(exclude)) if exclude else None, edge.Filter)


def boolean(path: str, value: bool) -> str:
    """How a boolean at a path stands in the list of booleans that the embedded engine searches."""
    return f"{path}={value}"


def _by_kind(values: Sequence[str | int | bool]) -> tuple[list[str], list[int], list[bool]]:
    """The texts, the integers and the booleans: a condition of Qdrant has values of one kind."""
    booleans = [each for each in values if isinstance(each, bool)]
    integers = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
    return [each for each in values if isinstance(each, str)], integers, booleans


def _either(conditions: list[Any], make: Callable[..., Any]) -> Any:
    return conditions[0] if len(conditions) == 1 else make(should=conditions)


def _rfc(time: datetime | None) -> str | None:
    return None if time is None else (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _assembled(
    filter: Filter | None, convert: Callable[[Condition], Any], excluded: Any, make: Callable[..., Any]
) -> Any:
    filter = filter or Filter()
    must_not = [convert(each) for each in filter.must_not] + ([excluded] if excluded is not None else [])
    if not (filter.must or filter.should or must_not):
        return None
    return make(
        must=[convert(each) for each in filter.must] or None,
        should=[convert(each) for each in filter.should] or None,
        must_not=must_not or None,
    )
