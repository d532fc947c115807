"""The Composer deployment: image and text in, query vector out, in one call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ray import serve

from scot.composers import Registry
from scot.errors import ScotError
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.compose_batch import Composed, Job, Vector, compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.last_rollout import load_last_rollout, save_last_rollout
from services.search.composer.loaded_composers import ComposerInfo, LoadedComposers
from services.search.composer.rollout import Rollout
from services.search.metrics import ComposerMetrics
from services.search.settings import SearchSettings

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Which vectors this service speaks."""

    encoder_id: str
    dim: int


def compose_rolled_out(
    embeddings: CachedEncoder, shelf: LoadedComposers, jobs: Sequence[Job]
) -> list[Composed | Exception]:
    """:func:`compose_batch`, where jobs that name no composer are answered, and shadowed, as the rollout says.

    A shadow goes through the same call: it shares the towers' work with its query, and may fail alone.
    """
    rollout = shelf.rollout  # once, whatever is rolled out meanwhile
    chosen = [job if job.composer else replace(job, composer=rollout.answering(job.caller)) for job in jobs]
    shadowed = [
        place
        for place, job in enumerate(jobs)
        if rollout.shadow and not job.composer and job.composes and chosen[place].composer != rollout.shadow
    ]
    seen = [place for place in shadowed if jobs[place].shadowed]
    shadows = [replace(jobs[place], composer=rollout.shadow) for place in seen]
    answers = compose_batch(embeddings, shelf.get, [*chosen, *shadows])
    vectors: dict[int, Vector] = {}
    for place, shadow in zip(seen, answers[len(jobs) :], strict=True):
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
    """Hosts both towers and the composers; queries that arrive together are composed together."""

    def __init__(self, settings: SearchSettings) -> None:
        # Imported here, since whoever only deploys the application should not wait for open_clip.
        from scot.encoders import load_encoder

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._encoder = load_encoder(settings.encoder, device=settings.device, dtype=settings.dtype)
        registry = Registry(settings.composers) if settings.composers else None
        self._shelf = LoadedComposers(registry, self._encoder.id, self._encoder.dim)
        self._serving = False
        self._metrics = ComposerMetrics()
        self._embeddings = CachedEncoder(self._encoder, settings.cache_mb * 2**20, self._metrics.looked_up)
        self._batches = DynamicBatcher(self._compose, most=settings.batch)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Change who answers without a restart, as :class:`Rollout` says: ``{"default": "v1", "split": {"v2": 0.1}}``.

        All of it is taken, once every composer in it is loaded, or nothing: a rollout that cannot be raises when the
        service starts; later, the one before stays, for replicas that start under it too.
        """
        # Beside the event loop and the towers, where queries go on while composers are loaded.
        await asyncio.get_running_loop().run_in_executor(None, self._roll_out, user_config)
        self._serving = True

    def _roll_out(self, user_config: dict[str, Any]) -> None:
        try:
            self._shelf.roll_out(Rollout.of(user_config))
        except ScotError as error:
            if not self._serving:
                before = load_last_rollout()
                if before is None:
                    raise
                self._shelf.roll_out(Rollout.of(before))
            logger.error("the rollout is refused and %s stays: %s", self._shelf.rollout, error)
        else:
            save_last_rollout(user_config)

    async def compose(self, job: Job) -> Composed:
        """The query vector of one job. Raises NotFound, EncoderMismatch, Unavailable."""
        answer = await self._batches.answer((job, time.perf_counter()))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _compose(self, arrivals: list[tuple[Job, float]]) -> list[Composed | Exception]:
        begun = time.perf_counter()
        self._metrics.batch(len(arrivals))
        jobs = [job for job, _ in arrivals]
        answers = compose_rolled_out(self._embeddings, self._shelf, jobs)
        self._metrics.kept(self._embeddings.size)
        took = time.perf_counter() - begun
        return [
            replace(answer, queue_s=begun - arrived, compose_s=took, batch=len(jobs))
            if isinstance(answer, Composed)
            else answer
            for answer, (_, arrived) in zip(answers, arrivals, strict=True)
        ]

    async def encoder_info(self) -> EncoderInfo:
        """The encoder's id and dimension."""
        return EncoderInfo(self._encoder.id, self._encoder.dim)

    async def composer_infos(self) -> list[ComposerInfo]:
        """Every composer that can be asked for."""
        return await asyncio.get_running_loop().run_in_executor(None, self._shelf.cards)


ComposerDeployment = serve.deployment(name="Composer", max_ongoing_requests=128, health_check_period_s=10)(
    ComposerReplica
)
