"""A ComposeSearch request, checked field by field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scot.client import Edit
from scot.errors import InvalidInput
from scot.index.filters import Filter
from scot.v1 import search_pb2
from services.search.rpc import limits
from services.search.rpc.validation import (
    checked_composer,
    checked_filter,
    checked_id,
    checked_image,
    checked_name,
    checked_text,
    checked_vector,
)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A checked request. At most one of ``image``, ``item_id`` and ``vector`` ``(D,)`` is set."""

    image: bytes | None
    item_id: str | None
    vector: npt.NDArray[np.float32] | None
    edits: tuple[Edit, ...]
    composer: str
    collection: str
    filter: Filter | None
    limit: int
    offset: int
    score_threshold: float | None
    include_reference: bool
    with_vectors: bool
    session: str

    @property
    def excluded(self) -> tuple[str, ...]:
        """The ids to exclude from the results: an indexed reference."""
        return (self.item_id,) if self.item_id and not self.include_reference else ()


def parse_query(request: search_pb2.ComposeSearchRequest, *, dim: int, default_collection: str) -> SearchQuery:
    """Check every field of the request for an encoder of dimension ``dim``.

    Raises:
        InvalidInput: a field is wrong; the message begins with its name.
    """
    kind = request.reference.WhichOneof("source") if request.HasField("reference") else None
    if request.HasField("reference") and kind is None:
        raise InvalidInput("reference: set one of image, item_id and vector, or leave the reference out")
    edits = parse_edits(list(request.edits))
    if kind is None and not edits:
        raise InvalidInput("edits: give a reference, an edit, or both")
    if kind is None and edits[0].negative:
        raise InvalidInput("edits[0].negative: without a reference there is nothing to move away from")
    if request.limit > limits.MAX_HITS:
        raise InvalidInput(f"limit: {request.limit} is more than {limits.MAX_HITS}")
    if request.offset > limits.MAX_OFFSET:
        raise InvalidInput(f"offset: {request.offset} is more than {limits.MAX_OFFSET}")
    threshold = request.score_threshold if request.HasField("score_threshold") else None
    if threshold is not None and not math.isfinite(threshold):
        raise InvalidInput("score_threshold: must be a finite number")
    if len(request.session) > limits.MAX_NAME_CHARS:
        raise InvalidInput(f"session: {len(request.session)} characters are more than {limits.MAX_NAME_CHARS}")
    reference = request.reference
    return SearchQuery(
        image=checked_image("reference.image", reference.image) if kind == "image" else None,
        item_id=checked_id("reference.item_id", reference.item_id) if kind == "item_id" else None,
        vector=checked_vector("reference.vector", reference.vector, dim) if kind == "vector" else None,
        edits=edits,
        composer=checked_composer("composer", request.composer),
        collection=checked_name("collection", request.collection, default=default_collection),
        filter=checked_filter("filter", request.filter) if request.HasField("filter") else None,
        limit=request.limit or limits.DEFAULT_HITS,
        offset=request.offset,
        score_threshold=threshold,
        include_reference=request.include_reference,
        with_vectors=request.with_vectors,
        session=request.session,
    )


def parse_edits(messages: list[search_pb2.Edit]) -> tuple[Edit, ...]:
    """The edits of a request; neighboring plain edits (weight 1, not negative) become one, joined with ``" and "``.

    Raises:
        InvalidInput: there are too many, or one is empty, too long or has a weight outside [0, 1].
    """
    if len(messages) > limits.MAX_EDITS:
        raise InvalidInput(f"edits: {len(messages)} are more than {limits.MAX_EDITS}")
    edits: list[Edit] = []
    for place, message in enumerate(messages):
        text = checked_text(f"edits[{place}].text", message.text)
        weight = message.weight if message.HasField("weight") else 1.0
        if not 0.0 <= weight <= 1.0:
            raise InvalidInput(f"edits[{place}].weight: must be between 0 and 1")
        edit = Edit(text, weight, message.negative)
        if edits and all(each.weight == 1.0 and not each.negative for each in (edits[-1], edit)):
            edits[-1] = Edit(f"{edits[-1].text} and {text}")
        else:
            edits.append(edit)
    return tuple(edits)
