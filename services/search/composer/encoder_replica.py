"""The Encoder deployment: the towers for bulk work, apart from the Composer so that indexing never slows a query."""

from __future__ import annotations

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
        encoder = settings.service.load_encoder()
        self._pixels = DynamicBatcher(_together(encoder.encode_pixels), most=_BATCH, size=len)
        self._tokens = DynamicBatcher(_together(encoder.encode_tokens), most=_BATCH, size=len)

    async def pixels(self, pixels: list[Pixels]) -> Vectors:
        """N images ``(H, W, 3)`` to ``(N, D)``."""
        return await self._pixels.answer(pixels)

    async def tokens(self, tokens: list[Tokens]) -> Vectors:
        """N texts ``(L,)`` to ``(N, D)``."""
        return await self._tokens.answer(tokens)


def _together(encode: Callable[[list[Any]], Vectors]) -> Callable[[list[list[Any]]], list[Vectors]]:
    """Encode the inputs of several calls in one batch; each call gets its own rows."""

    def of_each(calls: list[list[Any]]) -> list[Vectors]:
        return np.split(encode([*chain.from_iterable(calls)]), np.cumsum([len(call) for call in calls])[:-1])

    return of_each


EncoderDeployment = serve.deployment(name="Encoder", max_ongoing_requests=64, health_check_period_s=10)(EncoderReplica)
