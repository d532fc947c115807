"""Changes of the scene: place, time, posture, what is worn or at hand, and how the picture is made."""

from __future__ import annotations

from scot.edits import phrasing
from scot.edits.grammar import CONJUNCTIONS, DETERMINERS, PREPOSITIONS, is_verb
from scot.edits.phrasing import QUALITIES, Phrase
from scot.edits.rules.change import Change, Dice
from scot.edits.slots.reading import Reading, is_base
from scot.edits.slots.things import ANIMALS, PEOPLE
from scot.edits.vocabulary import GROUPS, TERMS, other_values
from scot.edits.vocabulary.words import FUNCTION_WORDS, third_person

_ACCESSORIES = (
    ("hat", "a hat"), ("eyewear", "sunglasses"), ("eyewear", "glasses"), ("bag", "a backpack"), ("hat", "a red cap"),
    ("neckwear", "a scarf"), ("hat", "a straw hat"), ("handwear", "gloves"), ("top", "a yellow raincoat"),
)  # fmt: skip
_WORN = ("hat", "eyewear", "neckwear", "handwear", "bag", "umbrella", "top", "suit")
_OUTDOORS = frozenset(
    ("road vehicle", "train", "boat", "aircraft", "mount", "farm animal", "savanna animal", "building", "tree", "way",
     "landform", "water", "sea", "street furniture", "structure", "carriage", "forest animal", "work vehicle")
)  # fmt: skip
_STYLE = ("as {style}", "make it {style}", "turn it into {style}", "I want {style} of it", "show it as {style}")
_FIRST_WORDS = ("a", "an", "the", "one", "two", "three", "four", "several", "some")


def swap_place(reading: Reading, dice: Dice) -> Change | None:
    """Somewhere else, or another time or weather."""
    moving = reading.words & FUNCTION_WORDS["ski and surf"]
    places = [
        (at, term)
        for at, unit in enumerate(reading.units)
        if (term := unit.term("place", "time", "weather")) and reading.complete(at)
        if not (moving and term.kind == "place")
    ]
    if not places:
        return None
    at, term = dice.one_of(places)
    new = dice.one_of(other_values(term))
    aspect, edit = phrasing.swap(Phrase(reading.units[at].text), Phrase(new), dice)
    return Change(f"scene {term.kind}", aspect, edit, reading.replaced(at, at, new))


def swap_verb(reading: Reading, dice: Dice) -> Change | None:
    """Another posture or gait of the subject."""
    if not reading.phrases:
        return None
    subject = reading.phrases[0].term
    wanted = "person" if subject.group.name in PEOPLE else "animal" if subject.group.name in ANIMALS else ""
    for at, unit in enumerate(reading.units):
        behind = reading.behind(at)
        terms = [term for term in TERMS.get(unit.text, ()) if term.kind == "swap" and term.group.subjects == wanted]
        if not terms or at < reading.phrases[0].noun:
            continue
        if behind and behind.split()[0] not in FUNCTION_WORDS["behind a posture"]:
            continue
        term = terms[0]
        if term.form == "base" and subject.form != "many":
            continue
        value = dice.one_of([value for value in term.group.values if value is not term.value])
        forms = {"ing": value.plurals[0], "s": third_person(value.name), "base": value.name}
        them = "them" if subject.form == "many" else "it"
        aspect, edit = phrasing.swap(Phrase(term.value.plurals[0]), Phrase(value.plurals[0]), dice, them=them)
        return Change(f"verb {at}", aspect, edit, reading.replaced(at, at, forms[term.form]))
    return None


def remove_detail(reading: Reading, dice: Dice) -> Change | None:
    """Without what is worn, or what stands behind *with*."""
    for at, unit in enumerate(reading.units):
        if unit.text not in ("with", "wearing") or at == 0 or unit.closed:
            continue
        phrase = reading.phrase_at(at + 1)
        if phrase is None or reading.behind(phrase.noun) in ("and", "or", "of", "that"):
            continue
        owner = any(other.noun == at - 1 for other in reading.phrases)
        last = phrase.noun == len(reading.units) - 1
        if not owner or not (last or phrase.term.group.name in _WORN):
            continue
        detail = reading.text[reading.units[phrase.first].start : reading.units[phrase.noun].stop].lower()
        aspect, edit = phrasing.removal(Phrase(f"{unit.text} {detail}"), dice)
        return Change("detail", aspect, edit, reading.replaced(at, phrase.noun, ""))
    return None


def add_accessory(reading: Reading, dice: Dice) -> Change | None:
    """Something for a person to wear."""
    fitting = [thing for group, thing in _ACCESSORIES if group not in reading.groups]
    people = [
        phrase.noun
        for phrase in reading.phrases
        if phrase.term.group.name in PEOPLE and phrase.term.form == "one"
        if (behind := reading.behind(phrase.noun)) in ("", "on", "at", "near") or behind.endswith("ing")
        if behind != "wearing"
    ]
    if not people or not fitting or "wearing" in reading.words:
        return None
    at, thing = dice.one_of(people), dice.one_of(fitting)
    stop = reading.units[at].stop
    aspect, edit = phrasing.addition(Phrase(f"wearing {thing}"), dice)
    return Change("detail", aspect, edit, reading.spliced(stop, stop, f" wearing {thing}"))


def add_time(reading: Reading, dice: Dice) -> Change | None:
    """A time of day or a weather for a caption of the open."""
    outdoors = reading.groups & _OUTDOORS or any(
        (term := unit.term("place")) and term.group.name == "outdoors" for unit in reading.units
    )
    if not outdoors or reading.words & (FUNCTION_WORDS["indoors"] | FUNCTION_WORDS["when"]):
        return None
    value = dice.one_of(GROUPS[dice.one_of(("times", "weathers"))].values)
    aspect, edit = phrasing.addition(Phrase(value.name), dice)
    return Change("scene time", aspect, edit, reading.appended(value.name))


def change_style(reading: Reading, dice: Dice) -> Change | None:
    """The same as a drawing, a painting, a mosaic …"""
    style = dice.one_of(GROUPS["styles"].values).name
    of = next((at for at, unit in enumerate(reading.units[:4]) if unit.text == "of"), 0)
    before = " ".join(unit.text for unit in reading.units[:of])
    made = of and (reading.units[of - 1].term("photo", "style") or before in TERMS)
    if made:
        caption = reading.spliced(0, reading.units[of].stop, f"{style} of")
    elif reading.units[0].text not in _FIRST_WORDS or reading.units[0].closed:
        return None
    elif _is_sentence(reading):
        caption = reading.appended(f"as {style}", join=", ")
    else:
        text = reading.without_auxiliary()
        text = text if text.isupper() else text[:1].lower() + text[1:]
        caption = Reading(text).spliced(0, 0, f"{style} of ")
        caption = caption[:1].upper() + caption[1:] if reading.text[:1].isupper() else caption
    return Change("style", "viewpoint", dice.one_of(_STYLE).format(style=style), caption)


def _is_sentence(reading: Reading) -> bool:
    """Whether the caption may have a verb that cannot go behind *of*: one in *-s*, or *is* without a participle."""
    verbs = [
        unit.text
        for at, unit in enumerate(reading.units)
        if unit.term("noun") is None and (is_verb(unit.text) or _may_be_verb(reading, at))
    ]
    auxiliaries = [at for at, unit in enumerate(reading.units) if unit.text in ("is", "are")]
    bare = any(not reading.behind(at).endswith("ing") for at in auxiliaries) or len(auxiliaries) > 1
    other = reading.words & {"was", "were", "has", "have", "can", "will"}
    several = any(is_base(reading.behind(phrase.noun)) for phrase in reading.phrases)
    return bare or several or bool(other) or any(verb.endswith("s") for verb in verbs)


def _may_be_verb(reading: Reading, at: int) -> bool:
    """Whether an unknown word stands where the verb of a noun would: *a man whittles*."""
    unit, before = reading.units[at], reading.before(at)
    known = unit.text in TERMS or before in DETERMINERS or before in PREPOSITIONS or before in CONJUNCTIONS
    return bool(before) and not known and not reading.units[at - 1].term(*QUALITIES)
