"""The pairs of a corpus as edits: the edited caption is another real caption, and its image is a second target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from scot.edits.difference import difference
from scot.edits.filters import TextFilters
from scot.edits.generators.base import reason_to_refuse, with_images
from scot.edits.pairs import PAIRS, PairIndex
from scot.edits.pairs.index import lemmas_of
from scot.edits.phrasing import kept_words
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.rules.change import DOUBLES, Dice, conjunction
from scot.errors import InvalidInput

_TRIES = 8  # rows of a caption in which one of another image is looked for


class PairsGenerator:
    """Looks the captions up in the index of their corpus (:mod:`scot.edits.pairs`).

    ``doubles`` is the share of edits that change two things, where the corpus has an image for them: a pair of a pair.
    """

    generator, prompt_version = PAIRS

    def __init__(self, index: PairIndex, filters: TextFilters, *, doubles: float = DOUBLES) -> None:
        self._index, self._filters, self._doubles = index, filters, doubles
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
            record = self._difference(text, number, image_id, dice)
            if record is not None and dice.chance(self._doubles):
                record = self._and_another(text, record, number, image_id, dice) or record
            if record is None:
                refused["unclear_difference"] += 1
                continue
            accepted, reasons = self._filters.accept(text, [*made, record])
            made, refused = list(accepted), refused + reasons
        return CaptionEdits(tuple(made), refused)

    def _difference(self, text: str, number: int, image_id: str, dice: Dice) -> EditRecord | None:
        """The edit from a caption to another of the index."""
        row = self._target(number, image_id, dice)
        return difference(text, clean(self._index.captions[row]), self._index.images[row], dice)

    def _and_another(self, text: str, first: EditRecord, number: int, image_id: str, dice: Dice) -> EditRecord | None:
        """The first edit and a second of other words, to a pair of the first's target; None if there is none."""
        partners = self._index.partners_at(number)
        begin = dice.one_of(range(len(partners)))
        order = sorted(range(len(partners)), key=lambda n: (partners[n][1], (n - begin) % len(partners)))
        for partner in order[:_TRIES]:
            second = self._difference(first.edited_caption, partners[partner][0], image_id, dice)
            if second is None or not _apart(text, first.edited_caption, second.edited_caption):
                continue
            target, kept = second.edited_caption, kept_words(text, second.edited_caption)
            with suppress(InvalidInput):  # too long
                return EditRecord(
                    "conjunction", conjunction(first.edit, second.edit, dice), target, kept, second.target_image_id
                )
        return None

    def _target(self, number: int, image_id: str, dice: Dice) -> int:
        """A row with this caption, of another image if there is one."""
        rows = self._index.rows_of(number)
        first = dice.one_of(range(len(rows)))
        nearby = [int(rows[(first + step) % len(rows)]) for step in range(min(_TRIES, len(rows)))]
        return next((row for row in nearby if self._index.images[row] != image_id), nearby[0])


def _apart(caption: str, between: str, target: str) -> bool:
    """Whether the second change neither undoes nor changes what the first brought, and takes nothing back."""
    before, middle, after = (Counter(lemma for lemma, *_ in lemmas_of(text)) for text in (caption, between, target))
    return not (middle - before) & (middle - after) and not (before - middle) & (after - middle)
