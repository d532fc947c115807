"""The pairs of a corpus as edits: the edited caption is another real caption, and its image is a second target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scot.edits.difference import difference
from scot.edits.filters import TextFilters
from scot.edits.generators.base import reason_to_refuse, with_images
from scot.edits.pairs import PAIRS, PairIndex
from scot.edits.pairs.index import lemmas_of
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.rules.change import Dice

_TRIES = 8  # rows of a caption in which one of another image is looked for


class PairsGenerator:
    """Looks the captions up in the index of their corpus (:mod:`scot.edits.pairs`)."""

    generator, prompt_version = PAIRS

    def __init__(self, index: PairIndex, filters: TextFilters) -> None:
        self._index, self._filters = index, filters
        filters.check_language()

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """See :class:`scot.edits.generators.base.EditGenerator`."""
        return [self._edits(*named, count, seed) for named in with_images(captions, image_ids)]

    async def check(self) -> None:
        """The index is always available."""

    async def close(self) -> None:
        """The index holds no resources."""

    def _edits(self, caption: str, image_id: str, count: int, seed: int) -> CaptionEdits:
        text = clean(caption)
        if reason := reason_to_refuse(text, self._filters):
            return CaptionEdits(refused=Counter({reason: 1}))
        lemmas = lemmas_of(text)
        partners = self._index.partners_of(caption)
        if not partners:
            return CaptionEdits(refused=Counter(["caption_one_word" if len(lemmas) < 2 else "no_similar_caption"]))
        dice = Dice(f"{text}\n{image_id}", seed)
        first = dice.one_of(range(len(partners)))
        made: list[EditRecord] = []
        refused: Counter[str] = Counter()
        # The fewest differing words first; among equals, another order for each image.
        order = sorted(range(len(partners)), key=lambda n: (partners[n][1], (n - first) % len(partners)))
        for number in (partners[n][0] for n in order):
            if len(made) == count:
                break
            row = self._target(number, image_id, dice)
            record = difference(text, clean(self._index.captions[row]), self._index.images[row], dice)
            if record is None:
                refused["unclear_difference"] += 1
                continue
            accepted, reasons = self._filters.accept(text, [*made, record])
            made, refused = list(accepted), refused + reasons
        return CaptionEdits(tuple(made), refused)

    def _target(self, number: int, image_id: str, dice: Dice) -> int:
        """A row with this caption, of another image if there is one."""
        rows = self._index.rows_of(number)
        first = dice.one_of(range(len(rows)))
        nearby = [int(rows[(first + step) % len(rows)]) for step in range(min(_TRIES, len(rows)))]
        return next((row for row in nearby if self._index.images[row] != image_id), nearby[0])
