"""Changes of things and people: another one, another quality, one more quality, more of them."""

from __future__ import annotations

from scot.edits import phrasing
from scot.edits.grammar import DETERMINERS
from scot.edits.phrasing import QUALITIES, Phrase
from scot.edits.rules.change import Change, Dice
from scot.edits.slots.reading import NounPhrase, Reading
from scot.edits.vocabulary import GROUPS, TERMS, Term, other_values
from scot.edits.vocabulary.words import FUNCTION_WORDS, NUMBERS, in_form

_PEOPLE = {
    "man": ("woman", "boy"), "woman": ("man", "girl"), "boy": ("girl", "man"), "girl": ("boy", "woman"),
    "person": ("man", "woman", "child"), "child": ("man", "woman"),
}  # fmt: skip
_SAME_GENDER = {"man": ("boy",), "boy": ("man",), "woman": ("girl",), "girl": ("woman",)}
PEOPLE = frozenset((*_PEOPLE, "worker"))
ANIMALS = frozenset(
    ("pet", "kitten", "dog breed", "mount", "farm animal", "poultry", "savanna animal", "predator", "forest animal")
)
PRONOUNS = FUNCTION_WORDS["pronouns"]
_RIDDEN = ("two-wheeler", "mount")
_RIDE = ("ride", "rides", "riding")
_KEEP = ("bathroom", "board")  # groups whose words stand in for each other only in few captions
_NO_OBJECTS = FUNCTION_WORDS["no objects"]
_ONE_OF_A_KIND = ("his", "her", "of", "no", "that", "this", "and", "as", "other", "another")
_COUNTED = NUMBERS[1:4]


def swap_noun(reading: Reading, dice: Dice) -> Change | None:
    """Another thing, person or place of the same group."""
    places = [(phrase, others) for phrase in reading.phrases if (others := _other_nouns(reading, phrase))]
    if not places:
        return None
    phrase, others = dice.one_of(places)
    new, determiner = dice.one_of(others), reading.determiner(phrase)
    many = phrase.term.form == "many"
    old_phrase = Phrase(reading.units[phrase.noun].text, determiner, many=many)
    new_phrase = Phrase(new, "the" if determiner == "the" else "", many=many)
    aspect, edit = phrasing.swap(old_phrase, new_phrase, dice)
    return Change(f"noun {phrase.noun}", aspect, edit, reading.replaced(phrase.noun, phrase.noun, new))


def _other_nouns(reading: Reading, phrase: NounPhrase) -> list[str]:
    group, unit = phrase.term.group.name, reading.units[phrase.noun]
    governor = reading.before(phrase.first)
    many = phrase.term.form == "many"
    bare = phrase.determiner < 0 and not many and not phrase.term.group.mass and phrase.first > 0
    if bare or reading.behind(phrase.noun) == "of" or sum(other.text == unit.text for other in reading.units) > 1:
        return []
    if not many and reading.determiner(phrase) in NUMBERS[1:]:
        return []
    if group in _PEOPLE:
        return _other_people(reading, phrase)
    if governor == "of" and group != "drink" and reading.before(phrase.first - 1) in FUNCTION_WORDS["parts"]:
        return []
    if governor in _RIDE or (governor == "on" and group in _RIDDEN):
        values = [value for name in _RIDDEN if group in _RIDDEN for value in GROUPS[name].values]
        texts = [in_form(value, phrase.term) for value in values if unit.text not in value.texts + value.plurals]
        return [text for text in texts if text not in reading.text.lower()]
    if governor in _NO_OBJECTS or group in _KEEP or (group == "electronics" and reading.words & _NO_OBJECTS):
        return []
    if (group == "worker" and reading.words & PRONOUNS) or (group == "way" and governor == "in"):
        return []
    if group == "fruit" and any(reading.units[at].term("colour") for at in phrase.adjectives):
        return []
    return [text for text in other_values(phrase.term) if text not in reading.text.lower()]


def _other_people(reading: Reading, phrase: NounPhrase) -> list[str]:
    gendered = bool(reading.words & PRONOUNS)
    if (phrase.adjectives and gendered) or reading.words & FUNCTION_WORDS["of hair"]:
        return []
    names = (_SAME_GENDER if gendered else _PEOPLE).get(phrase.term.group.name, ())
    # A young boy becomes a young girl, but not a young man.
    names = names[:1] if phrase.adjectives else names
    texts = [in_form(GROUPS[name].values[0], phrase.term) for name in names]
    return [text for text in texts if text not in reading.words]


def swap_quality(reading: Reading, dice: Dice) -> Change | None:
    """Another colour, material, size … of what has one."""
    places = [(at, others) for at in range(len(reading.units)) if (others := _other_qualities(reading, at))]
    if not places:
        return None
    at, others = dice.one_of(places)
    new, noun = dice.one_of(others), reading.head(at)
    old, them, subject = reading.units[at].text, _them(noun), _is_subject(reading, at)
    aspect, edit = phrasing.swap(Phrase(old, noun=noun), Phrase(new, noun=noun), dice, them=them, subject=subject)
    return Change(f"quality {at}", aspect, edit, reading.replaced(at, at, new))


def _other_qualities(reading: Reading, at: int) -> list[str]:
    unit, noun = reading.units[at], reading.head(at)
    meanings = [term for term in TERMS.get(unit.text, ()) if term.kind in QUALITIES]
    predicate = not noun and reading.before(at) in ("is", "are") and reading.complete(at)
    if not meanings or not (noun or predicate) or noun in FUNCTION_WORDS["nature"]:
        return []
    if predicate and meanings[0].kind != "colour":
        return []
    thing = next((found for found in TERMS.get(noun, ()) if found.kind == "noun"), None)
    group, traits = (thing.group.name, thing.group.traits) if thing else ("", ())
    if unit.text == "short":
        length = "length" if noun in FUNCTION_WORDS["long things"] else "height"
        meanings = [found for found in meanings if found.group.name == length]
        if length == "height" and group not in PEOPLE | {"building", "tree"}:
            return []
    first = meanings[-1] if meanings[0].kind == "material" else meanings[0]  # the last group of materials fits most
    term = next((found for found in meanings if found.group.name in traits), first)
    if _is_fixed(reading, term, group, thing):
        return []
    others = other_values(term)
    if term.kind == "age":
        alive = group in PEOPLE | ANIMALS or unit.text in ("elderly", "aged")
        others = ["old"] if term.value.name != "old" else ["young" if alive else "new"]
    return [text for text in others if text not in reading.words]


def _is_fixed(reading: Reading, term: Term, group: str, thing: Term | None) -> bool:
    """Whether another quality of this kind would be odd."""
    if group in PEOPLE and term.kind in ("colour", "size", "material"):
        return True
    if term.kind in ("material", "pattern"):
        return term.group.name not in (thing.group.traits if thing else ("material", "pattern"))
    if term.kind == "age":
        return group in ("boy", "girl", "child")
    watery = term.group.name in ("weather", "terrain") and reading.words & FUNCTION_WORDS["ski and surf"]
    return bool(watery) or (term.kind == "colour" and group == "drink")


def add_quality(reading: Reading, dice: Dice) -> Change | None:
    """A colour, material, size … for what has none."""
    places = [phrase for phrase in reading.phrases if _takes_quality(reading, phrase)]
    if not places:
        return None
    phrase = dice.one_of(places)
    trait, noun = GROUPS[dice.one_of(phrase.term.group.traits)], reading.units[phrase.noun].text
    if trait.kind == "colour" and "black and white" in reading.text.lower():
        return None
    if trait.kind == "hair" and reading.words & FUNCTION_WORDS["of hair"]:
        return None
    texts = [value.name for value in trait.values]
    if trait.kind == "age":
        texts = ["old", "young" if phrase.term.group.name in PEOPLE | ANIMALS else "new"]
    texts = [text for text in texts if text not in reading.words and text.split()[0] not in noun.split()]
    if not texts:
        return None
    new = dice.one_of(texts)
    many = phrase.term.form == "many"
    subject = _is_subject(reading, phrase.first) and not many
    aspect, edit = phrasing.addition(Phrase(new, noun=noun, many=many), dice, subject=subject)
    start = reading.units[phrase.noun].start
    return Change(f"noun {phrase.noun}", aspect, edit, reading.spliced(start, start, f"{new} "))


def _takes_quality(reading: Reading, phrase: NounPhrase) -> bool:
    unit, term = reading.units[phrase.noun], phrase.term
    known = bool(term.group.traits) and not phrase.adjectives and not unit.term(*QUALITIES)
    free = reading.behind(phrase.noun) not in ("of", "painted") and reading.before(phrase.noun) not in _ONE_OF_A_KIND
    return known and free and (phrase.determiner >= 0 or term.form == "many")


def change_number(reading: Reading, dice: Dice) -> Change | None:
    """More or fewer of the first thing."""
    if not reading.phrases or reading.words & (PRONOUNS | {"other", "another", "both", "each"}):
        return None
    phrase = reading.phrases[0]
    determiner, unit, value = reading.determiner(phrase), reading.units[phrase.noun], phrase.term.value
    if (phrase.first > 0 and reading.before(phrase.first) != "of") or phrase.term.group.mass or not value.plurals:
        return None
    number = dice.one_of([text for text in _COUNTED if text != determiner])
    if phrase.term.form == "many":
        if determiner not in NUMBERS[1:]:
            return None
        aspect, edit = phrasing.swap(Phrase(determiner, noun=unit.text), Phrase(number, noun=unit.text), dice)
        return Change("number", aspect, edit, reading.replaced(phrase.determiner, phrase.determiner, number))
    if determiner not in ("a", "an", "one") or not _can_be_many(reading, phrase):
        return None
    many = value.plurals[value.texts.index(unit.text)]
    aspect, edit = phrasing.addition(Phrase(number, noun=many), dice)
    between = reading.text[reading.units[phrase.determiner].stop : unit.start]
    stop = unit.stop
    if reading.behind(phrase.noun) == "is":
        stop, many = reading.units[phrase.noun + 1].stop, f"{many} are"
    start = reading.units[phrase.determiner].start
    return Change("number", aspect, edit, reading.spliced(start, stop, f"{number}{between}{many}"))


def _can_be_many(reading: Reading, phrase: NounPhrase) -> bool:
    """Whether the caption stays whole with a plural: no verb in *-s* follows, and nothing that each has one of."""
    behind = reading.behind(phrase.noun)
    alive = phrase.term.group.name in PEOPLE | ANIMALS
    if alive and (behind in ("in", "with", "wearing", "holding", "carrying", "on", "and") or behind in _RIDE):
        return False
    finite = any(term.form == "s" for term in TERMS.get(behind, ()))
    return not finite and behind not in ("has", "was", "that", "who", "which", "of")


def _is_subject(reading: Reading, at: int) -> bool:
    """Whether the caption is about the noun phrase of a unit: nothing but a determiner and adjectives is before it."""
    return all(unit.text in DETERMINERS or unit.term(*QUALITIES) for unit in reading.units[:at])


def _them(noun: str) -> str:
    many = any(term.kind == "noun" and (term.form == "many" or term.group.mass) for term in TERMS.get(noun, ()))
    return "them" if many else "it"
