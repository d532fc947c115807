"""How a conversation becomes a query vector (protos/scot/v1/search.proto has the formulas, docs/adr/0022 the numbers).

Everything is worked out anew for each request, so the same turns give the same vector.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from scot.edit import Edit
from scot.errors import InvalidInput
from services.search.composer.embedding_cache import Embedded
from services.search.composer.messages import ComposeJob, ComposeTurn, Vector

CARRY = 0.5
"""Weight of the end of the turns before in the start of a turn with references of its own."""
LIKE = DISLIKE = 0.5
"""How far a query moves towards the mean of what is liked, and away from the mean of what is disliked."""
_NOTHING = 1e-3
"""A weighted sum of unit vectors that is shorter than this share of its weights has no direction."""
_ZERO = 1e-6
Otherwise = TypeVar("Otherwise", Vector, None)


@dataclass(frozen=True, slots=True)
class Composition:
    """One call of a composer: the query so far ``(D,)``, the edit, and the image that the query still is, if any."""

    start_D: Vector
    image: Embedded | None
    text: Embedded


def query_vector(
    job: ComposeJob, images: Sequence[Embedded], texts: Sequence[Embedded], item: Embedded | None = None
) -> Generator[Composition, Vector, Vector]:
    """Work out a job: yields what to compose, is sent the composer's answer ``(D,)``, returns the query ``(D,)``.

    Args:
        job: the conversation.
        images: the embedded images of all its turns, in order.
        texts: the embedded edits of all its turns, in order.
        item: the embedded picture of the indexed item that it starts from, if it does and the picture is known.

    Raises:
        InvalidInput: the references of a turn cancel out.
    """
    query_D: Vector | None = None
    image: Embedded | None = None  # that the query is, and nothing else: only then does it have hidden states
    next_image, next_text = iter(images), iter(texts)
    for place, turn in enumerate(job.turns):
        shown = [next(next_image) for _ in turn.images]
        start_D = _start(job, place, shown)
        if start_D is not None:
            image = _only_image(job, place, shown, item) if query_D is None else None
            query_D = start_D if query_D is None else unit(start_D + CARRY * query_D, start_D)
        for edit in turn.edits:
            text = next(next_text)
            if query_D is None:  # text-only: the query starts at the first edit
                query_D = text.vector_D
                continue
            end_D = yield Composition(query_D, image, text)
            query_D, image = followed(query_D, end_D, edit), None
        moved_D = moved(query_D, turn)
        image = image if moved_D is query_D else None
        query_D = moved_D
    assert query_D is not None  # the gateway refuses a turn with nothing to start from
    return query_D


def followed(start_D: Vector, end_D: Vector, edit: Edit) -> Vector:
    """The query after an edit whose composition is ``end_D``."""
    if edit.weight == 1.0 and not edit.negative:
        return end_D
    step = -edit.weight if edit.negative else edit.weight
    # (1 - w) q + w c = q + w (c - q): one formula moves towards the edit and, with a negative step, away from it.
    return unit(start_D + step * (end_D - start_D), start_D)


def moved(query_D: Vector | None, turn: ComposeTurn) -> Vector | None:
    """The query after the likes and dislikes of a turn (Rocchio, The SMART retrieval system, 1971)."""
    if query_D is None:
        query_D = turn.like
    if query_D is None or (turn.like is None and turn.dislike is None):
        return query_D
    end_D = query_D
    if turn.like is not None:
        end_D = end_D + LIKE * (turn.like - query_D)
    if turn.dislike is not None:
        end_D = end_D - DISLIKE * (turn.dislike - query_D)
    return unit(end_D, query_D)


def unit(vector_D: Vector, otherwise: Otherwise) -> Vector | Otherwise:
    """The vector at unit length; one that is almost zero has no direction, and becomes ``otherwise``."""
    length = float(np.linalg.norm(vector_D))
    return (vector_D / length).astype(np.float32) if length > _ZERO else otherwise


def _start(job: ComposeJob, place: int, shown: Sequence[Embedded]) -> Vector | None:
    """The weighted sum of a turn's references, at unit length; None without references."""
    turn = job.turns[place]
    if not turn.has_references:
        return None
    if len(shown) == 1 and turn.vector is None:
        return shown[0].vector_D  # the weight of a single reference, which is positive, does not matter
    sum_D = np.zeros_like(shown[0].vector_D) if turn.vector is None else turn.vector
    for image, (_, weight) in zip(shown, turn.images, strict=True):
        sum_D = sum_D + weight * image.vector_D
    weights = turn.vector_weight + sum(abs(weight) for _, weight in turn.images)
    start_D = None if float(np.linalg.norm(sum_D)) < _NOTHING * weights else unit(sum_D / weights, None)
    if start_D is None:
        field = "references" if place == len(job.turns) - 1 else f"turns[{place}].references"
        raise InvalidInput(f"{field}: they cancel each other out, so their weighted sum has no direction")
    return start_D


def _only_image(job: ComposeJob, place: int, shown: Sequence[Embedded], item: Embedded | None) -> Embedded | None:
    """The image of a turn that starts from one image."""
    if job.turns[place].vector is not None:
        return item if place == 0 and job.item is not None else None
    return shown[0] if len(shown) == 1 else None


def split(each: Mapping[int, int], items: Sequence[Embedded]) -> dict[int, Sequence[Embedded]]:
    """The items of each job, by how many it has; they come job after job."""
    found, at = {}, 0
    for place, count in each.items():
        found[place] = items[at : at + count]
        at += count
    return found
