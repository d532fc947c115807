"""What every call of the search and index services shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from ray.serve.handle import DeploymentHandle

from scot.data.images import decode_image
from scot.errors import ImageRefused
from scot.index.store import GalleryStore
from services.access import Keys
from services.search.composer.messages import Composed, ComposeJob, EncoderInfo
from services.search.gateway.health import Health
from services.search.gateway.hedging import Hedging
from services.search.gateway.query_cache import QueryCache
from services.search.gateway.shadow import Shadow
from services.search.metrics import GatewayMetrics
from services.search.rpc.limits import HANDLE_BYTES
from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from scot.encoders.base import Vectors
    from scot.encoders.pixel_budget import PixelBudget
    from scot.encoders.resizing import Pixels, Resizing
    from scot.rerank import Reranker


@dataclass(frozen=True, slots=True)
class Context:
    """One gateway's settings, deployments, store and metrics."""

    settings: SearchSettings
    keys: Keys | None
    encoder_info: EncoderInfo
    store: GalleryStore
    composer: DeploymentHandle[Any]
    encoder: DeploymentHandle[Any]
    metrics: GatewayMetrics
    shadow: Shadow
    health: Health
    queries: QueryCache
    threads: ThreadPoolExecutor
    stream_queries: asyncio.Semaphore
    """The places of the queries of all streams."""
    reranker: Reranker | None
    second_looks: asyncio.Semaphore
    """The places of the queries that wait for verdicts."""
    hedging: Hedging
    near_composer: DeploymentHandle[Any]
    """The composers again; a handle that prefers the one of this node."""

    async def compose(self, job: ComposeJob) -> Composed:
        """The query vector of a job, of whichever composer replica answers."""
        composed: Composed = await self.hedging.first(
            lambda: self.composer.compose.remote(job), lambda: self.near_composer.compose.remote(job)
        )
        return composed

    async def pixels(self, field: str, image: bytes, decoded: Callable[[Image.Image], None] | None = None) -> Pixels:
        """Decode and resize an image off the event loop; ``decoded`` is called there with the decoded image.

        Raises:
            ImageRefused: with the name of its field.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.threads, preprocess, self.encoder_info.resizing, image, decoded
            )
        except ImageRefused as error:
            raise ImageRefused(error.reason, f"{field}: {error}") from error

    async def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """N images to ``(N, D)`` in calls small enough for Serve's message limit."""
        calls: list[list[Pixels]] = []
        room = 0
        for image in pixels:
            if not calls or image.nbytes > room:
                calls.append([])
                room = HANDLE_BYTES
            calls[-1].append(image)
            room -= image.nbytes
        return np.concatenate(await asyncio.gather(*(self.encoder.pixels.remote(call) for call in calls)))


def preprocess(
    resizing: Resizing | PixelBudget, image: bytes, decoded: Callable[[Image.Image], None] | None = None
) -> Pixels:
    """Decode safely, then resize and crop as the encoder was trained, to ``(H, W, 3)`` uint8. Raises ImageRefused."""
    rgb = decode_image(image)
    if decoded is not None:
        decoded(rgb)
    return resizing(rgb)
