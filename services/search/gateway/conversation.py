"""The turns of a query as the towers' replicas take them: images decoded, items looked up, vectors added up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from scot.errors import InvalidInput, NotFound
from services.search.composer.conversation import unit
from services.search.composer.messages import ComposeTurn, IndexedItem, Vector
from services.search.gateway.context import Context
from services.search.rpc.limits import HANDLE_BYTES
from services.search.rpc.query import SearchQuery
from services.search.rpc.turns import TurnInput

if TYPE_CHECKING:
    from scot.encoders.resizing import Pixels


async def compose_turns(
    context: Context,
    query: SearchQuery,
    vectors: Mapping[str, Vector],
    decoded: Callable[[Image.Image], None] | None = None,
) -> tuple[ComposeTurn, ...]:
    """Prepare every turn of a query, whose items have these vectors; all images are decoded at once.

    ``decoded`` is called with each decoded image, in the thread that has decoded it.

    Raises:
        ImageRefused: with the name of the field.
        InvalidInput: the images are together too large for one call.
    """
    images = {each.field: each.image for turn in query.turns for each in turn.references if each.image is not None}
    decoding = (context.pixels(f"{field}.image", image, decoded) for field, image in images.items())
    resized = await asyncio.gather(*decoding)
    sizes = list(accumulate(each.nbytes for each in resized))
    if len(resized) > 1 and sizes[-1] > HANDLE_BYTES:
        most = max(1, sum(size <= HANDLE_BYTES for size in sizes))
        raise InvalidInput(
            f"{list(images)[most]}.image: {len(resized)} images are more than {most}, the most for this encoder"
        )
    pixels = dict(zip(images, resized, strict=True))
    return tuple(_turn(turn, vectors, pixels) for turn in query.turns)


def start_item(query: SearchQuery) -> IndexedItem | None:
    """The item that a query starts from, if it starts from one indexed item and nothing else."""
    references = query.turns[0].references
    if len(references) != 1 or references[0].item_id is None:
        return None
    return IndexedItem(query.collection, references[0].item_id)


async def item_vectors(context: Context, query: SearchQuery) -> Mapping[str, Vector]:
    """The unit vectors ``(D,)`` of the items that a query names, by id; they are looked up in one call.

    Raises:
        NotFound: with the name of the field.
    """
    named = [each for turn in query.turns for each in turn.items()]
    if not named:
        return {}
    with context.metrics.store("get"):
        found = await context.store.get(query.collection, [item_id for _, item_id in named], with_vectors=True)
    for field, item_id in named:
        if item_id not in found:
            raise NotFound(f"{field}: there is no item {item_id!r} in collection {query.collection!r}")
    return {item_id: item.vector for item_id, item in found.items() if item.vector is not None}


def _turn(turn: TurnInput, vectors: Mapping[str, Vector], pixels: Mapping[str, Pixels]) -> ComposeTurn:
    known: list[tuple[Vector, float]] = []
    for each in turn.references:
        vector = each.vector if each.item_id is None else vectors[each.item_id]
        if vector is not None:
            known.append((vector, each.weight))
    return ComposeTurn(
        images=tuple((pixels[each.field], each.weight) for each in turn.references if each.image is not None),
        vector=np.sum([weight * vector for vector, weight in known], axis=0, dtype=np.float32) if known else None,
        vector_weight=sum(abs(weight) for _, weight in known),
        edits=turn.edits,
        like=_mean(turn.like, vectors),
        dislike=_mean(turn.dislike, vectors),
    )


def _mean(item_ids: Sequence[str], vectors: Mapping[str, Vector]) -> Vector | None:
    """The mean of the items' vectors at unit length ``(D,)``; None without items, or if they cancel each other."""
    if not item_ids:
        return None
    return unit(np.mean([vectors[each] for each in item_ids], axis=0), None)
