"""A caption as units: the words and phrases that the vocabulary knows, and the noun phrases that they form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scot.edits.grammar import AUXILIARIES, CONJUNCTIONS, DETERMINERS, PREPOSITIONS, is_follower, is_verb
from scot.edits.phrasing import QUALITIES
from scot.edits.rules.reading import article
from scot.edits.vocabulary import TERMS, Term

_WORD = re.compile(r"[\w'’]+(?:-[\w'’]+)*")
_MOST_WORDS = 5  # of a phrase of the vocabulary
_ARTICLE = re.compile(r"(?:^|(?<=[^\w-]))(an?)( +)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, or a phrase of the vocabulary: its text in lower case, its place, and whether punctuation follows."""

    text: str
    start: int
    stop: int
    closed: bool

    def term(self, *kinds: str) -> Term | None:
        """Its meaning of one of these kinds."""
        return next((term for term in TERMS.get(self.text, ()) if term.kind in kinds), None)


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with what stands in front of it; all are numbers of units. ``determiner`` is -1 without one."""

    noun: int
    term: Term
    determiner: int
    adjectives: tuple[int, ...]

    @property
    def first(self) -> int:
        """The first unit."""
        return self.determiner if self.determiner >= 0 else (*self.adjectives, self.noun)[0]


class Reading:
    """The units and noun phrases of a caption. Changes return a new text with correct articles."""

    def __init__(self, caption: str) -> None:
        self.text = caption
        self.units = _units(caption)
        self.words = frozenset(word for unit in self.units for word in unit.text.split())
        self.phrases = [phrase for at in range(len(self.units)) if (phrase := self._phrase(at)) is not None]
        self.groups = frozenset(phrase.term.group.name for phrase in self.phrases)

    def before(self, at: int) -> str:
        """The text of the unit before one; empty at the beginning and behind punctuation."""
        return self.units[at - 1].text if at > 0 and not self.units[at - 1].closed else ""

    def behind(self, at: int) -> str:
        """The text of the unit behind one; empty at the end and before punctuation."""
        return self.units[at + 1].text if at + 1 < len(self.units) and not self.units[at].closed else ""

    def determiner(self, phrase: NounPhrase) -> str:
        """The text of a noun phrase's determiner; empty without one."""
        return self.units[phrase.determiner].text if phrase.determiner >= 0 else ""

    def head(self, at: int) -> str:
        """The noun that the word at a unit stands before, known or not; empty if the noun phrase ends there."""
        first = at
        while at + 1 < len(self.units) and not self.complete(at):
            at += 1
        return self.units[at].text if at > first and self.units[at].text not in DETERMINERS else ""

    def without_auxiliary(self) -> str:
        """The text without its first *is* or *are*."""
        at = next((at for at, unit in enumerate(self.units) if unit.text in ("is", "are")), None)
        return self.text if at is None else self.replaced(at, at, "")

    def complete(self, at: int) -> bool:
        """Whether a noun phrase can end here."""
        behind = self.behind(at)
        return not behind or is_follower(behind.split()[0]) or (self._is_many(at) and is_base(behind))

    def _is_many(self, at: int) -> bool:
        term = self.units[at].term("noun")
        return term is not None and (term.form == "many" or term.text in term.value.plurals)

    def phrase_at(self, at: int) -> NounPhrase | None:
        """The noun phrase whose first unit is this one."""
        return next((phrase for phrase in self.phrases if phrase.first == at), None)

    def _phrase(self, at: int) -> NounPhrase | None:
        """The noun phrase that ends at a unit; None where an unknown word makes it doubtful."""
        term = self.units[at].term("noun")
        if term is None or not self.complete(at):
            return None
        first = at
        while first > 0 and self.before(first) and self.units[first - 1].term(*QUALITIES):
            first -= 1
        before = self.before(first)
        if len(term.value.plurals) and term.text in term.value.plurals and before not in ("a", "an", "one", "this"):
            term = Term(term.text, term.group, term.value, "many")  # sheep
        adjectives = tuple(range(first, at))
        if before in DETERMINERS:
            return NounPhrase(at, term, first - 1, adjectives)
        edge = before in PREPOSITIONS or before in CONJUNCTIONS or before in AUXILIARIES or is_verb(before)
        return NounPhrase(at, term, -1, adjectives) if not before or edge else None

    def replaced(self, first: int, last: int, new: str) -> str:
        """The text with the units from ``first`` to ``last`` replaced."""
        return self.spliced(self.units[first].start, self.units[last].stop, new)

    def spliced(self, start: int, stop: int, new: str) -> str:
        """The text with a span replaced (removed, if ``new`` is empty), in the case of the caption."""
        head, tail = self.text[:start], self.text[stop:]
        if not new:
            tail = tail.lstrip() if not head or head[-1] == " " else tail
            head = head.rstrip() if not tail or tail[0] in ".,!?;:" else head
        if self.text.isupper():
            new = new.upper()
        elif not head and self.text[:1].isupper():
            if new and stop == 0:
                tail = tail[:1].lower() + tail[1:]
            new, tail = (new[:1].upper() + new[1:], tail) if new else ("", tail[:1].upper() + tail[1:])
        if found := _ARTICLE.search(head):
            fitting = article((new or tail).lower())
            fitting = fitting.upper() if self.text.isupper() else fitting
            head = head[: found.start(1)] + (fitting.capitalize() if found[1][0].isupper() else fitting) + found[2]
        return f"{head}{new}{tail}"

    def appended(self, phrase: str, *, join: str = " ") -> str:
        """The text with a phrase at its end, before the last punctuation."""
        end = len(self.text.rstrip(" .!"))
        return self.spliced(end, end, f"{join}{phrase}")


def is_base(word: str) -> bool:
    """Whether a word is a verb, and no noun: *dogs play*."""
    terms = TERMS.get(word, ())
    return any(term.form == "base" for term in terms) and not any(term.kind == "noun" for term in terms)


def _units(caption: str) -> list[Unit]:
    found = list(_WORD.finditer(caption))
    lower = [match[0].lower() for match in found]
    joined = [
        n + 1 < len(found) and caption[match.end() : found[n + 1].start()] == " " for n, match in enumerate(found)
    ]
    units: list[Unit] = []
    at = 0
    while at < len(found):
        size = next((size for size in range(_MOST_WORDS, 1, -1) if _known(lower, joined, at, size)), 1)
        last = at + size - 1
        text = " ".join(lower[at : last + 1])
        units.append(Unit(text, found[at].start(), found[last].end(), not joined[last]))
        at = last + 1
    return units


def _known(words: Sequence[str], joined: Sequence[bool], at: int, size: int) -> bool:
    return at + size <= len(words) and all(joined[at : at + size - 1]) and " ".join(words[at : at + size]) in TERMS
