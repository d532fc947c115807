"""Writers: one caption in, its validated edits out, whatever the engine."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from scot.edits.engines.base import Sampling, TextEngine
from scot.edits.filters import TextFilters
from scot.edits.gather_or_cancel import gather_or_cancel
from scot.edits.parsing import parse_answer
from scot.edits.prompt import TOKENS_PER_EDIT, Prompt, answer_schema, aspects_for, clean
from scot.edits.record import ASPECTS, MAX_CAPTION_CHARS, MAX_CAPTION_WORDS, CaptionEdits
from scot.edits.rules import RulesEngine
from scot.errors import InvalidInput

MAX_COUNT = 16
"""The most edits of one caption."""


class EditGenerator(Protocol):
    """Turns captions into edits. ``generator`` and ``prompt_version`` are kept with every triplet."""

    generator: str
    prompt_version: str

    async def write(self, captions: Sequence[str], *, count: int, seed: int) -> list[CaptionEdits]:
        """Up to ``count`` distinct edits of each caption, in order.

        What is wrong with a caption or with an answer is counted in its result and touches no other.

        Raises:
            Unavailable: the engine is away.
        """

    async def check(self) -> None:
        """Raise Unavailable when the engine cannot answer."""

    async def close(self) -> None:
        """Free what it holds."""


class RulesGenerator:
    """The rules engine as a writer."""

    def __init__(self, engine: RulesEngine) -> None:
        self._engine = engine
        self.generator, self.prompt_version = engine.generator, engine.prompt_version

    async def write(self, captions: Sequence[str], *, count: int, seed: int) -> list[CaptionEdits]:
        """See :class:`EditGenerator`."""
        return [self._engine.edits(caption, count=count, seed=seed) for caption in captions]

    async def check(self) -> None:
        """Rules are always there."""

    async def close(self) -> None:
        """Rules hold nothing."""


class ModelGenerator:
    """A language model as a writer: prompt, schema, parsing and filters around it."""

    def __init__(self, engine: TextEngine, prompt: Prompt, filters: TextFilters, *, temperature: float = -1.0) -> None:
        self._engine, self._prompt, self._filters = engine, prompt, filters
        filters.check_language()
        self._temperature = prompt.temperature if temperature < 0 else temperature
        self.generator, self.prompt_version = engine.id, prompt.version

    async def write(self, captions: Sequence[str], *, count: int, seed: int) -> list[CaptionEdits]:
        """See :class:`EditGenerator`. All captions are under way at once; the first failure cancels the others."""
        return await gather_or_cancel(self._write(caption, count, seed) for caption in captions)

    async def _write(self, caption: str, count: int, seed: int) -> CaptionEdits:
        text, count = clean(caption), min(count, len(ASPECTS))  # a model writes one edit of an aspect
        if not text:
            return CaptionEdits(refused=Counter(caption_empty=1))
        if len(text.split()) > MAX_CAPTION_WORDS or len(text) > MAX_CAPTION_CHARS:
            return CaptionEdits(refused=Counter(caption_too_long=1))
        if reason := self._filters.reason_to_refuse_caption(text):
            return CaptionEdits(refused=Counter({f"caption_{reason}": 1}))
        sampling = Sampling(
            self._temperature,
            max_tokens=TOKENS_PER_EDIT * count + 32,
            # The caption is part of the seed: otherwise like captions would get like edits.
            seed=zlib.crc32(f"{seed}\n{text}".encode()),
        )
        messages = self._prompt.messages(text, aspects_for(text, count, seed))
        try:
            answer = await self._engine.complete(messages, answer_schema(count), sampling)
        except InvalidInput:
            return CaptionEdits(refused=Counter(chat_refused=1))
        parsed = parse_answer(answer.text, cut_off=answer.cut_off)
        edits, refused = self._filters.accept(text, parsed.records)
        return CaptionEdits(edits[:count], parsed.refused + refused, answer.prompt_tokens, answer.completion_tokens)

    async def check(self) -> None:
        """See :class:`EditGenerator`."""
        await self._engine.check()

    async def close(self) -> None:
        """See :class:`EditGenerator`."""
        await self._engine.close()
