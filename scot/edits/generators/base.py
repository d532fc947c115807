"""Edit generators: captions in, validated edits out, whatever the engine."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.base import Completion, Sampling, TextEngine
from scot.edits.filters import TextFilters
from scot.edits.parsing import parse_answer
from scot.edits.prompt import TOKENS_PER_EDIT, Prompt, clean
from scot.edits.record import MAX_CAPTION_CHARS, MAX_CAPTION_WORDS, CaptionEdits, EditRecord
from scot.edits.rules import RulesEngine
from scot.errors import ChatRefused

MAX_COUNT = 16
"""The most edits of one caption."""
_MOST_KEPT = 10_000


class EditGenerator(Protocol):
    """Turns captions into edits. ``generator`` and ``prompt_version`` are stored with every triplet."""

    generator: str
    prompt_version: str

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """Up to ``count`` distinct edits of each caption, in order.

        ``image_ids``, if given, are in parallel: equal captions of different images get different edits.

        An invalid caption or answer is counted in its own result; it does not affect the others.

        Raises:
            Unavailable: the engine is unavailable.
        """

    async def check(self) -> None:
        """Raise Unavailable when the engine cannot answer."""

    async def close(self) -> None:
        """Release all resources."""


class RulesGenerator:
    """The rules engine as an :class:`EditGenerator`."""

    def __init__(self, engine: RulesEngine) -> None:
        self._engine = engine
        self.generator, self.prompt_version = engine.generator, engine.prompt_version

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """See :class:`EditGenerator`."""
        return [
            self._engine.edits(caption, count=count, seed=seed, image_id=image_id)
            for caption, image_id in with_images(captions, image_ids)
        ]

    async def check(self) -> None:
        """The rules are always available."""

    async def close(self) -> None:
        """The rules hold no resources."""


class ModelGenerator:
    """A language model as an :class:`EditGenerator`: prompt, schema, parsing and filters around the model."""

    def __init__(
        self,
        engine: TextEngine,
        prompt: Prompt,
        filters: TextFilters,
        *,
        temperature: float = -1.0,
        one_aspect: bool = False,
    ) -> None:
        self._engine, self._prompt, self._filters, self._one_aspect = engine, prompt, filters, one_aspect
        filters.check_language()
        self._temperature = prompt.temperature if temperature < 0 else temperature
        self.generator, self.prompt_version = engine.id, prompt.version
        self._finished: dict[tuple[str, str, int, int], CaptionEdits] = {}

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """See :class:`EditGenerator`. All captions run concurrently; the first failure cancels the others.

        What was finished before a failure is kept for the next call with the same captions.
        """
        keys = [(caption, image_id, count, seed) for caption, image_id in with_images(captions, image_ids)]

        async def one(key: tuple[str, str, int, int]) -> CaptionEdits:
            if key not in self._finished:
                self._finished[key] = await self._generate(*key)
            return self._finished[key]

        if len(self._finished) > _MOST_KEPT:
            self._finished.clear()
        results = await gather_or_cancel(map(one, keys))
        for key in keys:
            self._finished.pop(key, None)
        return results

    async def _generate(self, caption: str, image_id: str, count: int, seed: int) -> CaptionEdits:
        text, count = clean(caption), min(count, len(self._prompt.aspects))  # a model writes one edit for each aspect
        if reason := reason_to_refuse(text, self._filters):
            return CaptionEdits(refused=Counter({reason: 1}))
        aspects = self._prompt.aspects_for(text, count, seed)
        chats = [(aspect,) for aspect in aspects] if self._one_aspect else [aspects]
        # Caption and image are part of the seed: otherwise similar captions would get similar edits.
        own_seed = zlib.crc32("\n".join((str(seed), text, *filter(None, [image_id]))).encode("utf-8", "surrogatepass"))
        answers = await gather_or_cancel(self._chat(text, chat, own_seed) for chat in chats)
        refused = Counter[str](chat_refused=answers.count(None))
        records: list[EditRecord] = []
        found = [answer for answer in answers if answer is not None]
        for answer in found:
            parsed = parse_answer(answer.text, self._prompt.aspects, cut_off=answer.cut_off)
            records += parsed.records
            refused += parsed.refused
        own = [record for record in records if record.edit not in self._prompt.examples]
        refused["copied_example"] += len(records) - len(own)
        edits, others = self._filters.accept(text, own)
        tokens = sum(answer.prompt_tokens for answer in found), sum(answer.completion_tokens for answer in found)
        return CaptionEdits(edits[:count], +refused + others, *tokens)

    async def _chat(self, text: str, aspects: tuple[str, ...], seed: int) -> Completion | None:
        """The answer of one chat, None if the model or endpoint refuses it."""
        sampling = Sampling(self._temperature, max_tokens=TOKENS_PER_EDIT * len(aspects) + 32, seed=seed)
        try:
            schema = self._prompt.answer_schema(aspects)
            return await self._engine.complete(self._prompt.messages(text, aspects), schema, sampling)
        except ChatRefused:
            return None

    async def check(self) -> None:
        """See :class:`EditGenerator`."""
        await self._engine.check()

    async def close(self) -> None:
        """See :class:`EditGenerator`."""
        await self._engine.close()


def reason_to_refuse(caption: str, filters: TextFilters) -> str | None:
    """The reason not to edit a cleaned caption, or None."""
    if not caption:
        return "caption_empty"
    if len(caption.split()) > MAX_CAPTION_WORDS or len(caption) > MAX_CAPTION_CHARS:
        return "caption_too_long"
    reason = filters.reason_to_refuse_caption(caption)
    return f"caption_{reason}" if reason else None


def with_images(captions: Sequence[str], image_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each caption with its image's id; empty ids if there are none."""
    return zip(captions, image_ids or [""] * len(captions), strict=True)
