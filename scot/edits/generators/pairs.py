"""The pairs of a corpus as edits: the edited caption is another real caption, and its image is a second target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from scot.edits.filters import TextFilters
from scot.edits.generators.base import reason_to_refuse, with_images
from scot.edits.grammar import is_follower
from scot.edits.pairs import PAIRS, PairIndex
from scot.edits.pairs.index import lemmas_of
from scot.edits.pairs.normalize import SMALL
from scot.edits.phrasing import QUALITIES, Phrase, addition, kept_words, participle, removal, shape, swap
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.rules.change import Dice
from scot.edits.vocabulary import TERMS
from scot.errors import InvalidInput

_TRIES = 8  # rows of a caption in which one of another image is looked for
_ARTICLE_BEFORE = re.compile(r"\b(an?|the)\s+$", re.IGNORECASE)
_WORD_BEHIND = re.compile(r"\s+([^\W\d_][\w'’-]*)")
_Lemmas = list[tuple[str, int, int]]


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
            record = _record(text, lemmas, clean(self._index.captions[row]), self._index.images[row], dice)
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


def _record(caption: str, lemmas: _Lemmas, target: str, target_image_id: str, dice: Dice) -> EditRecord | None:
    """The edit from one caption to another; None if what differs is no phrase, or too long."""
    others = lemmas_of(target)
    begin = _common([one for one, *_ in lemmas], [one for one, *_ in others])
    rest = min(len(lemmas), len(others)) - begin
    end = min(rest, _common([one for one, *_ in reversed(lemmas)], [one for one, *_ in reversed(others)]))
    old = _phrase(caption, lemmas[begin : len(lemmas) - end])
    new = _phrase(target, others[begin : len(others) - end])
    if not _sayable(old, new):
        return None
    if old is None and new is not None:
        aspect, edit = addition(new, dice, subject=begin == 0)
    elif new is None and old is not None:
        aspect, edit = removal(old, dice, subject=begin == 0)
    elif old is not None and new is not None:
        aspect, edit = swap(old, new, dice, subject=begin == 0)
    try:
        return EditRecord(aspect, edit, target, kept_words(caption, target), target_image_id)
    except InvalidInput:
        return None


def _phrase(caption: str, span: _Lemmas) -> Phrase | None:
    """The words of a span as a phrase of the caption; None without words."""
    if not span:
        return None
    while len(span) > 1 and span[-1][0] == "be":
        span = span[:-1]
    while len(span) > 1 and span[0][0] == "be":
        span = span[1:]
    start, stop = span[0][1], span[-1][2]
    before, noun, at = _ARTICLE_BEFORE.search(caption[:start]), "", stop
    while behind := _WORD_BEHIND.match(caption, at):  # the noun behind further adjectives
        word, at = behind[1].lower(), behind.end()
        if word in SMALL or word.endswith("ing") or is_follower(word):
            break
        noun = word
        if not any(term.kind in QUALITIES for term in TERMS.get(word, ())):
            break
    text, article = participle(caption[start:stop].lower()), before[1].lower() if before else ""
    return Phrase(text, article, noun, bare=bool(noun) and not article)


def _sayable(old: Phrase | None, new: Phrase | None) -> bool:
    """Whether what differs are phrases of one shape, or single words."""
    phrases = [phrase for phrase in (old, new) if phrase is not None]
    if all(" " not in phrase.text for phrase in phrases):
        return bool(phrases)
    shapes = {shape(phrase) for phrase in phrases}
    return len(shapes) == 1 and "" not in shapes


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
