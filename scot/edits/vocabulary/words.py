"""Reads the packaged vocabulary (the text files beside this one, which describe their format)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

FILES = ("nouns", "adjectives", "verbs", "scenes")
_VOWEL = re.compile(r"[aeiouy]")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
IRREGULAR = {
    "sat": "sit", "stood": "stand", "lying": "lie", "laying": "lie", "ran": "run", "running": "run", "men's": "man",
    "worn": "wear", "wore": "wear", "held": "hold", "ate": "eat", "eaten": "eat", "rode": "ride", "ridden": "ride",
    "its": "it", "their": "it", "his": "it", "her": "it", "feet": "foot", "teeth": "tooth", "colour": "color",
    "colours": "color", "coloured": "color", "colored": "color", "centre": "center", "theatre": "theater",
    "litre": "liter", "tyre": "tire", "an": "a", "is": "be", "are": "be", "was": "be", "were": "be", "being": "be",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a group: its synonyms, and their plurals (of nouns), in parallel."""

    texts: tuple[str, ...]
    plurals: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its first text."""
        return self.texts[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Values that can replace each other; ``kind`` says what they are, ``traits`` the groups of fitting adjectives."""

    name: str
    kind: str
    values: tuple[Value, ...]
    traits: tuple[str, ...] = ()
    subjects: str = ""
    mass: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A piece of text that the vocabulary knows. ``form``: ``one`` or ``many`` of a noun; ``ing``, ``s``, ``base``."""

    text: str
    group: Group = field(repr=False)
    value: Value
    form: str = "one"

    @property
    def kind(self) -> str:
        """The kind of its group."""
        return self.group.kind


def _read(name: str) -> Iterator[Group]:
    for header, body in _sections(name):
        yield _group(name, header, ",".join(body))


def _sections(name: str) -> Iterator[tuple[str, list[str]]]:
    """The headers of a file with the lines below each."""
    header, lines = "", list[str]()
    for line in [*files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8").splitlines(), "[]"]:
        if not line.startswith("["):
            lines += [] if line.startswith("#") or not line.strip() else [line]
            continue
        if header:
            yield header, lines
        header, lines = line[1:-1], []


def _group(file: str, header: str, body: str) -> Group:
    words = re.split(r" (?=kind=|traits=|subject=|mass\b|plural\b)", header)
    options = dict(word.partition("=")[::2] for word in words[1:])
    default = {"nouns": "noun", "adjectives": "state"}.get(file, "known")
    values = tuple(_value(file, item.strip(), options) for item in body.split(",") if item.strip())
    traits = tuple(options.get("traits", "").split())
    kind, subjects = options.get("kind", default), options.get("subject", "")
    return Group(words[0], kind, values, traits, subjects, "mass" in options or "plural" in options)


def _value(file: str, item: str, options: dict[str, str]) -> Value:
    texts, forms = zip(*(text.partition("/")[::2] for text in item.split("|")), strict=True)
    if file == "verbs":
        return Value(texts, tuple(form or f"{text}ing" for text, form in zip(texts, forms, strict=True)))
    if file != "nouns" or "mass" in options or "plural" in options:
        return Value(texts)
    return Value(texts, tuple(form or f"{text}s" for text, form in zip(texts, forms, strict=True)))


def third_person(verb: str) -> str:
    """``sits``, ``watches``, ``carries``."""
    if verb.endswith(("s", "x", "ch", "sh", "o")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}s"


def _terms() -> dict[str, tuple[Term, ...]]:
    terms: dict[str, list[Term]] = {}
    for group in GROUPS.values():
        verb = group.kind == "swap" or group.name == "known"
        for value in group.values:
            plurals = value.plurals or ("",) * len(value.texts)
            for text, plural in zip(value.texts, plurals, strict=True):
                forms = {"one": text, "many": plural}
                if verb:
                    forms = {"base": text, "ing": plural, "s": third_person(text)}
                for form, written in forms.items():
                    if written:
                        terms.setdefault(written, []).append(Term(written, group, value, form))
    return {text: tuple(found) for text, found in terms.items()}


GROUPS: dict[str, Group] = {group.name: group for name in FILES for group in _read(name)}
"""All groups by name."""

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    name: frozenset(" ".join(lines).split()) for name, lines in _sections("function_words")
}
"""The words of grammar by their place in a sentence."""

TERMS: dict[str, tuple[Term, ...]] = _terms()
"""Every known text with its meanings."""


def value_of(text: str, kind: str) -> Term | None:
    """The first meaning of a text that has a kind."""
    return next((term for term in TERMS.get(text, ()) if term.kind == kind), None)


def other_values(term: Term) -> list[str]:
    """The first texts of the other values of a term's group, in its form."""
    return [in_form(value, term) for value in term.group.values if value is not term.value]


def in_form(value: Value, term: Term) -> str:
    """The first text of a value, in the form of a term."""
    return value.plurals[0] if term.form == "many" and value.plurals else value.texts[0]


@cache
def lemma(word: str) -> str:
    """A word without its inflection; synonyms and spellings of one word are equal.

    Not a dictionary: words of the vocabulary first, then the endings -s, -ed and -ing.
    """
    word = IRREGULAR.get(word, word).removesuffix("'s").removesuffix("’s")
    if word in TERMS:
        value = TERMS[word][0].value
        single = next((text for text in value.texts if " " not in text), value.name)
        return _stem(single)
    return _stem(word)


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        word = f"{word[:-3]}y"
    elif word.endswith(("ses", "xes", "ches", "shes", "zes")) and len(word) > 4:
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and _VOWEL.search(rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "sl" else rest
            break
    return word.removesuffix("e") if len(word) > 3 else word
