"""The Composer deployment: image and text in, query vector out, in one call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray import serve

from scot.client import ComposerInfo
from scot.composers import Registry
from scot.errors import ScotError
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.compose_batch import Composed, ComposeJob, Vector, compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.last_rollout import load_last_rollout, save_last_rollout
from services.search.composer.loaded_composers import LoadedComposers
from services.search.metrics import ComposerMetrics
from services.search.rollout import Rollout
from services.search.settings import SearchSettings

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """The encoder of a service: its vectors are ``(dim,)``, and fit those of the same id alone."""

    encoder_id: str
    dim: int


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


class ComposerReplica:
    """Has both towers and the composers; queries that arrive together are composed together."""

    def __init__(self, settings: SearchSettings) -> None:
        encoder = settings.service.load_encoder()
        self._encoder_info = EncoderInfo(encoder.id, encoder.dim)
        registry = Registry(settings.composers) if settings.composers else None
        self._composers = LoadedComposers(registry, encoder.id, encoder.dim)
        self._serving = False
        self._user_config: dict[str, Any] = {}
        self._metrics = ComposerMetrics()
        self._encoder = CachedEncoder(encoder, settings.service.cache_mb * 2**20, self._metrics.looked_up)
        self._batcher = DynamicBatcher(self._compose, most=settings.batch)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply a :class:`Rollout` without a restart: ``{"default": "v1", "split": {"v2": 0.1}}``.

        It is applied completely, once every composer in it is loaded, or not at all. If that fails at the start of the
        service, this raises; later, the previous rollout stays in force, also for replicas that start meanwhile.
        """
        # Not on the event loop and not on the towers' thread, where queries continue while composers are loaded.
        await asyncio.get_running_loop().run_in_executor(None, self._roll_out, user_config)
        self._user_config, self._serving = user_config, True

    async def reload(self) -> str:
        """Read the registry again and apply the same rollout; returns the composer that answers now."""
        await asyncio.get_running_loop().run_in_executor(None, self._roll_out, self._user_config)
        return self._composers.rollout.default

    def _roll_out(self, user_config: dict[str, Any]) -> None:
        try:
            self._composers.roll_out(Rollout.of(user_config))
        except ScotError as error:
            if not self._serving:
                last = load_last_rollout()
                if last is None:
                    raise
                self._composers.roll_out(Rollout.of(last))
            logger.error("the rollout is refused and %s stays: %s", self._composers.rollout, error)
        else:
            save_last_rollout(user_config)

    async def compose(self, job: ComposeJob) -> Composed:
        """The query vector of one job. Raises NotFound, EncoderMismatch, Unavailable."""
        answer = await self._batcher.answer((job, time.perf_counter()))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _compose(self, arrivals: list[tuple[ComposeJob, float]]) -> list[Composed | Exception]:
        begun = time.perf_counter()
        self._metrics.batch(len(arrivals))
        jobs = [job for job, _ in arrivals]
        answers = compose_rolled_out(self._encoder, self._composers, jobs)
        self._metrics.cache_size(self._encoder.size)
        took = time.perf_counter() - begun
        return [
            replace(answer, queue_s=begun - arrived, compose_s=took, batch=len(jobs))
            if isinstance(answer, Composed)
            else answer
            for answer, (_, arrived) in zip(answers, arrivals, strict=True)
        ]

    async def encoder_info(self) -> EncoderInfo:
        """The encoder's id and dimension."""
        return self._encoder_info

    async def composer_infos(self) -> list[ComposerInfo]:
        """Every composer that a request can name."""
        return await asyncio.get_running_loop().run_in_executor(None, self._composers.infos)


ComposerDeployment = serve.deployment(name="Composer", max_ongoing_requests=128, health_check_period_s=10)(
    ComposerReplica
)
