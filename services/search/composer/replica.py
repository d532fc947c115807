"""The Composer deployment: image and text in, query vector out, in one call."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ray import serve

from scot.client import ComposerInfo
from scot.errors import ScotError
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.last_rollout import load_last_rollout, save_last_rollout
from services.search.composer.messages import Composed, ComposeJob, EncoderInfo
from services.search.metrics import ComposerMetrics
from services.search.rollout import Rollout
from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from services.search.composer.item_pictures import ItemPictures

logger = logging.getLogger("ray.serve")


class ComposerReplica:
    """Has both towers and the composers; queries that arrive together are composed together."""

    def __init__(self, settings: SearchSettings) -> None:
        # Imported here: a process that only deploys the application should not wait for PyTorch.
        from scot.composers import Registry
        from scot.index.thumbnails import Thumbnails
        from services.search.composer.followed_registry import FollowedRegistry
        from services.search.composer.item_pictures import ItemPictures
        from services.search.composer.loaded_composers import LoadedComposers
        from services.search.composer.rolled_out import compose_rolled_out

        encoder = settings.service.load_encoder()
        self._encoder_info = EncoderInfo(encoder.id, encoder.dim, encoder.resizing)
        registry = Registry(settings.composers) if settings.composers else None
        self._composers = LoadedComposers(registry, encoder)
        self._followed = FollowedRegistry(registry, settings.follow_s, self.reload) if registry else None
        self._serving = False
        self._user_config: dict[str, Any] = {}
        self._metrics = ComposerMetrics()
        self._encoder = CachedEncoder(encoder, settings.service.cache_mb * 2**20, self._metrics.looked_up)
        self._compose_rolled_out = partial(compose_rolled_out, self._encoder, self._composers)
        self._batcher = DynamicBatcher(self._compose, most=settings.batch)
        self._pictures: ItemPictures | None = None
        if settings.thumbnails and settings.service.item_patches:
            thumbnails = Thumbnails(settings.thumbnails)
            reads = self._composers.reads_picture
            self._pictures = ItemPictures(thumbnails, self._encoder, encoder.resizing, reads)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply a :class:`Rollout` without a restart: ``{"default": "v1", "split": {"v2": 0.1}}``.

        It is applied completely, once every composer in it is loaded, or not at all. If that fails at the start of the
        service, this raises; later, the previous rollout stays in force, also for replicas that start meanwhile.
        """
        # Not on the event loop and not on the towers' thread, where queries continue while composers are loaded.
        await asyncio.get_running_loop().run_in_executor(None, self._roll_out, user_config)
        self._user_config, self._serving = user_config, True
        if self._followed:
            self._followed.start()

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
        arrived, missing = time.perf_counter(), False
        if job.item is not None and self._pictures is not None:
            job = await asyncio.get_running_loop().run_in_executor(None, self._pictures.found, job)
            missing = job.picture is None and self._composers.reads_picture(job)
        answer = await self._batcher.answer((job, arrived))
        if isinstance(answer, Exception):
            raise answer
        return replace(answer, repeatable=False) if missing else answer

    def _compose(self, arrivals: list[tuple[ComposeJob, float]]) -> list[Composed | Exception]:
        begun = time.perf_counter()
        self._metrics.batch(len(arrivals))
        jobs = [job for job, _ in arrivals]
        answers = self._compose_rolled_out(jobs)
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

    async def answering(self) -> str:
        """The composer of every query that names none; empty while it depends on the query, or there is a shadow."""
        rollout = self._composers.rollout
        return "" if rollout.split or rollout.shadow else rollout.default

    async def composer_infos(self) -> list[ComposerInfo]:
        """Every composer that a request can name."""
        return await asyncio.get_running_loop().run_in_executor(None, self._composers.infos)


ComposerDeployment = serve.deployment(name="Composer", max_ongoing_requests=128, health_check_period_s=10)(
    ComposerReplica
)
