"""What a drawn world is: attribute records, pictures, captions and edits, with ground truth that is exact.

A world draws any combination of its attributes. Combinations are split once and for all by a hash of their names, so no
combination that is evaluated was ever drawn for training (:func:`split_of`).
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from PIL import Image

Attributes = Mapping[str, str]
"""Attribute name to value, e.g. ``{"kind": "shirt", "colour": "red"}``; ``"none"`` where something is absent."""

Split = Literal["train", "eval"]
WorldName = Literal["wardrobe", "scenes"]

PICTURE_SIZE = 192
"""Side of a drawn picture in pixels."""


def key_of(attributes: Attributes) -> str:
    """One string for one combination, independent of the order of its attributes."""
    return "|".join(f"{name}={attributes[name]}" for name in sorted(attributes))


def split_of(attributes: Attributes) -> Split:
    """Which split a combination belongs to: one in five is held out for evaluation."""
    return "eval" if hashlib.sha256(key_of(attributes).encode()).digest()[0] % 5 == 0 else "train"


@dataclass(frozen=True, slots=True)
class Words:
    """How people say one value. ``adjectives`` stand before the noun, ``phrases`` after *with*, in or at."""

    adjectives: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


class World(ABC):
    """A seeded generator of pictures that are described exactly."""

    name: str
    values: Mapping[str, tuple[str, ...]]
    """Every attribute with all its values."""

    @abstractmethod
    def sample(self, rng: random.Random) -> dict[str, str]:
        """A valid combination of attributes."""

    @abstractmethod
    def valid(self, attributes: Attributes) -> bool:
        """Whether the combination makes sense (a skirt has no sleeves)."""

    @abstractmethod
    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """Draw the combination, RGB, ``PICTURE_SIZE`` pixels square; ``rng`` moves, tilts and tints it a little."""

    @abstractmethod
    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """Describe the combination in one of many phrasings. What is not mentioned is absent or ordinary."""

    @abstractmethod
    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """A few words that tell only this attribute's value, e.g. ``"long sleeves"``."""

    @abstractmethod
    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """Say what to change to get from one combination to another that differs in one or two attributes."""

    def changes(self, attributes: Attributes) -> list[tuple[str, str]]:
        """Every ``(attribute, value)`` that is another valid combination when changed alone."""
        return [
            (name, value)
            for name, values in self.values.items()
            for value in values
            if attributes[name] != value and self.valid({**attributes, name: value})
        ]

    def changed(self, attributes: Attributes, name: str, value: str) -> dict[str, str]:
        """The combination after one of its :meth:`changes`."""
        return {**attributes, name: value}


def listed(parts: list[str]) -> str:
    """``["a", "b", "c"]`` as ``"a, b and c"``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def a(noun_phrase: str) -> str:
    """The noun phrase behind *a* or *an*."""
    return f"an {noun_phrase}" if noun_phrase[0] in "aeiou" else f"a {noun_phrase}"
