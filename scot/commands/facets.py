"""``scot facets``: the values of payload fields and how many items have each."""

from __future__ import annotations

from dataclasses import dataclass, field

import tyro

from scot.commands.columns import print_columns
from scot.commands.service import ServicePlace
from scot.index.filter_text import parse_filter
from scot.results import print_json, printable


@dataclass(frozen=True)
class FacetsConfig:
    """Count the values of payload fields among the items that a filter leaves.

    Example: scot facets colour kind --filter "price<20"
    """

    fields: tyro.conf.Positional[tuple[str, ...]] = ()
    """The payload fields, up to 16; none: only the items are counted."""
    filter: str = ""
    """Conditions on the payload, as of `scot search`."""
    limit: int = 10
    """The most frequent values of each field, 1 to 1,000."""
    collection: str = ""
    """Which collection; by default the service's own."""
    json: bool = False
    """Print one line of JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""


def facets(config: FacetsConfig) -> int:
    """Print the values.

    Raises:
        ScotError: the filter is malformed, or the service refuses or is unavailable.
    """
    conditions = parse_filter(config.filter) if config.filter.strip() else None
    with config.service.client() as client:
        found = client.facets(config.fields, filter=conditions, limit=config.limit, collection=config.collection)
    if config.json:
        values = {
            name: [{"value": each.value, "count": each.count} for each in counts]
            for name, counts in found.values.items()
        }
        print_json({"total": found.total, "facets": values})
        return 0
    rows = [
        (printable(name), printable(str(each.value)), f"{each.count:,}")
        for name, counts in found.values.items()
        for each in counts
    ]
    if rows:
        print_columns([("field", "value", "items"), *rows])
    print(f"{found.total:,} items")
    return 0
