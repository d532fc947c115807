"""The Encoder deployment: the towers for bulk work, apart from the Composer so that indexing never slows a query."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from ray import serve

from scot.encoders.base import embed_texts
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.messages import EncodedText
from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from scot.encoders.base import Vectors
    from scot.encoders.resizing import Pixels

_BATCH = 64


class EncoderReplica:
    """Embeds preprocessed images and texts, many at a time."""

    def __init__(self, settings: SearchSettings) -> None:
        self._encoder = encoder = settings.service.load_encoder()
        self._pixels = DynamicBatcher(_together(encoder.encode_pixels), most=_BATCH, size=len)
        self._texts = DynamicBatcher(_together(self._encode_texts), most=_BATCH, size=len)

    async def pixels(self, pixels: list[Pixels]) -> Vectors:
        """N images ``(H, W, 3)`` to ``(N, D)``."""
        rows: Vectors = await self._pixels.answer(pixels)
        return rows

    async def texts(self, texts: list[str]) -> list[EncodedText]:
        """N texts to N vectors ``(D,)``."""
        rows: list[EncodedText] = await self._texts.answer(texts)
        return rows

    def _encode_texts(self, texts: list[str]) -> list[EncodedText]:
        vectors_ND, _, truncated_N = embed_texts(self._encoder, texts)
        return [EncodedText(row, truncated) for row, truncated in zip(vectors_ND, truncated_N, strict=True)]


def _together(encode: Callable[[list[Any]], Any]) -> Callable[[list[list[Any]]], list[Any]]:
    """Encode the inputs of several calls in one batch; each call gets its own rows."""

    def of_each(calls: list[list[Any]]) -> list[Any]:
        rows, ends = encode([*chain.from_iterable(calls)]), [*accumulate(len(call) for call in calls)]
        return [rows[end - len(call) : end] for call, end in zip(calls, ends, strict=True)]

    return of_each


EncoderDeployment = serve.deployment(name="Encoder", max_ongoing_requests=64, health_check_period_s=10)(EncoderReplica)
