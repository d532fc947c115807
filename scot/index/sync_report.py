"""What bringing a gallery up to date has done, or would do, in numbers and sentences."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scot.data.records import Refusals
from scot.errors import InvalidInput

_GONE = "missing"
"""The one reason for a refusal after which a picture is no longer in its source."""


class NamedRefusals(Refusals):
    """Refusals that remember the name of every picture that is in the source but was refused; threads may share it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._lock = threading.Lock()

    def add(self, reason: str, what: str, where: str = "") -> None:
        """Count one refusal."""
        with self._lock:
            Refusals.add(self, reason, what, where)
            if reason != _GONE:
                self.names.add(what)


@dataclass(frozen=True, slots=True)
class PartReport:
    """What was done with a part of the records, in another process; the images that were refused with their reasons."""

    new: int
    updated: int
    unchanged: int
    replaced: Counter[str]
    refused: tuple[tuple[str, str], ...]

    @property
    def records(self) -> int:
        """How many there were."""
        return self.new + self.updated + self.unchanged + len(self.refused)


@dataclass(slots=True)
class Report:
    """What was done, or would be done, over all sources of a run."""

    dry_run: bool = False
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    refusals: NamedRefusals = field(default_factory=NamedRefusals)
    replaced: Counter[str] = field(default_factory=Counter)
    """Of the new items: how many replaced an item of another source, by that source."""
    vanished: dict[str, int] = field(default_factory=dict)
    """How many items are no longer in their source, by source, if they were not removed."""
    empty: list[str] = field(default_factory=list)
    """The sources of which no picture could be indexed."""
    not_read_whole: dict[str, str] = field(default_factory=dict)
    """The sources whose vanished items are not removed, because a part of the source could not be read: which part."""
    _begun: float = field(default_factory=time.monotonic)

    @property
    def pictures(self) -> int:
        """How many pictures of the sources are in the gallery now."""
        return self.new + self.updated + self.unchanged

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._begun

    def summary(self) -> str:
        """The counts, in one line."""
        counts = ("new", "updated", "unchanged", "removed")
        return f"{', '.join(f'{getattr(self, name):,} {name}' for name in counts)}; {self.refusals.summary()}"

    def lines(self) -> list[str]:
        """What to print at the end, a sentence each."""
        changed = self.new + self.updated
        verb = "would index" if self.dry_run else "indexed"
        done = f"{verb} {changed:,} pictures" if changed else "nothing to index"
        lines = [f"{done} in {self.seconds:.1f} s: {self.summary()}"]
        replaced = "would replace" if self.dry_run else "replaced"
        lines += [
            f"{replaced} {number:,} {_items(number)} of {source}: ids are unique in a collection"
            for source, number in self.replaced.items()
        ]
        for source, number in self.vanished.items():
            if part := self.not_read_whole.get(source):
                kept = "it stays" if number == 1 else "they stay"
                lines.append(
                    f"{number:,} {_items(number)} not found in {source}, which was not read whole: {part}; "
                    f"{kept}, even with --prune"
                )
            else:
                them = "it" if number == 1 else "them"
                lines.append(f"{number:,} {_items(number)} no longer in {source}: --prune removes {them}")
        return lines

    def add(self, part: PartReport) -> None:
        """Add what was done with a part of the records."""
        self.new += part.new
        self.updated += part.updated
        self.unchanged += part.unchanged
        self.replaced += part.replaced
        for reason, what in part.refused:
            self.refusals.add(reason, what)

    def to_json(self) -> dict[str, Any]:
        """The counts, as plain values: of refusals by reason, of replaced and vanished items by source."""
        names = ("dry_run", "new", "updated", "unchanged", "removed", "replaced", "vanished")
        counts = {name: getattr(self, name) for name in names}
        return {
            **counts,
            "not_read_whole": list(self.not_read_whole),
            "refused": self.refusals.counts,
            "seconds": round(self.seconds, 3),
        }

    def check(self) -> None:
        """Raise InvalidInput if no picture of a source could be indexed."""
        if self.empty:
            raise InvalidInput(f"no image of {', '.join(self.empty)} could be indexed")


def _items(number: int) -> str:
    return "item" if number == 1 else "items"
