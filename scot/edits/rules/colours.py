"""Edits of colours, of garments and things alike."""

from __future__ import annotations

from scot.edits.rules.change import Change
from scot.edits.rules.dice import Dice
from scot.edits.rules.reading import Reading

_NAMING_IT = ("make the {noun} {new}", "the {noun} should be {new}", "paint the {noun} {new}")
_BARE: tuple[str, ...] = (
    "make {them} {new}",
    "{new} instead of {old}",
    "in {new}",
    "change the colour to {new}",
    "is {new}",
    "I want {them} in {new}",
)
_EITHER = _NAMING_IT + _BARE


def change_colour(reading: Reading, dice: Dice) -> Change:
    """Another colour; what has it is named unless there is no doubt."""
    colours = reading.of("colour")
    at = dice.one_of(colours)
    old = reading.words[at]
    new = dice.one_of(dice.one_of(old.others)[1])
    noun = reading.noun_after(at)
    name, says = ("", _BARE) if noun is None else (reading.words[noun].text, _EITHER)
    if noun is not None and len(colours) > 1 and noun != reading.noun():
        says = _NAMING_IT
    edit = dice.one_of(says).format(noun=name, new=new, old=old.text, them=reading.pronoun(noun))
    return Change("colour", "direct addressing", edit, reading.replaced(at, new))
