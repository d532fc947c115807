"""From conversations to query vectors: both towers and the composers, for a batch of queries at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from scot.baselines import NATIVE
from scot.composers import Composer, NativeComposer
from scot.composers.base import States, padded
from scot.edit import joined
from scot.errors import InvalidInput
from services.search.composer.conversation import Composition, query_vector, split, unit
from services.search.composer.embedding_cache import CachedEncoder, Embedded, Pair
from services.search.composer.messages import Composed, ComposeJob, Vector

if TYPE_CHECKING:
    from scot.encoders.resizing import Pixels

SAME_PICTURE = 0.8
"""The least cosine of an item's vector and its thumbnail's, which may be older: only then does it show the item."""


def compose_batch(
    encoder: CachedEncoder, composer_of: Callable[[str], Composer], jobs: Sequence[ComposeJob]
) -> list[Composed | Exception]:
    """Answer every job, or return its exception; a job or a composer that fails does not affect the others.

    All images of all turns go through the image tower together and all edits through the text tower. Then the jobs are
    worked out in rounds: in each round, a composer is called once for all of its queries.
    """
    answers: dict[int, Vector | Composed | Exception] = {}
    composers: dict[int, Composer | None] = {}
    for place, job in enumerate(jobs):
        try:
            composers[place] = composer_of(job.composer) if job.composer or job.needs_composer else None
        except Exception as error:
            answers[place] = error
    answers |= _native(encoder, {place: jobs[place] for place in composers}, composers)
    live = {place: jobs[place] for place in composers if place not in answers}
    states = any(composer is not None and composer.reads_states for composer in composers.values())
    pixels = [image for job in live.values() for turn in job.turns for image, _ in turn.images]
    phrases = [edit.text for job in live.values() for turn in job.turns for edit in turn.edits]
    pictures = _unseen_pictures(live) if states else {}
    keys = {id(picture): _item_key(encoder, live[place]) for place, picture in pictures.items()}
    shown = encoder.pixels([*pixels, *pictures.values()], states=states, keys=keys)
    said = encoder.texts(phrases, states=states)
    images = split({place: sum(len(turn.images) for turn in job.turns) for place, job in live.items()}, shown)
    texts = split({place: sum(len(turn.edits) for turn in job.turns) for place, job in live.items()}, said)
    items = _items(live, dict(zip(pictures, shown[len(pixels) :], strict=True)))
    work = {place: query_vector(job, images[place], texts[place], items.get(place)) for place, job in live.items()}
    ready: dict[int, Vector | None] = dict.fromkeys(live)
    while ready:
        groups: dict[int, list[tuple[int, Composition]]] = defaultdict(list)
        for place, end_D in ready.items():
            following = _advanced(work[place], end_D)
            if isinstance(following, Composition):
                groups[id(composers[place])].append((place, following))
            else:
                answers[place] = following
        ready = {}
        for group in groups.values():
            places = [place for place, _ in group]
            composer = composers[places[0]]
            assert composer is not None
            try:
                ready |= zip(places, _composed(composer, [each for _, each in group]), strict=True)
            except Exception as error:
                answers |= dict.fromkeys(places, error)
    truncated = {place: any(each.truncated for each in texts[place]) for place in live}
    return [
        answer
        if isinstance(answer := answers[place], Exception | Composed)
        else Composed(answer, _answered_by(job, composers[place]), truncated[place])
        for place, job in enumerate(jobs)
    ]


def _native(
    encoder: CachedEncoder, jobs: Mapping[int, ComposeJob], composers: Mapping[int, Composer | None]
) -> dict[int, Composed | Exception]:
    """The answers of the native composer, to those queries that are nothing but pictures and edits.

    The others are composed by their vectors, by the sum, whose name they tell.
    """
    asking = {place: job for place, job in jobs.items() if isinstance(composers[place], NativeComposer)}
    if not asking:
        return {}
    pictures = _unseen_pictures(asking)
    keys = {id(picture): _item_key(encoder, asking[place]) for place, picture in pictures.items()}
    shown = _items(asking, dict(zip(pictures, encoder.pixels([*pictures.values()], keys=keys), strict=True)))
    pairs: dict[int, Pair] = {}
    for place, job in asking.items():
        together = job.together
        if together is not None and (job.item is None or place in shown):
            images, edits = together
            pairs[place] = images, joined(edits)
    try:
        embedded = encoder.pairs([*pairs.values()])
    except InvalidInput as error:
        if len(pairs) > 1:  # which of them it is; the others are answered
            alone = [_native(encoder, {place: jobs[place]}, composers) for place in pairs]
            return {place: answer for each in alone for place, answer in each.items()}
        return dict.fromkeys(pairs, error)
    return {place: Composed(each.vector_D, NATIVE, each.truncated) for place, each in zip(pairs, embedded, strict=True)}


def _unseen_pictures(jobs: Mapping[int, ComposeJob]) -> dict[int, Pixels]:
    """The pictures of items that are not embedded yet."""
    return {place: job.picture for place, job in jobs.items() if isinstance(job.picture, np.ndarray)}


def _item_key(encoder: CachedEncoder, job: ComposeJob) -> bytes:
    assert job.item is not None
    return encoder.item_key(job.item, job.item_vector)


def _items(jobs: Mapping[int, ComposeJob], encoded: Mapping[int, Embedded]) -> dict[int, Embedded]:
    """The embedded pictures of items, without those of another image than the one whose vector is stored."""
    found = {}
    for place, job in jobs.items():
        item = encoded.get(place, job.picture)
        if isinstance(item, Embedded):
            stored_D = unit(job.item_vector, None)
            # i and normalize(i + w c) have at least the cosine 1 / sqrt(1 + w²), if i and c are not opposed.
            least = SAME_PICTURE / math.hypot(1.0, job.caption_weight)
            if stored_D is not None and float(item.vector_D @ stored_D) >= least:
                found[place] = item
    return found


def _advanced(work: Generator[Composition, Vector, Vector], end_D: Vector | None) -> Composition | Vector | Exception:
    """What a job needs next, or its query vector, or why it has none."""
    try:
        return next(work) if end_D is None else work.send(end_D)
    except StopIteration as done:
        query_D: Vector = done.value
        return query_D
    except Exception as error:
        return error


def _composed(composer: Composer, batch: Sequence[Composition]) -> npt.NDArray[np.float32]:
    states: tuple[States, ...] = ()
    if composer.reads_states:
        patches = padded([None if each.image is None else each.image.states_LW for each in batch])
        states = (patches, padded([each.text.states_LW for each in batch]))
    start_BD = torch.from_numpy(np.stack([each.start_D for each in batch]))
    text_BD = torch.from_numpy(np.stack([each.text.vector_D for each in batch]))
    end_BD: npt.NDArray[np.float32] = composer.compose(start_BD, text_BD, *states).cpu().numpy()
    return end_BD


def _answered_by(job: ComposeJob, composer: Composer | None) -> str:
    if job.needs_composer:
        assert composer is not None
        return "sum" if isinstance(composer, NativeComposer) else composer.name
    return "text_only" if any(turn.edits for turn in job.turns) else "image_only"
