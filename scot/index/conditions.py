"""A :class:`~scot.index.filters.Filter` for either engine: Qdrant's client, and the embedded engine's binding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scot.index.filters import Condition, Exists, Filter, Match, Range, path_of
from scot.index.payload import BOOLEANS_KEY


def to_qdrant(filter: Filter | None, exclude: Sequence[str] = ()) -> Any:
    """The ``models.Filter`` of Qdrant's client, or None; it leaves out the point ids ``exclude``."""
    from qdrant_client import models

    def convert(condition: Condition) -> Any:
        key = path_of(condition.field)
        match condition:
            case Match(value=value):
                return models.FieldCondition(key=key, match=models.MatchValue(value=value))
            case Range(gt=gt, gte=gte, lt=lt, lte=lte):
                return models.FieldCondition(key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte))
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
            case Range(gt=gt, gte=gte, lt=lt, lte=lte):
                return edge.FieldCondition(key, range=edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
            case Exists(exists=exists):
                empty = edge.IsEmptyCondition(key)
                return edge.Filter(must_not=[empty]) if exists else empty

    return _assembled(filter, convert, edge.HasIdCondition(set(exclude)) if exclude else None, edge.Filter)


def boolean(path: str, value: bool) -> str:
    """How a boolean at a path stands in the list of booleans that the embedded engine searches."""
    return f"{path}={value}"


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
