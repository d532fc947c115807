"""The words the rules engine knows: groups of values that can stand in for each other, each with the ways it is said.

A *form* is where a value stands in a sentence: ``adjective`` before a noun, ``phrase`` after *with* (or by itself for
places and settings), ``noun`` and ``plural`` for things. Values swap within a group and a form: grammar stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Forms = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Sense:
    """What a piece of a caption means."""

    group: str
    value: str
    form: str


def _adjectives(*values: str) -> dict[str, Forms]:
    """``"red|scarlet"`` is the value *red*, also said *scarlet*."""
    return {value.split("|")[0]: {"adjective": tuple(value.split("|"))} for value in values}


def _phrases(*values: str) -> dict[str, Forms]:
    return {value.split("|")[0]: {"phrase": tuple(value.split("|"))} for value in values}


def _both(**values: tuple[str, str]) -> dict[str, Forms]:
    return {
        name: {"adjective": tuple(adj.split("|")), "phrase": tuple(filter(None, phrase.split("|")))}
        for name, (adj, phrase) in values.items()
    }


def _nouns(*values: str) -> dict[str, Forms]:
    """``"car|automobile"``; the plural adds *s* unless given as in ``"kitten/kittens"``."""
    nouns: dict[str, Forms] = {}
    for value in values:
        words = [word.split("/") for word in value.split("|")]
        singular = tuple(word[0] for word in words)
        nouns[singular[0]] = {
            "noun": singular,
            "plural": tuple(word[1] if len(word) > 1 else f"{word[0]}s" for word in words),
        }
    return nouns


GROUPS: dict[str, dict[str, Forms]] = {
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
    "bottom": {"skirt": {"noun": ("skirt",), "plural": ("skirts",)}},
    "legs": {"trousers": {"noun": ("trousers", "pants"), "plural": ()}},
    "thing": _nouns(
        "cat|kitten", "bird", "fish/fish|fish/fishes", "car|automobile", "boat|sailboat", "house|cottage", "tree",
        "flower", "balloon", "umbrella|parasol", "mushroom|toadstool", "star",
    ),
    "count": _adjectives("one|a single", "two|a pair of", "three", "four"),
    "place": _phrases("on the left|at the left side", "in the middle|in the centre", "on the right|at the right side"),
    "setting": {
        **{values[0]: {"phrase": values, "noun": nouns} for values, nouns in (
            (("in a meadow", "on green grass"), ("a meadow", "green grass")),
            (("on a beach", "by the sea"), ("a beach", "the seaside")),
            (("in the desert", "among sand dunes"), ("a desert", "sand dunes")),
            (("in the snow", "on a snowy day"), ("snow", "a winter day")),
            (("at night", "under the moon"), ("the night sky", "a moonlit night")),
            (("in the city", "in front of skyscrapers"), ("a city", "skyscrapers")),
            (("in a room", "indoors"), ("a room", "an indoor place")),
            (("in the mountains", "below rocky peaks"), ("mountains", "rocky peaks")),
        )},
    },
}  # fmt: skip

GARMENTS = ("top", "bottom", "legs")
LENGTH_OF = {"top": "top length", "dress": "gown length", "bottom": "gown length", "legs": "leg length"}


def _surfaces() -> dict[str, Sense]:
    surfaces: dict[str, Sense] = {}
    for group, values in GROUPS.items():
        for value, forms in values.items():
            for form, words in forms.items():
                for word in words:
                    if group != "setting" or form == "phrase":
                        surfaces.setdefault(word, Sense(group, value, form))
    return surfaces


SURFACES: dict[str, Sense] = _surfaces()
"""Every known piece of text, with the first sense it has."""

PATTERN = re.compile(
    r"(?<![\w-])(?:" + "|".join(re.escape(word) for word in sorted(SURFACES, key=len, reverse=True)) + r")(?![\w-])"
)
"""Finds known pieces, the longest first."""
