"""The slots engine as an edit generator, with the filters; a language model may rank its edits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.base import Likelihood, Ranker
from scot.edits.filters import TextFilters
from scot.edits.generators.base import reason_to_refuse, with_images
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.slots import SlotsEngine
from scot.errors import ChatRefused

_CHOICES = 4  # edits for each that is asked, and for each place of the caption, where a model ranks them

Candidate = tuple[str, EditRecord]
"""The place of the caption that an edit changes, and the edit."""


class SlotsGenerator:
    """Edits by grammar and vocabulary.

    With a ``ranker``, more edits are made than asked. Those stay whose edited caption is at least as likely as the
    caption, log-probability a word, less ``margin`` nats; the likeliest come first, of other places before of the same.
    Where the model does not tell the texts apart, the grammar's own order stands, and is counted.
    """

    def __init__(self, filters: TextFilters, *, ranker: Ranker | None = None, margin: float = 0.5) -> None:
        self._engine, self._filters, self._ranker, self._margin = SlotsEngine(), filters, ranker, margin
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
        if self._ranker is None:
            return self._in_order(text, image_id, count, seed)
        made = self._engine.candidates(text, count=count * _CHOICES, seed=seed, image_id=image_id, at_a_place=_CHOICES)
        edits, refused = self._filters.accept(text, [record for _, record in made])
        candidates = [candidate for candidate in made if candidate[1] in edits]
        if not candidates:
            return self._in_order(text, image_id, count, seed)
        texts = [text, *(record.edited_caption for _, record in candidates)]
        try:
            found = await self._ranker.likelihoods(texts)
        except ChatRefused:
            return self._in_order(text, image_id, count, seed, why="chat_refused")
        tokens = sum(each.tokens for each in found)
        if not _tells_apart(found):
            return self._in_order(text, image_id, count, seed, why="not_ranked", tokens=tokens)
        own, *scores = (each.log_probability / len(words.split()) for each, words in zip(found, texts, strict=True))
        order = sorted(range(len(candidates)), key=lambda n: -scores[n])  # equal scores keep their order
        likely = [candidates[n] for n in order if scores[n] >= own - self._margin]
        missing = min(count, len(candidates)) - len(likely)  # of those asked: many more were made
        return CaptionEdits(_spread(likely, count), +(refused + Counter(unlikely=missing)), tokens)

    def _in_order(
        self, text: str, image_id: str, count: int, seed: int, *, why: str = "", tokens: int = 0
    ) -> CaptionEdits:
        """The edits in the order in which the grammar makes them; ``why`` counts that no model ranked them."""
        made = self._engine.edits(text, count=count, seed=seed, image_id=image_id)
        edits, refused = self._filters.accept(text, made.edits)
        return CaptionEdits(edits, made.refused + refused + Counter([why] if why else []), tokens)

    async def check(self) -> None:
        """Raise Unavailable when the model cannot answer; grammar and vocabulary are always available."""
        if self._ranker is not None:
            await self._ranker.check()

    async def close(self) -> None:
        """Close the model."""
        if self._ranker is not None:
            await self._ranker.close()


def _tells_apart(found: Sequence[Likelihood]) -> bool:
    """Whether a model finds some texts likelier than others, and all possible."""
    totals = {each.log_probability for each in found}
    means = {
        round(each.log_probability / max(1, each.tokens), 6) for each in found if math.isfinite(each.log_probability)
    }
    return all(map(math.isfinite, totals)) and len(totals) > 1 and len(means) > 1


def _spread(candidates: Sequence[Candidate], count: int) -> tuple[EditRecord, ...]:
    """``count`` edits in order: the first of each place before the second of any."""
    seen = Counter[str]()
    turns: list[int] = []
    for place, _ in candidates:
        turns.append(seen[place])
        seen[place] += 1
    order = sorted(range(len(candidates)), key=lambda n: turns[n])
    return tuple(candidates[n][1] for n in order[:count])
