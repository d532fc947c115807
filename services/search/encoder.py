"""The Encoder deployment: the towers for bulk work, kept apart so that indexing never slows a query."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from ray import serve

from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from scot.encoders.base import Pixels, Tokens, Vectors


class EncoderReplica:
    """Embeds preprocessed pictures and tokenised texts, many at a time."""

    def __init__(self, settings: SearchSettings) -> None:
        # Imported here, since whoever only deploys the application should not wait for open_clip.
        from scot.encoders import load_encoder

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._encoder = load_encoder(settings.encoder, device=settings.device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="towers")

    async def pixels(self, pixels: list[Pixels]) -> Vectors:
        """N pictures ``(H, W, 3)`` to ``(N, D)``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode_pixels, pixels)

    async def tokens(self, tokens: list[Tokens]) -> Vectors:
        """N texts ``(L,)`` to ``(N, D)``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode_tokens, tokens)


EncoderDeployment = serve.deployment(name="Encoder", max_ongoing_requests=16, health_check_period_s=10)(EncoderReplica)
