"""The slots engine as an edit generator, with the filters; a language model may choose among more edits than asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from scot.edits.filters import TextFilters
from scot.edits.generators.base import gather_or_cancel, reason_to_refuse, with_images
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits
from scot.edits.slots import SlotsEngine

_CHOICES = 4  # edits for each that is kept, where a model ranks them


class Ranker(Protocol):
    """A language model that says how natural a text is."""

    id: str

    async def log_probabilities(self, texts: Sequence[str]) -> list[float]:
        """The mean log-probability of the tokens of each text.

        Raises:
            Unavailable: the model is unavailable.
        """


class SlotsGenerator:
    """Edits by grammar and vocabulary; with a ``ranker``, those whose edited captions it finds most natural."""

    def __init__(self, filters: TextFilters, *, ranker: Ranker | None = None) -> None:
        self._engine, self._filters, self._ranker = SlotsEngine(), filters, ranker
        filters.check_language()
        self.generator = f"{self._engine.generator}+{ranker.id}" if ranker else self._engine.generator
        self.prompt_version = self._engine.prompt_version

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """See :class:`scot.edits.generators.base.EditGenerator`."""
        named = with_images(captions, image_ids)
        return await gather_or_cancel(self._edits(caption, image_id, count, seed) for caption, image_id in named)

    async def _edits(self, caption: str, image_id: str, count: int, seed: int) -> CaptionEdits:
        text = clean(caption)
        if reason := reason_to_refuse(text, self._filters):
            return CaptionEdits(refused=Counter({reason: 1}))
        wanted = count * _CHOICES if self._ranker else count
        made = self._engine.edits(text, count=wanted, seed=seed, image_id=image_id)
        edits, refused = self._filters.accept(text, made.edits)
        if self._ranker and len(edits) > count:
            scores = await self._ranker.log_probabilities([edit.edited_caption for edit in edits])
            best = sorted(range(len(edits)), key=lambda n: -scores[n])[:count]  # equal scores keep their order
            edits = tuple(edits[n] for n in sorted(best))
        return CaptionEdits(edits[:count], made.refused + refused)

    async def check(self) -> None:
        """Grammar and vocabulary are always available."""

    async def close(self) -> None:
        """They hold no resources."""
