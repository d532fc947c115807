"""The Composer deployment: image and text in, query vector out, in one call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from ray import serve

from scot.composers import BASELINES, Composer, Registry, baseline, load_composer
from scot.errors import EncoderMismatch, NotFound, ScotError, Unavailable
from services.search.composing import Composed, Job, compose_batch
from services.search.metrics import batch_sizes
from services.search.settings import SearchSettings

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class ComposerCard:
    """What is known of one composer, for ListComposers."""

    name: str
    released: bool
    architecture: str
    encoder: str
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """Which vectors this service speaks."""

    encoder_id: str
    dim: int


class Shelf:
    """The composers that are loaded; a version is loaded when it is first asked for, and then kept."""

    def __init__(self, registry: Registry | None, encoder_id: str, dim: int) -> None:
        self._registry, self._encoder_id, self._dim = registry, encoder_id, dim
        self._loaded: dict[str, Composer] = {}
        self._lock = threading.Lock()
        self.default = "sum"

    def release(self, name: str) -> None:
        """Let ``name`` (``""``: the registry's released version, else ``sum``) answer when a request names none.

        Raises:
            EncoderMismatch: it was trained on another encoder's vectors.
            NotFound: there is no such composer.
            InvalidInput: its artifact is damaged.
        """
        name = name or (self._registry.released() if self._registry else None) or "sum"
        self._load(name)
        self.default = name

    def get(self, name: str) -> Composer:
        """The composer of a request. Raises NotFound, EncoderMismatch, or Unavailable when its artifact is damaged."""
        try:
            return self._load(name or self.default)
        except (NotFound, EncoderMismatch):
            raise
        except ScotError as error:
            # What is wrong with the files is for the operator, who reads the log; a caller must not see paths.
            logger.error("composer %r cannot be loaded: %s", name, error)
            raise Unavailable(f"composer {name!r} cannot be loaded") from error

    def cards(self) -> list[ComposerCard]:
        """Every composer that can be asked for, versions first."""
        cards = []
        for version in self._registry.versions() if self._registry else []:
            assert self._registry is not None
            try:
                config, metrics = self._registry.config(version), self._registry.metrics(version)
            except ScotError as error:
                logger.error("composer %r cannot be read: %s", version, error)
                continue
            encoder = str(config["encoder_id"])
            cards.append(ComposerCard(version, version == self.default, str(config["architecture"]), encoder, metrics))
        cards += [ComposerCard(name, name == self.default, name, "", {}) for name in BASELINES]
        return cards

    def _load(self, name: str) -> Composer:
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            composer = self._open(name)
            if ":" not in name or name == self.default:  # weights are the callers' to choose: kept, they would pile up
                self._loaded[name] = composer
            return composer

    def _open(self, name: str) -> Composer:
        if name.partition(":")[0] in BASELINES:
            return baseline(name)
        if self._registry is None:
            raise NotFound(f"there is no composer {name!r}; this service has only {', '.join(BASELINES)}")
        path = self._registry.path(name)
        made_for = str(self._registry.config(name).get("encoder_id"))
        if made_for != self._encoder_id:
            raise EncoderMismatch(f"composer {name!r} was trained on encoder {made_for!r}, not {self._encoder_id!r}")
        composer = load_composer(path, encoder_id=self._encoder_id, dim=self._dim)
        composer.name = name
        return composer


class ComposerReplica:
    """Hosts both towers and the composers; queries that arrive together are composed together."""

    def __init__(self, settings: SearchSettings) -> None:
        # Imported here, since whoever only deploys the application should not wait for open_clip.
        from scot.encoders import load_encoder

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._encoder = load_encoder(settings.encoder, device=settings.device)
        registry = Registry(settings.composers) if settings.composers else None
        self._shelf = Shelf(registry, self._encoder.id, self._encoder.dim)
        self._serving = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="towers")  # torch brings its own threads
        self._batch_sizes = batch_sizes()
        self._batched.set_max_batch_size(settings.batch)  # type: ignore[attr-defined]

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Change the released composer without a restart: ``{"default": "v3"}``, or ``""`` for the registry's own.

        A composer that cannot be loaded raises when the service starts; later, the one that answers now stays.
        """
        try:
            self._shelf.release(str(user_config.get("default", "")))
        except ScotError as error:
            if not self._serving:
                raise
            logger.error("the rollout is refused and %r stays: %s", self._shelf.default, error)
        self._serving = True

    async def compose(self, job: Job) -> Composed:
        """The query vector of one job. Raises NotFound, EncoderMismatch, Unavailable."""
        answer: Composed | Exception = await self._batched((job, time.perf_counter()))
        if isinstance(answer, Exception):
            raise answer
        return answer

    # A wait of zero takes whatever has queued up while the last batch was composed: an idle service answers at once.
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.0)
    async def _batched(self, arrivals: list[tuple[Job, float]]) -> list[Composed | Exception]:
        self._batch_sizes.observe(len(arrivals))
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compose, arrivals)

    def _compose(self, arrivals: list[tuple[Job, float]]) -> list[Composed | Exception]:
        begun = time.perf_counter()
        answers = compose_batch(self._encoder, self._shelf.get, [job for job, _ in arrivals])
        took = time.perf_counter() - begun
        return [
            replace(answer, queue_s=begun - arrived, compose_s=took) if isinstance(answer, Composed) else answer
            for answer, (_, arrived) in zip(answers, arrivals, strict=True)
        ]

    async def encoder_card(self) -> EncoderCard:
        """The encoder's id and dimension."""
        return EncoderCard(self._encoder.id, self._encoder.dim)

    async def composer_cards(self) -> list[ComposerCard]:
        """Every composer that can be asked for."""
        return await asyncio.get_running_loop().run_in_executor(None, self._shelf.cards)


ComposerDeployment = serve.deployment(name="Composer", max_ongoing_requests=128, health_check_period_s=10)(
    ComposerReplica
)
