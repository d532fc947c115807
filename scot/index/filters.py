"""Conditions on the payload of what is found.

>>> Filter(must=[Match("kind", "shirt"), Range("price", lte=30)], must_not=[Exists("sold")])  # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from qdrant_client import models


_PLAIN = re.compile(r"[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True, slots=True)
class Match:
    """The field equals the value, or, when the field is a list, holds it."""

    field: str
    value: str | int | bool


@dataclass(frozen=True, slots=True)
class Range:
    """The field is a number within the bounds that are given."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there and is neither null nor an empty list; with ``exists=False``, the opposite."""

    field: str
    exists: bool = True


Condition: TypeAlias = Match | Range | Exists


@dataclass(frozen=True, slots=True)
class Filter:
    """All of ``must``, at least one of ``should`` when there is any, and none of ``must_not``."""

    must: Sequence[Condition] = field(default_factory=tuple)
    should: Sequence[Condition] = field(default_factory=tuple)
    must_not: Sequence[Condition] = field(default_factory=tuple)


def to_qdrant(wanted: Filter | None, exclude_points: Sequence[str] = ()) -> models.Filter | None:
    """The Qdrant filter of ``wanted``, which also leaves out the points named in ``exclude_points``."""
    from qdrant_client import models

    wanted = wanted or Filter()
    must_not = [_condition(each) for each in wanted.must_not]
    if exclude_points:
        must_not.append(models.HasIdCondition(has_id=list(exclude_points)))
    if not (wanted.must or wanted.should or must_not):
        return None
    return models.Filter(
        must=[_condition(each) for each in wanted.must] or None,
        should=[_condition(each) for each in wanted.should] or None,
        must_not=must_not or None,
    )


def _path(field: str) -> str:
    """Qdrant's path of a field: what is more than words and dots is quoted, or it would be no path at all."""
    return field if _PLAIN.fullmatch(field) else f'"{field}"'


def _condition(condition: Condition) -> models.Condition:
    from qdrant_client import models

    key = _path(condition.field)
    match condition:
        case Match(value=value):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case Range(gt=gt, gte=gte, lt=lt, lte=lte):
            return models.FieldCondition(key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte))
        case Exists(exists=exists):
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
            return models.Filter(must_not=[empty]) if exists else empty
