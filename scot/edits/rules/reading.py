"""The known words of a caption, and the text after a change of one of them, with correct articles and commas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scot.edits.rules.lexicon import GARMENTS, SPLIT, WORDS

_BEFORE_COMMA = re.compile(r" +([,.])")
_BETWEEN_FEATURES = (", ", " and ", ", and ")
_VOWELS = ("a", "e", "i", "o", "u", "hour", "honest", "heir")
_NO_VOWELS = ("uni", "use", "usu", "eu", "one", "once", "uku", "ute")  # as they are said


class Reading:
    """A caption in lower case and its known words, each identified by its number. Changes return a new text."""

    __slots__ = ("_parts", "groups", "text", "words")

    def __init__(self, caption: str) -> None:
        text = caption.lower().lstrip(", ")
        if " ," in text or " ." in text:
            text = _BEFORE_COMMA.sub(r"\1", text)
        self.text = text
        self._parts = parts = SPLIT(text)
        self.words = words = [WORDS[part] for part in parts[1::2]]
        self.groups = [word.group for word in words]
        """The group of each word."""

    def of(self, group: str) -> list[int]:
        """The words of a group, in order."""
        return [at for at, other in enumerate(self.groups) if other == group]

    def first(self, group: str) -> int | None:
        """The first word of a group."""
        return self.groups.index(group) if group in self.groups else None

    def noun(self) -> int:
        """The subject of the caption: its first garment, otherwise its first thing.

        Raises:
            ValueError: it has neither.
        """
        for at, group in enumerate(self.groups):
            if group in GARMENTS:
                return at
        return self.groups.index("thing")

    def pronoun(self, noun: int | None) -> str:
        """The pronoun of a noun in an edit."""
        return "them" if noun is not None and self.words[noun].form == "plural" else "it"

    def noun_after(self, at: int) -> int | None:
        """The first noun after a word."""
        for later in range(at + 1, len(self.words)):
            if self.words[later].is_noun:
                return later
        return None

    def start(self, at: int) -> int:
        """Where a word begins in the text."""
        return len("".join(self._parts[: 2 * at + 1]))

    def stop(self, at: int) -> int:
        """Where a word ends in the text."""
        return len("".join(self._parts[: 2 * at + 2]))

    def replaced(self, at: int, new: str) -> str:
        """The text with a word replaced, or removed if ``new`` is empty."""
        if not new:
            return spliced(self.text, self.start(at), self.stop(at), "")
        parts = self._parts.copy()
        parts[2 * at] = agreeing(parts[2 * at], new)
        parts[2 * at + 1] = new
        return "".join(parts)

    def both_replaced(self, one: int, new: str, other: int, other_new: str) -> str:
        """The text with two words replaced."""
        if other < one:
            one, new, other, other_new = other, other_new, one, new
        return spliced(self.replaced(other, other_new), self.start(one), self.stop(one), new)

    def before_noun(self, adjective: str) -> str:
        """The text with an adjective added before its noun."""
        noun = self.noun()
        return self.replaced(noun, f"{adjective} {self.words[noun].text}")

    def with_feature(self, phrase: str) -> str:
        """The text with a feature added after *with*."""
        start, stop, features = self._features()
        return spliced(self.text, start, stop, with_features([*features, phrase]))

    def without_feature(self, at: int) -> str:
        """The text without a feature, in the list after *with* or anywhere else."""
        start, stop, features = self._features()
        removed = self.words[at].text
        if removed not in features:
            return self.replaced(at, "")
        return spliced(self.text, start, stop, with_features([feature for feature in features if feature != removed]))

    def _features(self) -> tuple[int, int, list[str]]:
        """Start, stop and items of the list after *with*; without a list, an empty span directly after the noun."""
        noun = self.noun()
        last = noun
        features: list[str] = []
        for at in range(noun + 1, len(self.words)):
            word, gap = self.words[at], self._parts[2 * at]
            if not word.is_feature or (gap not in _BETWEEN_FEATURES if features else gap != " with "):
                break
            features.append(word.text)
            last = at
        return self.stop(noun), self.stop(last), features


def article(following: str) -> str:
    """*a* or *an*, depending on the following word."""
    return "an" if following.startswith(_VOWELS) and not following.startswith(_NO_VOWELS) else "a"


def with_article(noun: str) -> str:
    """The noun with its article."""
    return f"{article(noun)} {noun}"


def bare(phrase: str) -> str:
    """The phrase without its article."""
    return phrase.removeprefix("a ").removeprefix("an ")


def with_features(features: Sequence[str]) -> str:
    """``["a", "b", "c"]`` as ``" with a, b and c"``; nothing for none."""
    if len(features) < 2:
        return f" with {features[0]}" if features else ""
    return f" with {', '.join(features[:-1])} and {features[-1]}"


def agreeing(before: str, following: str) -> str:
    """``before`` with the article at its end, if any, adapted to the following word."""
    if not before.endswith(("a ", "an ")):
        return before
    words = before[: -2 if before.endswith("a ") else -3]
    is_article = not words or not (words[-1].isalnum() or words[-1] in "-_")
    if not is_article or not "a" <= following[:1] <= "z":
        return before
    return f"{words}{article(following)} "


def spliced(text: str, start: int, stop: int, new: str) -> str:
    """The text with a span replaced, or removed if ``new`` is empty."""
    head, tail = text[:start], text[stop:]
    if not new:
        if not head or head[-1] == " ":
            tail = tail.lstrip(" ")
        if tail.startswith((",", ".")) or not tail:
            head = head.rstrip(", ")
        if not head:
            tail = tail.lstrip(", ")
    return agreeing(head, new or tail) + new + tail
