"""The slots engine: changes one place of a caption of a photograph; code writes the edit and the edited caption.

It reads the caption alone. Where a word is unknown or its role is doubtful, the place is left alone: an edit that is
not made costs less than a wrong one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from scot.edits.phrasing import kept_words
from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, CaptionEdits, EditRecord
from scot.edits.rules.change import Change, Dice
from scot.edits.slots import scenes, things
from scot.edits.slots.reading import Reading

Operation = Callable[[Reading, Dice], Change | None]
"""Makes one change; None if the caption has no place for it."""

_FIRST: tuple[Operation, ...] = (
    things.swap_noun, things.swap_noun, things.swap_quality, things.swap_quality, things.add_quality,
    things.change_number, scenes.swap_place, scenes.swap_verb, scenes.remove_detail, scenes.add_accessory,
)  # fmt: skip
# These fit nearly every caption: a share of the captions has them, and those that have nothing else.
_GENERAL: tuple[tuple[Operation, float], ...] = ((scenes.add_time, 0.3), (scenes.change_style, 0.15))
_ATTEMPTS = 10


class SlotsEngine:
    """Edits by a grammar and a vocabulary."""

    generator = "slots"
    prompt_version = "slots-2"

    def edits(self, caption: str, *, count: int, seed: int, image_id: str = "") -> CaptionEdits:
        """Up to ``count`` distinct edits of one caption, at different places as far as it has them.

        The same caption, image and seed give the same edits.
        """
        if not Reading(caption).units:
            return CaptionEdits(refused=Counter(caption_empty=1))
        made = tuple(record for _, record in self.candidates(caption, count=count, seed=seed, image_id=image_id))
        return CaptionEdits(made, Counter() if made else Counter(nothing_to_edit=1))

    def candidates(
        self, caption: str, *, count: int, seed: int, image_id: str = "", at_a_place: int = 1
    ) -> list[tuple[str, EditRecord]]:
        """Up to ``count`` distinct edits, each with its place; at most ``at_a_place`` of them change the same place."""
        reading = Reading(caption)
        dice = Dice(f"{caption}\n{image_id}" if image_id else caption, seed)
        made: dict[str, tuple[str, EditRecord]] = {}
        places: Counter[str] = Counter()
        operations = (*_FIRST, *(operation for operation, share in _GENERAL if dice.chance(share)))
        drawn = (dice.one_of(operations) for _ in range(count * _ATTEMPTS))
        changes = chain(_changes(reading, dice, drawn), _changes(reading, dice, _if_none(made)))
        for change in changes if reading.units else ():
            if len(made) == count:
                break
            if places[change.group] == at_a_place or change.caption in (caption, *made) or _too_long(change):
                continue
            places[change.group] += 1
            kept = kept_words(caption, change.caption)
            made[change.caption] = change.group, EditRecord(change.aspect, change.edit, change.caption, kept)
        return list(made.values())


def _changes(reading: Reading, dice: Dice, operations: Iterable[Operation]) -> Iterator[Change]:
    """The changes that operations make."""
    for operation in operations:
        change = operation(reading, dice)
        if change is not None:
            yield change


def _if_none(made: Mapping[str, object]) -> Iterator[Operation]:
    """The general operations, one after the other, as long as nothing is made."""
    return (operation for operation, _ in _GENERAL if not made)


def _too_long(change: Change) -> bool:
    return len(change.edit.split()) > MAX_EDIT_WORDS or len(change.caption.split()) > MAX_CAPTION_WORDS
