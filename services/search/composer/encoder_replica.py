"""The Encoder deployment: the towers for bulk work, apart from the Composer so that indexing never slows a query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import serve

from services.search.composer.batcher import DynamicBatcher
from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from scot.encoders.base import Pixels, Tokens, Vectors

_BATCH = 64


class EncoderReplica:
    """Embeds preprocessed images and tokenized texts, many at a time."""

    def __init__(self, settings: SearchSettings) -> None:
        self._settings, self._loading = settings, asyncio.Lock()
        self._towers = None if settings.encoder_on_demand else _Towers(settings)

    async def pixels(self, pixels: list[Pixels]) -> Vectors:
        """N images ``(H, W, 3)`` to ``(N, D)``."""
        return await (await self._loaded()).pixels.answer(pixels)

    async def tokens(self, tokens: list[Tokens]) -> Vectors:
        """N texts ``(L,)`` to ``(N, D)``."""
        return await (await self._loaded()).tokens.answer(tokens)

    async def _loaded(self) -> _Towers:
        async with self._loading:
            if self._towers is None:
                self._towers = await asyncio.to_thread(_Towers, self._settings)
        return self._towers


class _Towers:
    def __init__(self, settings: SearchSettings) -> None:
        encoder = settings.service.load_encoder()
        self.pixels = DynamicBatcher(_together(encoder.encode_pixels), most=_BATCH, size=len)
        self.tokens = DynamicBatcher(_together(encoder.encode_tokens), most=_BATCH, size=len)


def _together(encode: Callable[[list[Any]], Vectors]) -> Callable[[list[list[Any]]], list[Vectors]]:
    """Encode the inputs of several calls in one batch; each call gets its own rows."""

    def of_each(calls: list[list[Any]]) -> list[Vectors]:
        return np.split(encode([*chain.from_iterable(calls)]), np.cumsum([len(call) for call in calls])[:-1])

    return of_each


EncoderDeployment = serve.deployment(name="Encoder", max_ongoing_requests=64, health_check_period_s=10)(EncoderReplica)
