"""Edits of scenes: things, companion things, sizes and counts, places and settings."""

from __future__ import annotations

import re

from scot.edits.rules.change import Change, Dice
from scot.edits.rules.lexicon import GROUPS, WORDS, Value, Word
from scot.edits.rules.reading import Reading, article, spliced, with_article

_THING = (
    "replace the {old} with {new}",
    "{new} instead of the {old}",
    "turn the {old} into {new}",
    "swap the {old} for {new}",
)
_COMPANION = ("add {new}", "with {new} beside {them}", "put {new} next to {them}")
_COMPANION_AWAY = ("remove the {old}", "without the {old}", "take the {old} away", "no {old}")
_COMPANION_SWAP = ("replace the {old} with {new}", "{new} instead of the {old}", "swap the {old} for {new}")
_BESIDE = ("next to", "and", "with", "beside")
_SIZE = ("make {them} {bigger}", "{new} instead of {old}", "make {them} {new}", "make the {noun} {new}")
_COUNT = (
    "{number} of them",
    "{number} {noun} instead of {old}",
    "there should be {number} {noun}",
    "make it {number}",
)
_ONE_STEP = {1: ("add one more",), -1: ("take one away",)}
_PLACE = ("move {them} to the {side}", "put {them} {new}", "{new} instead of {old}", "{new}")
_SETTING = (
    "{new} instead",
    "put {them} {new}",
    "change the background to {background}",
    "{new} instead of {old}",
)

_THINGS = tuple(GROUPS["thing"].values())
_NUMBERS = tuple(GROUPS["count"])
_LIVELY = tuple(
    GROUPS["colour"][name].adjective
    for name in ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")
)
_BEFORE_COMPANION = re.compile(r"(,? (?:next to|and|with|beside|near) )(an? (?:[\w-]+ )?)$")
# An article with none of these words behind it is the noun's own: not the man's in "a man in front of the tree".
_BEFORE_ONE = re.compile(r"an? (?:(?!(?:the|of|in|on|at|by|to|for|from|with|and|or|is|are|that) )[\w-]+ )*")


def change_thing(reading: Reading, dice: Dice) -> Change | None:
    """Another thing in place of one."""
    things = reading.of("thing")
    at = dice.one_of(things)
    old, value = reading.words[at], _new_thing(reading, dice)
    if value is None:
        return None
    word = dice.one_of(value.texts(old.form))
    new = word if old.form == "plural" else with_article(word)
    group = "thing" if at == things[0] else "companion"
    edit = dice.one_of(_THING).format(old=old.text, new=new)
    return Change(group, "compare and change", edit, reading.replaced(at, word))


def change_companion(reading: Reading, dice: Dice) -> Change | None:
    """A second thing more, less, or another."""
    things = reading.of("thing")
    if len(things) == 2:
        start, stop = reading.stop(things[0]), reading.start(things[1])
        beside = _BEFORE_COMPANION.search(reading.text, start, stop)
        if beside is not None:
            return _change_beside(reading, dice, things[1], beside)
    place = reading.first("place")
    if len(things) != 1 or place is None:
        return None
    new = _new_companion(reading, dice)
    if new is None:
        return None
    edit = dice.one_of(_COMPANION).format(new=new, them=reading.pronoun(things[0]))
    joined = f"{reading.words[place].text} {dice.one_of(_BESIDE)} {new}"
    return Change("companion", "addition", edit, reading.replaced(place, joined))


def _change_beside(reading: Reading, dice: Dice, at: int, beside: re.Match[str]) -> Change | None:
    old, stop = reading.words[at].text, reading.stop(at)
    if dice.chance(0.5):
        edit = dice.one_of(_COMPANION_AWAY).format(old=old)
        return Change("companion", "negation", edit, spliced(reading.text, beside.start(), stop, ""))
    new = _new_companion(reading, dice)
    if new is None:
        return None
    edit = dice.one_of(_COMPANION_SWAP).format(old=old, new=new)
    return Change("companion", "compare and change", edit, spliced(reading.text, beside.start(2), stop, new))


def _new_companion(reading: Reading, dice: Dice) -> str | None:
    value = _new_thing(reading, dice)
    if value is None:
        return None
    return with_article(f"{dice.one_of(dice.one_of(_LIVELY))} {dice.one_of(value.noun)}")


def _new_thing(reading: Reading, dice: Dice) -> Value | None:
    """A thing that the caption does not have yet."""
    taken = {word.value.name for word in reading.words if word.group == "thing"}
    if len(taken) == len(_THINGS):
        return None
    while (value := dice.one_of(_THINGS)).name in taken:
        pass
    return value


def change_size(reading: Reading, dice: Dice) -> Change:
    """Larger or smaller."""
    at, old, value, new = _another(reading, dice, "size")
    edit = dice.one_of(_SIZE).format(
        them=_them(reading),
        bigger="bigger" if value.name == "large" else "smaller",
        new=new,
        old=old.text,
        noun=reading.words[reading.groups.index("thing")].text,
    )
    return Change("size", "comparative", edit, reading.replaced(at, new))


def change_count(reading: Reading, dice: Dice) -> Change | None:
    """More or fewer of the first thing."""
    thing = reading.groups.index("thing")
    counted = _counted(reading, thing)
    if counted is None:
        return None
    old, start, stop = counted
    value, numerals = dice.one_of(old.others)
    number, one = value.name, value.name == "one"
    noun = dice.one_of(reading.words[thing].value.texts("noun" if one else "plural"))
    step = _NUMBERS.index(number) - _NUMBERS.index(old.value.name)
    edit = dice.one_of(_COUNT + _ONE_STEP.get(step, ())).format(number=number, noun=noun, old=old.value.name)
    between = reading.text[stop : reading.start(thing)]
    numeral = dice.one_of((*numerals, article(between.lstrip() + noun)) if one else numerals)
    caption = reading.text[:start] + numeral + between + noun + reading.text[reading.stop(thing) :]
    return Change("count", "cardinality", edit, caption)


def _counted(reading: Reading, thing: int) -> tuple[Word, int, int] | None:
    """The count of a thing and its span in the text, as a word (*two cats*) or an article (*a cat*)."""
    at = reading.first("count")
    if at is not None and at < thing:
        return reading.words[at], reading.start(at), reading.stop(at)
    if reading.words[thing].form == "plural":
        return None
    # An article may open the sentence's frame ("a picture of a cat"): the nearest one counts.
    before = reading.start(thing)
    start = max(reading.text.rfind(" a ", 0, before), reading.text.rfind(" an ", 0, before)) + 1
    if _BEFORE_ONE.fullmatch(reading.text, start, before) is None:
        return None
    return WORDS["one"], start, reading.text.index(" ", start)


def change_place(reading: Reading, dice: Dice) -> Change:
    """To another side."""
    at, old, value, new = _another(reading, dice, "place")
    edit = dice.one_of(_PLACE).format(them=_them(reading), side=value.name.rsplit(" ", 1)[1], new=new, old=old.text)
    return Change("place", "spatial and background", edit, reading.replaced(at, new))


def change_setting(reading: Reading, dice: Dice) -> Change:
    """Somewhere else."""
    at, old, value, new = _another(reading, dice, "setting")
    edit = dice.one_of(_SETTING).format(
        new=new,
        them=_them(reading),
        background=dice.one_of(value.noun),
        old=old.text,
    )
    return Change("setting", "spatial and background", edit, reading.replaced(at, new))


def _another(reading: Reading, dice: Dice, group: str) -> tuple[int, Word, Value, str]:
    """The position of a group's first word, the word, another value of the group, and a text of that value."""
    at = reading.groups.index(group)
    old = reading.words[at]
    value, words = dice.one_of(old.others)
    return at, old, value, dice.one_of(words)


def _them(reading: Reading) -> str:
    return reading.pronoun(reading.groups.index("thing"))
