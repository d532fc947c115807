"""The words the rules engine knows: groups of values that can replace each other, each with its texts.

A *form* is where a value stands in a sentence: ``adjective`` before a noun, ``phrase`` after *with* (or by itself for
places and settings), ``noun`` and ``plural`` for things. Values swap within a group and a form: grammar stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

FORMS = ("adjective", "phrase", "noun", "plural")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a group, and its texts in each form; empty for a form that it does not have."""

    name: str
    adjective: tuple[str, ...] = ()
    phrase: tuple[str, ...] = ()
    noun: tuple[str, ...] = ()
    plural: tuple[str, ...] = ()

    def texts(self, form: str) -> tuple[str, ...]:
        """Its texts in a form."""
        texts: tuple[str, ...] = getattr(self, form)
        return texts


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text that the engine knows, and what it means."""

    text: str
    group: str
    value: Value
    form: str
    others: tuple[tuple[Value, tuple[str, ...]], ...]
    """The other values of the group that have this form, and their texts in it."""
    is_noun: bool
    """Whether a caption can be about it."""
    is_feature: bool
    """Whether it can stand behind *with* on a garment."""


def _adjectives(*values: str) -> dict[str, Value]:
    """``"red|scarlet"`` is the value *red*, with the second text *scarlet*."""
    texts = [tuple(value.split("|")) for value in values]
    return {adjectives[0]: Value(adjectives[0], adjective=adjectives) for adjectives in texts}


def _phrases(*values: str) -> dict[str, Value]:
    texts = [tuple(value.split("|")) for value in values]
    return {phrases[0]: Value(phrases[0], phrase=phrases) for phrases in texts}


def _both(**values: tuple[str, str]) -> dict[str, Value]:
    return {
        name: Value(name, adjective=tuple(adjectives.split("|")), phrase=tuple(filter(None, phrases.split("|"))))
        for name, (adjectives, phrases) in values.items()
    }


def _nouns(*values: str) -> dict[str, Value]:
    """``"car|automobile"``; the plural adds *s* unless given as in ``"kitten/kittens"``."""
    nouns: dict[str, Value] = {}
    for value in values:
        words = [word.partition("/") for word in value.split("|")]
        singular = tuple(one for one, _, _ in words)
        nouns[singular[0]] = Value(
            singular[0], noun=singular, plural=tuple(many or f"{one}s" for one, _, many in words)
        )
    return nouns


GROUPS: dict[str, dict[str, Value]] = {
    "colour": _adjectives(
        "red|scarlet", "orange", "yellow", "green", "blue", "purple|violet", "pink", "brown", "black", "white",
        "grey|gray", "teal|turquoise",
    ),
    "size": _adjectives("small|little|tiny", "large|big|huge"),
    "pattern": _both(
        plain=("plain|solid", ""),
        striped=("striped|horizontally striped", "stripes|horizontal stripes"),
        pinstriped=("pinstriped|vertically striped", "pinstripes|vertical stripes"),
        checked=("checked|plaid", "checks|a plaid pattern"),
        dotted=("dotted|polka-dot", "polka dots|dots"),
        starry=("starry|star-print", "a star print|little stars"),
    ),
    "sleeve": _both(
        sleeveless=("sleeveless", "no sleeves"),
        short=("short-sleeved", "short sleeves"),
        long=("long-sleeved", "long sleeves"),
    ),
    "neck": _both(
        round=("crew-neck", "a round neck|a crew neck"),
        v=("v-neck", "a v-neck|a v-shaped neckline"),
        collar=("collared", "a collar|a pointed collar"),
        high=("turtleneck", "a turtleneck|a high neck"),
    ),
    "detail": _phrases(
        "a pocket|a patch pocket", "buttons|a row of buttons", "a belt|a buckled belt", "a heart badge|a heart"
    ),
    "top length": _adjectives("cropped|waist-length", "longline|thigh-length"),
    "gown length": _adjectives("mini|short", "midi|knee-length", "maxi|ankle-length"),
    "leg length": _adjectives("thigh-high|short", "three-quarter|knee-length", "full-length|ankle-length"),
    "top": _nouns(
        "shirt|tee|top", "sweater|jumper|pullover", "jacket|bomber jacket", "coat|overcoat", "dress/dresses|frock"
    ),
    "bottom": _nouns("skirt"),
    "legs": {"trousers": Value("trousers", noun=("trousers", "pants"))},
    "thing": _nouns(
        "cat|kitten", "bird", "fish/fish|fish/fishes", "car|automobile", "boat|sailboat", "house|cottage", "tree",
        "flower", "balloon", "umbrella|parasol", "mushroom|toadstool", "star",
    ),
    "count": _adjectives("one|a single", "two|a pair of", "three", "four"),
    "place": _phrases("on the left|at the left side", "in the middle|in the centre", "on the right|at the right side"),
    "setting": {
        phrases[0]: Value(phrases[0], phrase=phrases, noun=nouns) for phrases, nouns in (
            (("in a meadow", "on green grass"), ("a meadow", "green grass")),
            (("on a beach", "by the sea"), ("a beach", "the seaside")),
            (("in the desert", "among sand dunes"), ("a desert", "sand dunes")),
            (("in the snow", "on a snowy day"), ("snow", "a winter day")),
            (("at night", "under the moon"), ("the night sky", "a moonlit night")),
            (("in the city", "in front of skyscrapers"), ("a city", "skyscrapers")),
            (("in a room", "indoors"), ("a room", "an indoor place")),
            (("in the mountains", "below rocky peaks"), ("mountains", "rocky peaks")),
        )
    },
}  # fmt: skip

GARMENTS = ("top", "bottom", "legs")
NOUNS = (*GARMENTS, "thing")
LENGTH_OF = {"top": "top length", "dress": "gown length", "bottom": "gown length", "legs": "leg length"}


def others(group: str, name: str, form: str) -> tuple[tuple[Value, tuple[str, ...]], ...]:
    """The other values of a group that have a form, and their texts in it."""
    return tuple(
        (value, value.texts(form)) for value in GROUPS[group].values() if value.name != name and value.texts(form)
    )


def _words() -> dict[str, Word]:
    words: dict[str, Word] = {}
    for group, values in GROUPS.items():
        for value in values.values():
            for form in ("phrase",) if group == "setting" else FORMS:
                is_feature = form == "phrase" and group not in ("place", "setting")
                for text in value.texts(form):
                    known = Word(text, group, value, form, others(group, value.name, form), group in NOUNS, is_feature)
                    words.setdefault(text, known)
    return words


def _any_of(words: Iterable[str]) -> str:
    """A pattern of the words shaped as a tree of their letters, twice as quick as one alternative a word."""
    tails: dict[str, list[str]] = {}
    for word in words:
        tails.setdefault(word[:1], []).append(word[1:])
    ends = tails.pop("", None) is not None
    if not tails:
        return ""
    branches = [re.escape(letter) + _any_of(rest) for letter, rest in tails.items()]
    tree = branches[0] if len(branches) == 1 and not ends else f"(?:{'|'.join(branches)})"
    return f"{tree}?" if ends else tree


WORDS: dict[str, Word] = _words()
"""Every known piece of text, with the first meaning it has."""

SPLIT = re.compile(rf"(?<![\w-])({_any_of(WORDS)})(?![\w-])").split
"""A text into what is unknown and what is known, by turns; the longest known words first."""
