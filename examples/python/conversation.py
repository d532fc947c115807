"""Refine a search step by step: python examples/python/conversation.py ITEM_ID EDIT NEXT_EDIT.

The client holds the turns, and the service keeps nothing. So to undo the last turn is to leave it out.
"""

from __future__ import annotations

import os
import sys

from scot.client import Filter, MatchAny, Reference, ScotClient, Turn


def main(item_id: str, edit: str, next_edit: str) -> None:
    """Search from an item, go on from the best hit away from the worst one, then undo that."""
    with ScotClient(os.environ.get("SCOT_ADDRESS", "localhost:9000"), api_key=os.environ.get("SCOT_API_KEY")) as client:
        turns = [Turn([Reference(item_id=item_id)], edit)]
        first = client.search(turns=turns)
        best, worst = first.hits[0], first.hits[-1]
        print("found:", best.item_id)

        turns.append(Turn([Reference(item_id=best.item_id)], next_edit, dislike=[worst.item_id]))
        second = client.search(turns=turns, diversity=0.3, filter=Filter([MatchAny("size", ["S", "M"])]))
        print("then:", second.hits[0].item_id)

        groups = client.search(turns=turns, group_by="size", group_size=2).groups
        print("by size:", {group.value: [hit.item_id for hit in group.hits] for group in groups})
        print("sizes:", {each.value: each.count for each in client.facets(["size"]).values["size"]})

        turns.pop()
        print("undone:", client.search(turns=turns).hits[0].item_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
