"""The arguments of a search as its message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scot.client import _checks as checks
from scot.client._inputs import edit_to_proto, image_bytes, vector_to_proto
from scot.client._types import Query, Reference, Rerank, Turn
from scot.edit import Edit
from scot.errors import InvalidInput
from scot.index.filters import Filter, filter_to_proto
from scot.v1 import search_pb2


def _switch(field: str, value: object) -> bool:
    return checks.instance(field, value, bool)


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(("composer", "collection", "session"), checks.text),
    **dict.fromkeys(("limit", "offset"), checks.whole),
    **dict.fromkeys(("include_reference", "with_vectors"), _switch),
    "score_threshold": checks.number,
}
"""The check of each argument of a search that its message takes as it is."""
_SOURCES = ("image", "item_id", "vector")
_SAID = ("references", "edits", "like", "dislike")


def search_request(query: Query) -> search_pb2.ComposeSearchRequest:
    """The message of a query. Raises InvalidInput for a value that the message cannot hold."""
    values: dict[str, Any] = {"limit": 10, "offset": 0, **checks.instance("query", query, dict)}
    if unknown := values.keys() - Query.__annotations__.keys():
        raise TypeError(f"a search has no argument {min(unknown)!r}")
    for name in values.keys() & _CHECKS.keys():
        if values[name] is not None or name != "score_threshold":
            values[name] = _CHECKS[name](name, values[name])
    if not 1 <= values["limit"] < 2**32:
        raise InvalidInput(f"limit: must be at least 1 and at most 1000, not {values['limit']}")
    if not 0 <= values["offset"] < 2**32:
        raise InvalidInput(f"offset: must be at least 0 and at most 10000, not {values['offset']}")
    first = _reference("", *(values.pop(name, None) for name in _SOURCES))
    diversity, candidates = values.pop("diversity", None), values.pop("candidates", 0)
    field, group_size = values.pop("group_by", ""), values.pop("group_size", None)
    turns, conditions = values.pop("turns", ()), values.pop("filter", None)
    rerank = values.pop("rerank", None)
    said = {name: values.pop(name, ()) for name in _SAID}
    mmr = None
    if diversity is not None:
        several = _count("candidates", candidates)
        mmr = search_pb2.Mmr(diversity=checks.number("diversity", diversity), candidates=several)
    elif candidates:
        raise InvalidInput("candidates: needs diversity")
    if group_size is not None and not field:
        raise InvalidInput("group_size: needs group_by")
    group = search_pb2.GroupBy(field=checks.text("group_by", field), size=_count("group_size", group_size or 1))
    return search_pb2.ComposeSearchRequest(
        reference=first,
        turns=[_turn(f"turns[{place}]", each) for place, each in enumerate(checks.items("turns", turns))],
        filter=None if conditions is None else filter_to_proto(checks.instance("filter", conditions, Filter)),
        mmr=mmr,
        group_by=group if field else None,
        rerank=None if rerank is None else _rerank(checks.instance("rerank", rerank, Rerank)),
        **_said("", said),
        **values,
    )


def facets_request(
    fields: Sequence[str], filter: Filter | None, limit: int, collection: str
) -> search_pb2.FacetsRequest:
    """The message that counts values."""
    return search_pb2.FacetsRequest(
        collection=checks.text("collection", collection),
        fields=checks.texts("fields", fields),
        filter=None if filter is None else filter_to_proto(checks.instance("filter", filter, Filter)),
        limit=_count("limit", limit),
    )


def _rerank(given: Rerank) -> search_pb2.Rerank:
    numbers = {"weight": given.weight, "deadline": given.deadline_s}
    return search_pb2.Rerank(
        model=checks.text("rerank.model", given.model),
        top=_count("rerank.top", given.top),
        **{name: checks.number(f"rerank.{name}", value) for name, value in numbers.items() if value is not None},
    )


def _turn(field: str, turn: object) -> search_pb2.Turn:
    given = checks.instance(field, turn, Turn)
    return search_pb2.Turn(**_said(f"{field}.", {name: getattr(given, name) for name in _SAID}))


def _said(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a turn and a request have in common."""
    references = checks.items(f"{path}references", given["references"])
    edits = given["edits"]
    several = [edits] if isinstance(edits, str | Edit) else checks.items(f"{path}edits", edits)
    return {
        "references": [_reference_of(f"{path}references[{place}]", each) for place, each in enumerate(references)],
        "edits": [edit_to_proto(f"{path}edits[{place}]", each) for place, each in enumerate(several)],
        "like": checks.texts(f"{path}like", given["like"]),
        "dislike": checks.texts(f"{path}dislike", given["dislike"]),
    }


def _reference_of(field: str, reference: object) -> search_pb2.Reference:
    given = checks.instance(field, reference, Reference)
    message = _reference(f"{field}.", given.image, given.item_id, given.vector)
    if message is None:
        raise InvalidInput(f"{field}: give one of image, item_id and vector")
    weight = checks.number(f"{field}.weight", given.weight)
    if weight != 1.0:
        message.weight = weight
    return message


def _reference(path: str, image: Any, item_id: Any, vector: Any) -> search_pb2.Reference | None:
    if sum(given is not None for given in (image, item_id, vector)) > 1:
        raise InvalidInput(
            f"{path.rstrip('.') + ': ' if path else ''}give one of image, item_id and vector as the reference"
        )
    if image is not None:
        return search_pb2.Reference(image=image_bytes(image, f"{path}image"))
    if item_id is not None:
        return search_pb2.Reference(item_id=checks.text(f"{path}item_id", item_id))
    return None if vector is None else search_pb2.Reference(vector=vector_to_proto(vector, f"{path}vector"))


def _count(field: str, value: object) -> int:
    number = checks.whole(field, value)
    if not 0 <= number < 2**32:
        raise InvalidInput(f"{field}: must be at least 0, not {number}")
    return number
