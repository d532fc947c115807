"""The values of payload fields and how many items have each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from scot.errors import InvalidInput
from scot.index.engine import Engine
from scot.index.filters import Filter, path_of

Value: TypeAlias = str | int | bool

MAX_COUNTED = 20_000
"""The most items of which an unindexed field is counted one by one, in about a tenth of a second."""
_INDEXED = ("keyword", "integer", "bool")
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Facets:
    """For each field its values and their numbers of items, the most frequent first; and the number of all items."""

    values: Mapping[str, Sequence[tuple[Value, int]]]
    total: int


async def count_values(
    engine: Engine, collection: str, fields: Sequence[str], *, filter: Filter | None, limit: int
) -> Facets:
    """The ``limit`` most frequent values of each field among the items that the filter leaves.

    The engine counts a field with an index of the kind keyword, integer or bool; others are counted one by one.

    Raises:
        InvalidInput: a field has no such index, and the items are more than ``MAX_COUNTED``.
        NotFound: there is no such collection.
    """
    total = await engine.count(collection, filter)
    kinds = (await engine.describe(collection)).payload_index if fields else {}
    counted: dict[str, Iterable[tuple[Value, int]]] = {}
    unindexed = [field for field in fields if kinds.get(field) not in _INDEXED]
    if unindexed and total > MAX_COUNTED:
        raise InvalidInput(
            f"fields: {unindexed[0]!r} has no index of the kind keyword, integer or bool in collection {collection!r}, "
            f"which more than {MAX_COUNTED:,} items need"
        )
    for field in fields:
        if field not in unindexed:
            counted[field] = await engine.facet(collection, field, kinds[field], filter=filter, limit=limit)
    if unindexed:
        counters = await _count(engine, collection, unindexed, filter)
        counted |= {field: [(value, n) for (_, value), n in counter.items()] for field, counter in counters.items()}
    # Between equally frequent ones, the order of kinds is arbitrary but fixed.
    return Facets(
        {
            field: sorted(counted[field], key=lambda each: (-each[1], type(each[0]).__name__, each[0]))[:limit]
            for field in fields
        },
        total,
    )


def values_at(payload: Mapping[str, Any], field: str) -> list[Value]:
    """The distinct texts, integers and booleans of a field, in order: it is one of them, or a list of them."""
    found: Any = payload
    for key in field.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    # By type as well, because True equals 1.
    return list({(type(each), each): each for each in listed if isinstance(each, str | int)}.values())


async def _count(
    engine: Engine, collection: str, fields: Sequence[str], filter: Filter | None
) -> dict[str, Counter[tuple[type, Value]]]:
    counters: dict[str, Counter[tuple[type, Value]]] = {field: Counter() for field in fields}
    keys = list(dict.fromkeys(path_of(field.partition(".")[0]) for field in fields))
    after: str | None = None
    while True:
        points, after = await engine.scroll(collection, after=after, limit=_PAGE, filter=filter, keys=keys)
        for field, counter in counters.items():
            for point in points:
                counter.update((type(each), each) for each in values_at(point.payload, field))
        if after is None:
            return counters
