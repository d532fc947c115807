"""A batch of queries, each with the composer that the rollout gives it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.loaded_composers import LoadedComposers
from services.search.composer.messages import Composed, ComposeJob, Vector

logger = logging.getLogger("ray.serve")


def compose_rolled_out(
    encoder: CachedEncoder, composers: LoadedComposers, jobs: Sequence[ComposeJob]
) -> list[Composed | Exception]:
    """:func:`compose_batch`, with the rollout's composer and shadow for jobs that name no composer.

    Shadows are composed in the same call: they share the towers' work with their queries, and may fail alone.
    """
    rollout = composers.rollout  # read once: it may change meanwhile
    answering = [job if job.composer else replace(job, composer=rollout.answering(job.caller)) for job in jobs]
    shadowed = [
        place
        for place, job in enumerate(jobs)
        if rollout.shadow and not job.composer and job.needs_composer and answering[place].composer != rollout.shadow
    ]
    requested = [place for place in shadowed if jobs[place].with_shadow]
    shadows = [replace(jobs[place], composer=rollout.shadow) for place in requested]
    answers = compose_batch(encoder, composers.get, [*answering, *shadows])
    vectors: dict[int, Vector] = {}
    for place, shadow in zip(requested, answers[len(jobs) :], strict=True):
        if isinstance(shadow, Composed):
            vectors[place] = shadow.vector
        else:
            logger.error("the shadow %s fails", rollout.shadow, exc_info=shadow)
    for place in shadowed:
        answer = answers[place]
        if isinstance(answer, Composed):
            answers[place] = replace(answer, shadow=rollout.shadow, shadow_vector=vectors.get(place))
    return answers[: len(jobs)]
