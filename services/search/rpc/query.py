"""A ComposeSearch request, checked field by field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scot.errors import InvalidInput
from scot.index.engine import Mmr
from scot.index.filters import Filter
from scot.v1 import search_pb2
from services.search.rpc import limits
from services.search.rpc.turns import TurnInput, parse_turns
from services.search.rpc.validation import checked_composer, checked_field, checked_filter


@dataclass(frozen=True, slots=True)
class RerankInput:
    """A checked wish for a second look; None and 0 are the service's own settings."""

    model: str
    top: int
    weight: float | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A checked request. The last of the turns is the request's own, those before are its ``turns``."""

    turns: tuple[TurnInput, ...]
    composer: str
    collection: str
    filter: Filter | None
    limit: int
    offset: int
    score_threshold: float | None
    include_reference: bool
    with_vectors: bool
    session: str
    mmr: Mmr | None
    group_by: str
    """The field to group by; empty: no groups."""
    group_size: int
    rerank: RerankInput | None

    @property
    def excluded(self) -> tuple[str, ...]:
        """The ids to exclude from the results: what was disliked, and indexed references unless they are included."""
        out = dict.fromkeys(each for turn in self.turns for each in turn.dislike)
        if not self.include_reference:
            out |= dict.fromkeys(each.item_id for turn in self.turns for each in turn.references if each.item_id)
        return tuple(out)


def parse_query(request: search_pb2.ComposeSearchRequest, *, dim: int, collection: str) -> SearchQuery:
    """Check every field of the request for an encoder of dimension ``dim``; its ``collection`` is checked already.

    Raises:
        InvalidInput: a field is wrong; the message begins with its name.
    """
    turns = parse_turns(request, dim)
    if request.limit > limits.MAX_HITS:
        raise InvalidInput(f"limit: {request.limit} is more than {limits.MAX_HITS}")
    if request.offset > limits.MAX_OFFSET:
        raise InvalidInput(f"offset: {request.offset} is more than {limits.MAX_OFFSET}")
    threshold = request.score_threshold if request.HasField("score_threshold") else None
    if threshold is not None and not math.isfinite(threshold):
        raise InvalidInput("score_threshold: must be a finite number")
    if len(request.session) > limits.MAX_NAME_CHARS:
        raise InvalidInput(f"session: {len(request.session)} characters are more than {limits.MAX_NAME_CHARS}")
    grouped = request.HasField("group_by")
    if grouped:
        checked_field("group_by.field", request.group_by.field)
        if request.group_by.size > limits.MAX_GROUP:
            raise InvalidInput(f"group_by.size: {request.group_by.size} is more than {limits.MAX_GROUP}")
        if (request.limit or limits.DEFAULT_HITS) * (request.group_by.size or 1) > limits.MAX_HITS:
            raise InvalidInput(f"group_by.size: limit times size is more than {limits.MAX_HITS}")
    return SearchQuery(
        turns=turns,
        composer=checked_composer("composer", request.composer),
        collection=collection,
        filter=checked_filter("filter", request.filter) if request.HasField("filter") else None,
        limit=request.limit or limits.DEFAULT_HITS,
        offset=request.offset,
        score_threshold=threshold,
        include_reference=request.include_reference,
        with_vectors=request.with_vectors,
        session=request.session,
        mmr=_parse_mmr(request) if request.HasField("mmr") else None,
        group_by=request.group_by.field if grouped else "",
        group_size=request.group_by.size or 1,
        rerank=_parse_rerank(request, turns) if request.HasField("rerank") else None,
    )


def _parse_rerank(request: search_pb2.ComposeSearchRequest, turns: Sequence[TurnInput]) -> RerankInput:
    message = request.rerank
    for name in ("mmr", "group_by"):
        if request.HasField(name):
            raise InvalidInput(f"rerank: cannot be used with {name}, which has an order of its own")
    turn = turns[-1]
    if len(turns) > 1 or len(turn.references) > 1 or turn.like or turn.dislike:
        raise InvalidInput("rerank: needs a query of one turn, at most one reference, and no likes and dislikes")
    if not turn.edits:
        raise InvalidInput("rerank: needs an edit, which says what to judge by")
    if message.top > limits.MAX_RERANKED:
        raise InvalidInput(f"rerank.top: {message.top} are more than {limits.MAX_RERANKED}")
    weight = message.weight if message.HasField("weight") else None
    if weight is not None and not 0.0 <= weight <= limits.MAX_RERANK_WEIGHT:
        raise InvalidInput(f"rerank.weight: must be between 0 and {limits.MAX_RERANK_WEIGHT}")
    deadline_s = message.deadline if message.HasField("deadline") else None
    if deadline_s is not None and not 0.0 < deadline_s <= limits.MAX_RERANK_S:
        raise InvalidInput(f"rerank.deadline: must be above 0 and at most {limits.MAX_RERANK_S} seconds")
    if len(message.model) > limits.MAX_NAME_CHARS:
        raise InvalidInput(f"rerank.model: {len(message.model)} characters are more than {limits.MAX_NAME_CHARS}")
    return RerankInput(message.model, message.top, weight, deadline_s)


def _parse_mmr(request: search_pb2.ComposeSearchRequest) -> Mmr:
    if request.HasField("score_threshold"):
        raise InvalidInput("mmr: cannot be used with score_threshold, because it does not choose by similarity alone")
    if request.HasField("group_by"):
        raise InvalidInput("mmr: cannot be used with group_by, because the groups already differ")
    diversity = request.mmr.diversity if request.mmr.HasField("diversity") else 0.5
    if not 0.0 <= diversity <= 1.0:
        raise InvalidInput("mmr.diversity: must be between 0 and 1")
    last = request.offset + (request.limit or limits.DEFAULT_HITS)
    if last > limits.MAX_CANDIDATES:
        raise InvalidInput(f"mmr: offset and limit together are more than {limits.MAX_CANDIDATES}")
    candidates = request.mmr.candidates or min(max(2 * last, 100), limits.MAX_CANDIDATES)
    if not last <= candidates <= limits.MAX_CANDIDATES:
        raise InvalidInput(
            f"mmr.candidates: must be at least offset and limit together and at most {limits.MAX_CANDIDATES}"
        )
    return Mmr(diversity, candidates)
