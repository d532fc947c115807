"""The rules engine: one or two changes to the words it knows.

It works on the caption alone, so on any captions of a like style; what it finds nothing to edit in is refused as
``nothing_to_edit``.
"""

from __future__ import annotations

from collections import Counter

from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, CaptionEdits, EditRecord
from scot.edits.rules.change import Change
from scot.edits.rules.dice import Dice
from scot.edits.rules.operations import operations
from scot.edits.rules.reading import Reading

MAX_CAPTION_CHARACTERS = 1_000
_AND = (" and ", " and ", ", and ", " and also ")
_ATTEMPTS = 6
_MAX_KEPT_CHARACTERS = 200
_ABOUT_THINGS = ("thing", "companion", "count")


class RulesEngine:
    """Edits by rules; ``doubles`` is the share of edits that change two things."""

    generator = "rules"
    prompt_version = "rules-2"

    def __init__(self, *, doubles: float = 0.45) -> None:
        self._doubles = doubles

    def edits(self, caption: str, *, count: int, seed: int) -> CaptionEdits:
        """Up to ``count`` distinct edits of one caption; the same caption and seed give the same edits."""
        words = caption.split()
        text = " ".join(words)
        if not text or len(text) > MAX_CAPTION_CHARACTERS or len(words) > MAX_CAPTION_WORDS:
            return CaptionEdits(refused=Counter({"caption_too_long" if text else "caption_empty": 1}))
        reading = Reading(text)
        allowed = operations(frozenset(reading.groups))
        if not allowed:
            return CaptionEdits(refused=Counter({"nothing_to_edit": 1}))
        dice = Dice(text, seed)
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
            kept = ", ".join([word for word in known if word in change.caption])[:_MAX_KEPT_CHARACTERS]
            made[change.caption] = EditRecord(change.aspect, change.edit, change.caption, kept)
        return CaptionEdits(tuple(made.values()), refused)


def _and_another(first: Change, dice: Dice) -> Change:
    """A second change on top of the first, of other words, said in either order."""
    reading = Reading(first.caption)
    allowed = operations(frozenset(reading.groups))
    second = dice.one_of(allowed)(reading, dice) if allowed else None
    if second is None or second.group == first.group:
        return first
    if first.group in _ABOUT_THINGS and second.group in _ABOUT_THINGS:
        return first
    said = (first.edit, second.edit) if dice.chance(0.5) else (second.edit, first.edit)
    return Change(f"{first.group}, {second.group}", "conjunction", dice.one_of(_AND).join(said), second.caption)


def _reason_to_refuse(caption: str, change: Change) -> str | None:
    if change.caption == caption:
        return "identical_caption"
    # Both are written with single spaces.
    if change.edit.count(" ") >= MAX_EDIT_WORDS or change.caption.count(" ") >= MAX_CAPTION_WORDS:
        return "too_long"
    return None
