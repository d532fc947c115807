"""Search results by the values of a field: the best items of each value, the group with the best item first.

Qdrant's server has groups, its engine in process has none. Here both work alike, by pages of plain searches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from scot.index.engine import Point
from scot.index.facets import Value, values_at
from scot.index.filters import Exists, Filter, MatchAny

Fetch: TypeAlias = Callable[[Filter, int, int], Awaitable[list[Point]]]
"""From a filter, an offset and a limit to the nearest points, best first."""

MAX_LOOKED_AT = 10_000
"""The most points that one step of a grouped search looks at; groups behind them are not found."""
_PAGE = 100


@dataclass(frozen=True, slots=True)
class PointGroup:
    """The best points whose field has the value, best first. A point with a list is in several groups."""

    value: Value
    points: list[Point] = field(default_factory=list)


async def group_points(
    fetch: Fetch, name: str, *, filter: Filter | None, groups: int, offset: int, size: int
) -> Sequence[PointGroup]:
    """The best ``groups`` groups of the field ``name`` behind the ``offset`` best, each with up to ``size`` points."""
    given = filter or Filter()
    wanted = replace(given, must=(*given.must, Exists(name)))
    found: dict[tuple[type, Value], PointGroup] = {}
    await _collect(fetch, wanted, name, found, size, most=offset + groups)
    kept = list(found.items())[offset : offset + groups]
    # The groups are known; some may lack points that the pages did not reach.
    short = {key: PointGroup(group.value) for key, group in kept if len(group.points) < size}
    if short:
        listed = MatchAny(name, tuple(group.value for group in short.values()))
        await _collect(fetch, replace(wanted, must=(*wanted.must, listed)), name, short, size, most=0)
    return [short.get(key, group) for key, group in kept]


async def _collect(
    fetch: Fetch, filter: Filter, name: str, groups: dict[tuple[type, Value], PointGroup], size: int, *, most: int
) -> None:
    """Add points to the groups, page by page, until there are ``most`` groups, or those that are there are full."""
    at, page = 0, max(_PAGE, most * size)
    while at < MAX_LOOKED_AT:
        points = await fetch(filter, at, min(page, MAX_LOOKED_AT - at))
        for point in points:
            for value in values_at(point.payload, name):
                key = (type(value), value)
                if key not in groups and len(groups) < most:
                    groups[key] = PointGroup(value)
                if key in groups and len(groups[key].points) < size:
                    groups[key].points.append(point)
        complete = len(groups) >= most if most else all(len(group.points) >= size for group in groups.values())
        if complete or len(points) < page:
            return
        at, page = at + len(points), 2 * page
