"""Edits of garments: pattern, sleeves, neck, details, length, and the garment itself."""

from __future__ import annotations

from scot.edits.rules.change import Change, Dice, Operation
from scot.edits.rules.lexicon import GROUPS, LENGTH_OF, others
from scot.edits.rules.reading import Reading, bare, with_article

_SWAP = (
    "with {phrase}",
    "make it {adjective}",
    "{phrase} instead of {old}",
    "has {phrase}",
    "change the {name} to {adjective}",
)
_PATTERN = (
    "make it {adjective}",
    "with {phrase}",
    "add {bare}",
    "has {phrase}",
    "change the pattern to {adjective}",
)
_PATTERN_AWAY = ("make it plain", "without the {old}", "remove the {old}", "in a solid colour", "no pattern")
_NECK = ("with {phrase}", "make it {adjective}", "has {phrase}", "change the neck to {adjective}")
_DETAIL = ("add {new}", "with {new}", "give it {new}", "has {new}")
_DETAIL_AWAY = ("without the {old}", "remove the {old}", "take off the {old}", "no {old}")
_DETAIL_SWAP = ("swap the {old} for {new}", "{new} instead of the {old}", "replace the {old} with {new}")
_GARMENT = (
    "make it {thing}",
    "turn it into {thing}",
    "{thing} instead of the {old}",
    "show me {thing} like this",
    "as {thing}",
)

_PATTERNS = others("pattern", "plain", "adjective")
_NECKS = others("neck", "round", "adjective")
_DETAILS = others("detail", "", "phrase")
_GOWN_LENGTHS, _TOP_LENGTHS = GROUPS["gown length"], GROUPS["top length"]
_GOWN_LENGTH_OF = {"cropped": "mini", "longline": "maxi"}
_TOP_LENGTH_OF = {"mini": "cropped", "maxi": "longline"}
_LENGTH: tuple[str, ...] = ("make it {new}", "is {new}", "change the length to {new}")
_LENGTH_SWAP = (*_LENGTH, "{new} instead of {old}")
_LENGTH_COMPARE = ("make it {longer}", "a {longer} one", "{longer}")
_LENGTH_OR_COMPARE, _LENGTH_SWAP_OR_COMPARE = (*_LENGTH, *_LENGTH_COMPARE), (*_LENGTH_SWAP, *_LENGTH_COMPARE)
_LENGTH_AWAY = ("make it regular length", "of regular length", "not {old}", "medium length")

_LENGTH_GROUPS = {group: GROUPS[group] for group in LENGTH_OF.values()}
_LONGEST = {group: list(values)[-1] for group, values in _LENGTH_GROUPS.items()}
_OTHER_LENGTHS = {
    group: {word: others(group, value.name, "adjective") for value in values.values() for word in value.adjective}
    for group, values in _LENGTH_GROUPS.items()
}
"""For each word for a length of a kind of garment, the other lengths."""
_TOP_LENGTH_VALUES = others("top length", "", "adjective")
_MIDDLE_LENGTHS = {
    word for group in ("gown length", "leg length") for word in list(_LENGTH_GROUPS[group].values())[1].adjective
}


def _swap(group: str, name: str) -> Operation:
    def swap(reading: Reading, dice: Dice) -> Change:
        at = dice.one_of(reading.of(group))
        old = reading.words[at]
        value, words = dice.one_of(old.others)
        edit = dice.one_of(_SWAP).format(
            phrase=dice.one_of(value.phrase or value.adjective),
            adjective=dice.one_of(value.adjective),
            old=dice.one_of(old.value.phrase or old.value.adjective),
            name=name,
        )
        return Change(group, "compare and change", edit, reading.replaced(at, dice.one_of(words)))

    return swap


swap_sleeves = _swap("sleeve", "sleeves")
_swap_neck = _swap("neck", "neck")
_swap_pattern = _swap("pattern", "pattern")


def change_pattern(reading: Reading, dice: Dice) -> Change | None:
    """A pattern more, less, or another."""
    patterns = reading.of("pattern")
    patterned = [at for at in patterns if reading.words[at].value.name != "plain"]
    if not patterned:
        return _add_pattern(reading, dice, patterns)
    if dice.chance(0.3):
        return _remove_pattern(reading, dice, patterned[0])
    return _swap_pattern(reading, dice)


def _add_pattern(reading: Reading, dice: Dice, plain: list[int]) -> Change:
    value, words = dice.one_of(_PATTERNS)
    adjective, phrase = dice.one_of(words), dice.one_of(value.phrase)
    if plain:
        caption = reading.replaced(plain[0], adjective)
    elif dice.chance(0.5):
        caption = reading.before_noun(adjective)
    else:
        caption = reading.with_feature(phrase)
    edit = dice.one_of(_PATTERN).format(adjective=adjective, phrase=phrase, bare=bare(phrase))
    return Change("pattern", "addition", edit, caption)


def _remove_pattern(reading: Reading, dice: Dice, at: int) -> Change:
    word = reading.words[at]
    edit = dice.one_of(_PATTERN_AWAY).format(old=bare(dice.one_of(word.value.phrase)))
    if word.form == "phrase":
        return Change("pattern", "negation", edit, reading.without_feature(at))
    return Change("pattern", "negation", edit, reading.replaced(at, dice.one_of(("", "plain"))))


def change_neck(reading: Reading, dice: Dice) -> Change | None:
    """Another neck, or one added to a caption without a neck."""
    if "neck" in reading.groups:
        return _swap_neck(reading, dice)
    value, adjectives = dice.one_of(_NECKS)
    phrase, adjective = dice.one_of(value.phrase), dice.one_of(adjectives)
    caption = reading.with_feature(phrase) if dice.chance(0.6) else reading.before_noun(adjective)
    return Change("neck", "addition", dice.one_of(_NECK).format(phrase=phrase, adjective=adjective), caption)


def change_detail(reading: Reading, dice: Dice) -> Change:
    """A detail more, less, or another."""
    at = reading.first("detail")
    if at is None:
        new = dice.one_of(dice.one_of(_DETAILS)[1])
        return Change("detail", "addition", dice.one_of(_DETAIL).format(new=new), reading.with_feature(new))
    word = reading.words[at]
    old = bare(dice.one_of(word.value.phrase))
    if dice.chance(0.45):
        edit = dice.one_of(_DETAIL_AWAY).format(old=old)
        return Change("detail", "negation", edit, reading.without_feature(at))
    new = dice.one_of(dice.one_of(word.others)[1])
    edit = dice.one_of(_DETAIL_SWAP).format(old=old, new=new)
    return Change("detail", "compare and change", edit, reading.replaced(at, new))


def change_garment(reading: Reading, dice: Dice) -> Change | None:
    """Another top. A dress has its own words for lengths, and its caption always has one."""
    at = reading.noun()
    noun = reading.words[at]
    if noun.group != "top":
        return None
    value = dice.one_of([value for value in GROUPS["top"].values() if value is not noun.value])
    new = dice.one_of(value.noun)
    if (value.name == "dress") == (noun.value.name == "dress"):
        caption = reading.replaced(at, new)
    else:
        lengths = [*reading.of("top length"), *reading.of("gown length"), *reading.of("leg length")]
        old = reading.words[lengths[0]].value.name if lengths else ""
        if value.name == "dress":
            length = dice.one_of(_GOWN_LENGTHS[_GOWN_LENGTH_OF.get(old, "midi")].adjective)
        elif lengths:
            length = dice.one_of(_TOP_LENGTHS[_TOP_LENGTH_OF[old]].adjective) if old in _TOP_LENGTH_OF else ""
        else:
            return None
        if lengths:
            caption = reading.both_replaced(lengths[0], length, at, new)
        else:
            caption = reading.replaced(at, f"{length} {new}")
    edit = dice.one_of(_GARMENT).format(thing=with_article(new), old=noun.text)
    return Change("top", "direct addressing", edit, caption)


def change_length(reading: Reading, dice: Dice) -> Change | None:
    """Another length; a top of ordinary length has no word for it."""
    noun = reading.words[reading.noun()]
    group = LENGTH_OF["dress" if noun.value.name == "dress" else noun.group]
    known = _OTHER_LENGTHS[group]
    at = next((at for at, word in enumerate(reading.words) if word.text in known), None)
    of_a_top = group == "top length"
    if at is None:
        if not of_a_top:
            return None
        value, words = dice.one_of(_TOP_LENGTH_VALUES)
        old, new, says = "", dice.one_of(words), _LENGTH_OR_COMPARE
        caption = reading.before_noun(new)
    else:
        old = reading.words[at].text
        if of_a_top and dice.chance(0.4):
            return Change("length", "comparative", dice.one_of(_LENGTH_AWAY).format(old=old), reading.replaced(at, ""))
        value, words = dice.one_of(known[old])
        new, says = dice.one_of(words), _LENGTH_SWAP_OR_COMPARE if old in _MIDDLE_LENGTHS else _LENGTH_SWAP
        caption = reading.replaced(at, new)
    longer = "longer" if value.name == _LONGEST[group] else "shorter"
    return Change("length", "comparative", dice.one_of(says).format(new=new, old=old, longer=longer), caption)
