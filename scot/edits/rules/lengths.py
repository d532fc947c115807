"""Edits of a garment's length, which tops, gowns and trousers say in words of their own."""

from __future__ import annotations

from scot.edits.rules.change import Change
from scot.edits.rules.dice import Dice
from scot.edits.rules.lexicon import GROUPS, LENGTH_OF, others
from scot.edits.rules.reading import Reading

_ADD: tuple[str, ...] = ("make it {new}", "is {new}", "change the length to {new}")
_SWAP = (*_ADD, "{new} instead of {old}")
_COMPARE = ("make it {longer}", "a {longer} one", "{longer}")
_ADD_OR_COMPARE, _SWAP_OR_COMPARE = (*_ADD, *_COMPARE), (*_SWAP, *_COMPARE)
_AWAY = ("make it regular length", "of regular length", "not {old}", "medium length")

_GROUPS = {group: GROUPS[group] for group in LENGTH_OF.values()}
_LONGEST = {group: list(values)[-1] for group, values in _GROUPS.items()}
_OTHERS = {
    group: {word: others(group, value.name, "adjective") for value in values.values() for word in value.adjective}
    for group, values in _GROUPS.items()
}
"""For each length as it is said of a kind of garment, the other lengths."""
_TOP_LENGTHS = others("top length", "", "adjective")
_MIDDLE = {word for group in ("gown length", "leg length") for word in list(_GROUPS[group].values())[1].adjective}


def change_length(reading: Reading, dice: Dice) -> Change | None:
    """Another length; a top of ordinary length is not said to have one."""
    noun = reading.words[reading.noun()]
    group = LENGTH_OF["dress" if noun.value.name == "dress" else noun.group]
    known = _OTHERS[group]
    at = next((at for at, word in enumerate(reading.words) if word.text in known), None)
    of_a_top = group == "top length"
    if at is None:
        if not of_a_top:
            return None
        value, words = dice.one_of(_TOP_LENGTHS)
        old, new, says = "", dice.one_of(words), _ADD_OR_COMPARE
        caption = reading.before_noun(new)
    else:
        old = reading.words[at].text
        if of_a_top and dice.chance(0.4):
            return Change("length", "comparative", dice.one_of(_AWAY).format(old=old), reading.replaced(at, ""))
        value, words = dice.one_of(known[old])
        new, says = dice.one_of(words), _SWAP_OR_COMPARE if old in _MIDDLE else _SWAP
        caption = reading.replaced(at, new)
    longer = "longer" if value.name == _LONGEST[group] else "shorter"
    return Change("length", "comparative", dice.one_of(says).format(new=new, old=old, longer=longer), caption)
