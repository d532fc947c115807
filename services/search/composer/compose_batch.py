"""From references and edits to query vectors: both towers and the composers, for a batch of queries at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from scot.client import Edit
from scot.composers import Composer
from scot.composers.base import States, padded
from services.search.composer.embedding_cache import CachedEncoder, Embedded
from services.search.composer.messages import Composed, ComposeJob, Vector


def compose_batch(
    encoder: CachedEncoder, composer_of: Callable[[str], Composer], jobs: Sequence[ComposeJob]
) -> list[Composed | Exception]:
    """Answer every job, or return its exception; a job or a composer that fails does not affect the others.

    All images go through the image tower together and all edits through the text tower. Then the edits are applied in
    rounds: in each round, a composer is called once for all of its queries.
    """
    failed: dict[int, Exception] = {}
    composers: dict[int, Composer | None] = {}
    for place, job in enumerate(jobs):
        try:
            composers[place] = composer_of(job.composer) if job.composer or job.needs_composer else None
        except Exception as error:
            failed[place] = error
    live = list(composers)
    states = any(composer is not None and composer.reads_states for composer in composers.values())
    queries, images = _starts(encoder, jobs, live, states)
    edits = {place: jobs[place].edits for place in live}
    embedded = encoder.texts([edit.text for place in live for edit in edits[place]], states=states)
    offsets = dict(zip(live, np.cumsum([0] + [len(edits[place]) for place in live]).tolist(), strict=False))
    for turn in range(max((len(each) for each in edits.values()), default=0)):
        groups: dict[int, list[int]] = defaultdict(list)
        for place in live:
            if turn < len(edits[place]) and place not in failed:
                if place in queries:
                    groups[id(composers[place])].append(place)
                else:  # text-only: the query starts at the first edit
                    queries[place] = embedded[offsets[place] + turn].vector_D
        for places in groups.values():
            composer = composers[places[0]]
            assert composer is not None
            texts = [embedded[offsets[place] + turn] for place in places]
            start_BD = np.stack([queries[place] for place in places])
            # Only the start of a query can be an image; after an edit, the query is a vector alone.
            references = [images.get(place) if turn == 0 else None for place in places]
            try:
                end_BD = _composed(composer, start_BD, references, texts)
            except Exception as error:
                failed |= dict.fromkeys(places, error)
                continue
            for row, place in enumerate(places):
                queries[place] = _applied(start_BD[row], end_BD[row], edits[place][turn])
    truncated = {
        place: any(each.truncated for each in embedded[offsets[place] : offsets[place] + len(edits[place])])
        for place in live
    }
    return [
        failed[place]
        if place in failed
        else Composed(queries[place], _answered_by(job, composers[place]), truncated[place])
        for place, job in enumerate(jobs)
    ]


def _composed(
    composer: Composer,
    start_BD: npt.NDArray[np.float32],
    references: Sequence[Embedded | None],
    texts: Sequence[Embedded],
) -> npt.NDArray[np.float32]:
    states: tuple[States, ...] = ()
    if composer.reads_states:
        patches = padded([None if each is None else each.states_LW for each in references])
        states = (patches, padded([each.states_LW for each in texts]))
    text_BD = torch.from_numpy(np.stack([each.vector_D for each in texts]))
    end_BD: npt.NDArray[np.float32] = composer.compose(torch.from_numpy(start_BD), text_BD, *states).cpu().numpy()
    return end_BD


def _answered_by(job: ComposeJob, composer: Composer | None) -> str:
    if not job.edits:
        return "image_only"
    if job.pixels is None and job.vector is None and len(job.edits) == 1:
        return "text_only"
    assert composer is not None
    return composer.name


def _starts(
    encoder: CachedEncoder, jobs: Sequence[ComposeJob], live: Sequence[int], states: bool
) -> tuple[dict[int, Vector], dict[int, Embedded]]:
    """The start vectors of the queries, and the embedded images of those that start with an image."""
    pixels = {place: each for place in live if (each := jobs[place].pixels) is not None}
    images = dict(zip(pixels, encoder.pixels(list(pixels.values()), states=states), strict=True))
    starts = {place: each.vector_D for place, each in images.items()}
    starts |= {place: vector for place in live if (vector := jobs[place].vector) is not None}
    return starts, images


def _applied(start_D: Vector, end_D: Vector, edit: Edit) -> Vector:
    if edit.weight == 1.0 and not edit.negative:
        return end_D
    step = -edit.weight if edit.negative else edit.weight
    # (1 - w) q + w c = q + w (c - q): one formula moves towards the edit and, with a negative step, away from it.
    moved = start_D + step * (end_D - start_D)
    length = float(np.linalg.norm(moved))
    result: Vector = (moved / length).astype(np.float32) if length > 1e-6 else start_D
    return result
