"""The rules engine: makes one or two changes to the words that it knows.

It reads the caption alone, so it works on any captions of a similar style. A caption that has nothing to edit is
refused as ``nothing_to_edit``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from functools import cache

from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, MAX_KEPT_CHARS, CaptionEdits, EditRecord
from scot.edits.rules import garments, scenes
from scot.edits.rules.change import DOUBLES, Change, Dice, Operation, conjunction
from scot.edits.rules.lexicon import GARMENTS
from scot.edits.rules.reading import Reading

MAX_CAPTION_CHARACTERS = 1_000
_ATTEMPTS = 6
_ABOUT_THINGS = ("thing", "companion", "count")

_COLOR_OF_NOUN = ("make the {noun} {new}", "the {noun} should be {new}", "paint the {noun} {new}")
_COLOR: tuple[str, ...] = (
    "make {them} {new}",
    "{new} instead of {old}",
    "in {new}",
    "change the colour to {new}",
    "is {new}",
    "I want {them} in {new}",
)
_ANY_COLOR = _COLOR_OF_NOUN + _COLOR


class RulesEngine:
    """Edits by rules; ``doubles`` is the share of edits that change two things."""

    generator = "rules"
    prompt_version = "rules-2"

    def __init__(self, *, doubles: float = DOUBLES) -> None:
        self._doubles = doubles

    def edits(self, caption: str, *, count: int, seed: int, image_id: str = "") -> CaptionEdits:
        """Up to ``count`` distinct edits of one caption; the same caption, image and seed give the same edits."""
        words = caption.split()
        text = " ".join(words)
        if not text or len(text) > MAX_CAPTION_CHARACTERS or len(words) > MAX_CAPTION_WORDS:
            return CaptionEdits(refused=Counter({"caption_too_long" if text else "caption_empty": 1}))
        reading = Reading(text)
        allowed = operations(frozenset(reading.groups))
        if not allowed:
            return CaptionEdits(refused=Counter({"nothing_to_edit": 1}))
        dice = Dice(f"{text}\n{image_id}" if image_id else text, seed)
        known = list(dict.fromkeys(word.text for word in reading.words))
        made: dict[str, EditRecord] = {}
        refused: Counter[str] = Counter()
        for _ in range(count * _ATTEMPTS):
            if len(made) == count:
                break
            change = dice.one_of(allowed)(reading, dice)
            if change is None:
                continue
            if dice.chance(self._doubles):
                change = _and_another(change, dice)
            reason = _reason_to_refuse(reading.text, change)
            if reason or change.caption in made:
                refused[reason or "duplicate"] += 1
                continue
            unchanged = ", ".join([word for word in known if word in change.caption])[:MAX_KEPT_CHARS]
            made[change.caption] = EditRecord(change.aspect, change.edit, change.caption, unchanged)
        return CaptionEdits(tuple(made.values()), refused)


@cache
def operations(groups: Set[str]) -> tuple[Operation, ...]:
    """What can be done to a caption with words of these groups, each as likely as the others."""
    allowed: list[Operation] = []
    if not groups.isdisjoint(GARMENTS):
        allowed += [garments.change_pattern, garments.change_length, garments.change_detail, garments.change_detail]
        allowed += [change_color] if "colour" in groups else []
        allowed += [garments.swap_sleeves] if "sleeve" in groups else []
        allowed += [garments.change_neck, garments.change_garment] if "top" in groups else []
    elif "thing" in groups:
        allowed += [scenes.change_thing, scenes.change_companion, scenes.change_count]
        allowed += [change_color] if "colour" in groups else []
        allowed += [scenes.change_size] if "size" in groups else []
        allowed += [scenes.change_place] if "place" in groups else []
        allowed += [scenes.change_setting] if "setting" in groups else []
    elif "colour" in groups:
        allowed.append(change_color)
    return tuple(allowed)


def change_color(reading: Reading, dice: Dice) -> Change:
    """Another colour; what has it is named unless there is no doubt."""
    colours = reading.of("colour")
    at = dice.one_of(colours)
    old = reading.words[at]
    new = dice.one_of(dice.one_of(old.others)[1])
    noun = reading.noun_after(at)
    name, says = ("", _COLOR) if noun is None else (reading.words[noun].text, _ANY_COLOR)
    if noun is not None and len(colours) > 1 and noun != reading.noun():
        says = _COLOR_OF_NOUN
    edit = dice.one_of(says).format(noun=name, new=new, old=old.text, them=reading.pronoun(noun))
    return Change("colour", "direct addressing", edit, reading.replaced(at, new))


def _and_another(first: Change, dice: Dice) -> Change:
    """A second change of other words after the first; the edit names both, in either order."""
    reading = Reading(first.caption)
    allowed = operations(frozenset(reading.groups))
    second = dice.one_of(allowed)(reading, dice) if allowed else None
    if second is None or second.group == first.group:
        return first
    if first.group in _ABOUT_THINGS and second.group in _ABOUT_THINGS:
        return first
    edit = conjunction(first.edit, second.edit, dice)
    return Change(f"{first.group}, {second.group}", "conjunction", edit, second.caption)


def _reason_to_refuse(caption: str, change: Change) -> str | None:
    if change.caption == caption:
        return "identical_caption"
    # Both are written with single spaces.
    if change.edit.count(" ") >= MAX_EDIT_WORDS or change.caption.count(" ") >= MAX_CAPTION_WORDS:
        return "too_long"
    return None
