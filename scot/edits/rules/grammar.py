"""Just enough grammar to change a span and leave the sentence whole: articles, spaces, commas and lists."""

from __future__ import annotations

from collections.abc import Sequence

_VOWELS = ("a", "e", "i", "o", "u")


def article(following: str) -> str:
    """*a* or *an*, as what follows wants it."""
    return "an" if following.startswith(_VOWELS) else "a"


def with_article(noun: str) -> str:
    """The noun behind its article."""
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
    """``before`` with the article at its end, if there is one, as what follows wants it."""
    if not before.endswith(("a ", "an ")):
        return before
    words = before[: -2 if before.endswith("a ") else -3]
    is_article = not words or not (words[-1].isalnum() or words[-1] in "-_")
    if not is_article or not "a" <= following[:1] <= "z":
        return before
    return f"{words}{article(following)} "


def spliced(text: str, start: int, stop: int, new: str) -> str:
    """The text with a span replaced, or taken out if ``new`` is empty."""
    head, tail = text[:start], text[stop:]
    if not new:
        if not head or head[-1] == " ":
            tail = tail.lstrip(" ")
        if tail.startswith((",", ".")) or not tail:
            head = head.rstrip(", ")
        if not head:
            tail = tail.lstrip(", ")
    return agreeing(head, new or tail) + new + tail
