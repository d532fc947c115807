"""Edits as a person says them: a swap, an insertion or a removal of a phrase, in varied words.

The kind of a phrase decides what can be said of it: *make the car red*, but *a dog instead of the cat*. Of a phrase of
unknown kind only what is always right is said: *lathe instead of anvil*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scot.edits.grammar import AUXILIARIES, CONJUNCTIONS, DETERMINERS, PREPOSITIONS, is_verb
from scot.edits.record import MAX_KEPT_CHARS
from scot.edits.rules.change import Dice
from scot.edits.rules.reading import article, with_article
from scot.edits.vocabulary import TERMS, lemma
from scot.edits.vocabulary.words import FUNCTION_WORDS, NUMBERS

QUALITIES = ("colour", "size", "material", "pattern", "age", "state", "hair", "height", "length")
"""The kinds of adjectives."""
PLACES = ("in", "on", "at", "by", "near", "under", "behind", "beside", "inside", "above", "below", "next", "along")
_JOINS = ("with", "wearing", "holding", "carrying", "and", "having")
_WORD = re.compile(r"[\w'’-]+")

_SWAP = {
    "colour": (
        "make {them} {new}", "make the {noun} {new}", "{new} instead of {old}", "change the {noun} to {new}",
        "change {old} to {new}", "in {new}, not {old}", "the {noun} should be {new}", "I want the {noun} in {new}",
    ),
    "quality": (
        "make {them} {new}", "make the {noun} {new}", "{new} instead of {old}",
        "{a_new} {noun} instead of {a_old} {one}",
        "change {old} to {new}", "the {noun} should be {new}", "not {old} but {new}", "{new}, not {old}",
    ),
    "predicate": (
        "make {them} {new}", "{new} instead of {old}", "change {old} to {new}", "should be {new}", "{new}, not {old}",
        "I want {them} {new}", "{new} instead", "now {new}",
    ),
    "number": (
        "{new} of them", "make it {new}", "{new} {noun} instead of {old}", "there should be {new} {noun}",
        "change {old} to {new}",
    ),
    "noun": (
        "{the_new} instead of {the_old}", "replace {the_old} with {the_new}", "turn {the_old} into {the_new}",
        "swap {the_old} for {the_new}", "change {the_old} to {the_new}", "{the_new}, not {the_old}",
        "I want {the_new} instead of {the_old}", "show {the_new}", "show {the_new} instead", "{the_new} instead",
        "I want {the_new}",
    ),
    "place": (
        "{new} instead of {old}", "{new}, not {old}", "put {them} {new}", "move {them} {new}", "{new} instead", "{new}",
    ),
    "relation": (
        "put {them} {new}", "move {them} {new}", "{new}", "{new} instead", "should be {new}", "{new} instead of {old}",
        "now {new}",
    ),
    "scene": ("{new} instead of {old}", "{new}, not {old}", "show {them} {new}", "{new} instead"),
    "verb": ("{new} instead of {old}", "{new}, not {old}", "should be {new}", "make {them} {new_base}", "now {new}"),
    "other": (
        "{new} instead of {old}", "not {old} but {new}", "change {old} to {new}", "replace {old} with {new}",
        "{new} rather than {old}", "swap {old} for {new}", "{new}, not {old}", "{new} instead", "now {new}",
        "show {new}",
    ),
}  # fmt: skip
_ADD = {
    "quality": (
        "make the {noun} {new}",
        "the {noun} should be {new}",
        "{a_new} {noun}",
        "make {them} {new}",
        "is {new}",
        "I want {a_new} {noun}",
    ),
    "number": ("{new} of them", "make it {new}", "{new} {noun}", "there should be {new} {noun}"),
    "place": ("{new}", "put {them} {new}", "move {them} {new}", "show {them} {new}"),
    "scene": ("{new}", "the same {new}", "show it {new}", "the same scene {new}"),
    "joined": ("{join} {rest}", "add {rest}", "with {rest}", "now {join} {rest}"),
    "verb": ("{new}", "should be {new}", "now {new}"),
    "modifier": ("{a_new} {noun}", "make it {a_new} {noun}", "I want {a_new} {noun}", "{new} {noun} please"),
    "noun": ("add {the_new}", "with {the_new}", "I want {the_new} too"),
    "other": ("{new}", "now {new}", "{new} too"),
}
_REMOVE = {
    "quality": ("not {old}", "the {noun} should not be {old}", "no longer {old}", "{a_noun} that is not {old}"),
    "number": ("just one", "only one of them", "not {old} of them"),
    "place": ("not {old}", "no longer {old}", "anywhere but {old}"),
    "scene": ("not {old}", "no longer {old}"),
    "joined": ("without {the_rest}", "remove {the_rest}", "no {rest_bare}", "take {the_rest} away"),
    "verb": ("not {old}", "no longer {old}", "stop {old}"),
    "modifier": ("not {a_old} {noun}", "any other {noun}", "{a_noun}, but not {a_old} {noun}"),
    "noun": ("without {the_old}", "remove {the_old}", "no {old}", "take {the_old} away"),
    "other": ("without {old}", "remove {old}", "no {old}"),
}
_ASPECTS = {
    "number": "cardinality", "place": "spatial and background", "relation": "spatial and background",
    "scene": "viewpoint", "colour": "direct addressing",
    "quality": "direct addressing", "modifier": "direct addressing", "predicate": "direct addressing",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a caption, without the article in front of them (``article``), and the ``noun`` that they qualify.

    ``many``: a noun in the plural, where the text does not say so; ``bare``: its noun has no article in the caption;
    ``alone``: it is said of the caption's subject, as in *mug, red* or *in red*, if it is an adjective;
    ``relation``: a word of place and what it relates to.
    """

    text: str
    article: str = ""
    noun: str = ""
    many: bool = False
    bare: bool = False
    alone: bool = False
    relation: bool = False

    @property
    def kind(self) -> str:
        """What it is, as the templates distinguish it."""
        words = self.text.split()
        if not words:
            return ""
        if self.relation:
            return "relation"
        if self.text in NUMBERS:
            return "number"
        terms = TERMS.get(self.text, ())
        kinds = {term.kind for term in terms}
        if kinds & {"time", "weather", "style", "photo"}:
            return "scene"
        if kinds & {"place", "side", "background"} or (words[0] in PLACES and len(words) > 1):
            return "place"
        if words[0] in _JOINS and len(words) > 1:
            return "joined"
        if _verb(words[0]) and not self.noun and "noun" not in kinds:
            return "verb"
        if self.noun:
            qualities = [term.kind for term in terms if term.kind in QUALITIES]
            return ("colour" if qualities[0] == "colour" else "quality") if qualities else "modifier"
        if self.alone and not kinds.isdisjoint(QUALITIES):
            return "predicate"
        if "noun" in kinds or any(term.kind == "noun" for term in TERMS.get(words[-1], ())):
            return "noun"
        return "noun" if self.article else "other"


def shape(phrase: Phrase) -> str:
    """``verb``, ``preposition`` or ``noun``, by the first word; empty if the words are no whole phrase."""
    words = phrase.text.split()
    first, last = words[0], words[-1]
    dangling = last in PREPOSITIONS or last in CONJUNCTIONS or last in AUXILIARIES or last in DETERMINERS
    found = "verb" if _verb(first) else "preposition" if first in PREPOSITIONS or first in _JOINS else "noun"
    inside = any(_verb(word) for word in words[1:]) if found == "noun" else bool(phrase.noun)
    return "" if len(words) > 1 and (dangling or inside) else found


def participle(text: str) -> str:
    """A phrase with its verb in *-ing*, if it begins with a known one in *-s*."""
    first, _, rest = text.partition(" ")
    term = next((term for term in TERMS.get(first, ()) if term.form == "s"), None)
    return f"{term.value.plurals[0]} {rest}".strip() if term and _verb(first) else text


def _verb(word: str) -> bool:
    return is_verb(word) and not any(term.kind == "noun" for term in TERMS.get(word, ()))


def swap(old: Phrase, new: Phrase, dice: Dice, *, them: str = "it", subject: bool = True) -> tuple[str, str]:
    """The aspect and the edit of a phrase in the place of another.

    ``them`` is the pronoun of what changes; ``subject``: the caption is about it, so that a pronoun says enough.
    """
    if old.noun and new.noun and lemma(old.noun) != lemma(new.noun):
        old, new = Phrase(old.text, old.article), Phrase(new.text, new.article)
    kind = new.kind if new.kind == old.kind else "quality" if {new.kind, old.kind} == {"colour", "quality"} else "other"
    if kind == "modifier":
        old, new, kind = _whole(old), _whole(new), "noun"
    if kind == "joined":
        kind = "other"
    return _ASPECTS.get(kind, "compare and change"), _say(dice, _SWAP[kind], old, new, _Context(them, subject))


def addition(new: Phrase, dice: Dice, *, them: str = "it", subject: bool = True) -> tuple[str, str]:
    """The aspect and the edit of a phrase that comes in."""
    kind = {"colour": "quality", "predicate": "other"}.get(new.kind, new.kind)
    return _ASPECTS.get(kind, "addition"), _say(dice, _ADD[kind], Phrase(""), new, _Context(them, subject))


def removal(old: Phrase, dice: Dice, *, them: str = "it", subject: bool = True) -> tuple[str, str]:
    """The aspect and the edit of a phrase that goes."""
    kind = {"colour": "quality", "predicate": "other"}.get(old.kind, old.kind)
    return "negation", _say(dice, _REMOVE[kind], old, Phrase(""), _Context(them, subject))


def kept_words(caption: str, edited: str) -> str:
    """The words of a caption that carry meaning and are in the edited caption too, separated by commas."""
    there = set(_WORD.findall(edited.lower()))
    kept = dict.fromkeys(
        word for word in _WORD.findall(caption) if word.lower() in there and word.lower() not in FUNCTION_WORDS["small"]
    )
    text = ", ".join(kept)
    return text if len(text) <= MAX_KEPT_CHARS else text[:MAX_KEPT_CHARS].rpartition(",")[0]


@dataclass(frozen=True, slots=True)
class _Context:
    them: str
    subject: bool


def _say(dice: Dice, templates: tuple[str, ...], old: Phrase, new: Phrase, context: _Context) -> str:
    noun = new.noun or old.noun
    many = new.many or old.many or _many(noun)
    fresh = new.article in ("a", "an") or (not new.article and not new.many and _one(new.text))
    fields = {
        "old": old.text, "new": new.text, "noun": noun, "them": context.them, "new_base": _base(new.text),
        "one": "ones" if many else "one", "a_old": _a(old, many), "a_new": _a(new, many),
        "a_noun": noun if many else with_article(noun or "one"),
        "the_old": f"the {old.text}" if old.article or old.many or _one(old.text) else old.text,
        "the_new": with_article(new.text) if fresh else f"{new.article} {new.text}".strip(),
    }  # fmt: skip
    join, _, rest = (new.text or old.text).partition(" ")
    bare = re.sub(r"^(?:an?|the|his|her|their|its) ", "", rest)
    fields |= {"join": join, "rest": rest, "rest_bare": bare, "the_rest": f"the {bare}"}
    fitting = [text for text in templates if noun or "noun}" not in text]
    if noun and not context.subject:  # "make it red" would be said of the subject
        fitting = [text for text in fitting if "noun}" in text or "old}" in text] or fitting
    if not fields["new_base"]:
        fitting = [text for text in fitting if "new_base" not in text]
    return dice.one_of(fitting).format(**fields)


def _whole(phrase: Phrase) -> Phrase:
    """The phrase together with its noun."""
    bare = phrase.bare or _many(phrase.noun)
    return Phrase(f"{phrase.text} {phrase.noun}", "" if bare else article(phrase.text), many=bare)


def _a(phrase: Phrase, many: bool) -> str:
    return phrase.text if many or phrase.bare or not phrase.text else f"{article(phrase.text)} {phrase.text}"


def _many(noun: str) -> bool:
    terms = [term for term in TERMS.get(noun, ()) if term.kind == "noun"]
    if terms:
        return terms[0].form == "many" or terms[0].group.mass
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def _one(text: str) -> bool:
    """Whether a text is a known noun in the singular that needs an article."""
    return any(term.kind == "noun" and term.form == "one" and not term.group.mass for term in TERMS.get(text, ()))


def _base(verb: str) -> str:
    """The base form of a known verb in -ing; empty if it is none."""
    first, _, rest = verb.partition(" ")
    term = next((term for term in TERMS.get(first, ()) if term.form == "ing"), None)
    return " ".join(filter(None, (term.value.name, rest))) if term else ""
