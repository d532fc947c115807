"""The edit that says the difference of two captions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scot.edits.grammar import PREPOSITIONS, is_follower
from scot.edits.pairs.index import lemmas_of
from scot.edits.pairs.normalize import SMALL
from scot.edits.phrasing import PLACES, QUALITIES, Phrase, addition, kept_words, participle, removal, shape, swap
from scot.edits.record import EditRecord
from scot.edits.rules.change import Dice
from scot.edits.vocabulary import TERMS
from scot.errors import InvalidInput

_ARTICLE_BEFORE = re.compile(r"\b(an?|the)\s+$", re.IGNORECASE)
_ALONE = re.compile(r"(?:,|\b(?:in|is|are))\s+$", re.IGNORECASE)
_OBJECT = re.compile(r"(?: of)?(?: (?:an?|the|that))?(?: [^\W\d_][\w'’-]*){1,5}(?=[,.;]|$)", re.IGNORECASE)
_WORD_BEHIND = re.compile(r"\s+([^\W\d_][\w'’-]*)")
_NEXT = re.compile(r" ([\w'’-]+)")
_PLACE = frozenset([*PLACES, "over", "beneath", "underneath", "atop", "outside", "left", "right", "front", "top", "to"])
_Lemmas = list[tuple[str, int, int]]


def difference(caption: str, target: str, target_image_id: str, dice: Dice) -> EditRecord | None:
    """The edit from one caption to another; None if what differs is no phrase, or too long."""
    lemmas, others = lemmas_of(caption), lemmas_of(target)
    begin = _common([one for one, *_ in lemmas], [one for one, *_ in others])
    rest = min(len(lemmas), len(others)) - begin
    end = min(rest, _common([one for one, *_ in reversed(lemmas)], [one for one, *_ in reversed(others)]))
    old = _phrase(caption, lemmas[begin : len(lemmas) - end])
    new = _phrase(target, others[begin : len(others) - end])
    if relation := _relation(caption, lemmas[begin : len(lemmas) - end], old, new):
        old, new = relation
    elif not _sayable(old, new):
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
    alone = not noun and not article and _ALONE.search(caption[:start]) is not None
    return Phrase(text, article, noun, bare=bool(noun) and not article, alone=alone)


def _relation(caption: str, span: _Lemmas, old: Phrase | None, new: Phrase | None) -> tuple[Phrase, Phrase] | None:
    """Two words of place with what they relate to: *under the table* and *on the table*, not *under* and *on*."""
    if old is None or new is None or not {*old.text.split(), *new.text.split()} <= _PLACE | {"of"}:
        return None
    behind = _OBJECT.match(caption, span[-1][2])
    plain = behind is not None and _PLACE.isdisjoint(behind[0].lower().split())
    whole = behind[0] if behind and plain else _first_noun(caption, span[-1][2])
    return (Phrase(old.text + whole, relation=True), Phrase(new.text + whole, relation=True)) if whole else None


def _first_noun(caption: str, at: int) -> str:
    """The words from ``at`` to the first noun that the vocabulary knows, or to the next word of place."""
    begin = at
    while behind := _NEXT.match(caption, at):
        word = behind[1].lower()
        if word in _PLACE:
            break
        at = behind.end()
        if any(term.kind == "noun" for term in TERMS.get(word, ())):
            break
    return caption[begin:at]


def _sayable(old: Phrase | None, new: Phrase | None) -> bool:
    """Whether what differs are phrases of one shape, or single words."""
    phrases = [phrase for phrase in (old, new) if phrase is not None]
    if all(" " not in phrase.text for phrase in phrases):
        return any(phrase.text not in PREPOSITIONS for phrase in phrases)
    shapes = {shape(phrase) for phrase in phrases}
    return len(shapes) == 1 and "" not in shapes


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
