"""Just enough grammar to change a word and leave a sentence whole: articles, lists, companions, counted nouns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scot.edits.lexicon import GARMENTS, PATTERN, SURFACES, Sense

_ARTICLE = re.compile(r"\b(a|an)( +)(?=([a-z]))")
_SPACES = re.compile(r"\s+")
_BEFORE_COMMA = re.compile(r"\s+([,.])")
_BESIDE = re.compile(r"(,? (?:next to|and|with|beside|near) )(an? (?:[\w-]+ )?)$")
_LEADING = re.compile(r"\b(an?|one|a single) ((?:[\w-]+ )*)$")


@dataclass(frozen=True, slots=True)
class Piece:
    """A known piece of a caption, from ``start`` to ``stop``."""

    text: str
    start: int
    stop: int
    sense: Sense


@dataclass(frozen=True, slots=True)
class Companion:
    """*… next to* (``start``) *a red cat* (``named`` to ``stop``)."""

    noun: Piece
    start: int
    named: int
    stop: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A number (``start`` to ``number_stop``) and the noun it counts."""

    count: str
    noun: Piece
    start: int
    number_stop: int


def read(caption: str) -> Reading:
    """Find the known pieces of a caption."""
    text = caption.lower()
    pieces = [Piece(m.group(), m.start(), m.end(), SURFACES[m.group()]) for m in PATTERN.finditer(text)]
    return Reading(text, pieces)


def articles(text: str) -> str:
    """Put *a* or *an* right and spaces in order."""
    text = _BEFORE_COMMA.sub(r"\1", _SPACES.sub(" ", text)).strip().lstrip(",").strip()
    return _ARTICLE.sub(lambda m: ("an" if m.group(3) in "aeiou" else "a") + " ", text)


class Reading:
    """A caption with its known pieces; every method that changes it returns a new text."""

    def __init__(self, text: str, pieces: list[Piece]) -> None:
        self.text, self.pieces = text, pieces

    def of(self, group: str) -> list[Piece]:
        """The pieces of a group, in order."""
        return [piece for piece in self.pieces if piece.sense.group == group]

    def first_noun(self) -> Piece | None:
        """What the caption is about: its first garment, or else its first thing."""
        garments = (piece for piece in self.pieces if piece.sense.group in GARMENTS)
        return next(garments, None) or next(iter(self.of("thing")), None)

    def noun_after(self, piece: Piece) -> Piece | None:
        """The first noun behind a piece."""
        return next(
            (other for other in self.pieces if other.start > piece.start and other.sense.group in (*GARMENTS, "thing")),
            None,
        )

    def cut(self, start: int, stop: int, new: str = "") -> str:
        """The text with a span replaced."""
        return self.text[:start] + new + self.text[stop:]

    def replaced(self, piece: Piece, new: str, *, also: tuple[Piece, str] | None = None) -> str:
        """The text with a piece, or two, replaced."""
        spans = sorted([(piece, new), *([also] if also else [])], key=lambda span: span[0].start, reverse=True)
        text = self.text
        for old, words in spans:
            text = text[: old.start] + words + text[old.stop :]
        return text

    def before_noun(self, adjective: str) -> str:
        """The text with one more adjective on its first noun."""
        noun = self.first_noun()
        assert noun is not None
        return self.cut(noun.start, noun.start, f"{adjective} ")

    def with_feature(self, phrase: str) -> str:
        """The text with one more feature behind *with*."""
        noun = self.first_noun()
        assert noun is not None
        start, stop, features = self._features(noun)
        return self.cut(start, stop, _with([*features, phrase]))

    def without_feature(self, piece: Piece) -> str:
        """The text with a feature behind *with* taken out."""
        noun = self.first_noun()
        assert noun is not None
        start, stop, features = self._features(noun)
        left = [feature for feature in features if feature != piece.text]
        if len(left) == len(features):
            return self.replaced(piece, "")
        return self.cut(start, stop, _with(left))

    def _features(self, noun: Piece) -> tuple[int, int, list[str]]:
        """Where the list behind *with* stands and its parts; an empty place right behind the noun if there is none."""
        phrases = [piece for piece in self.pieces if piece.start > noun.stop and piece.sense.form == "phrase"]
        if not phrases or not self.text.startswith(" with ", noun.stop):
            return noun.stop, noun.stop, []
        stop = noun.stop + len(" with ")
        features: list[str] = []
        for piece in phrases:
            if piece.start > stop + len(", and "):
                break
            features.append(piece.text)
            stop = piece.stop
        return noun.stop, stop, features

    def companion(self) -> Companion | None:
        """The second thing of the caption, when it stands *next to*, *with* or *and* the first."""
        things = self.of("thing")
        if len(things) != 2:
            return None
        noun = things[1]
        match = _BESIDE.search(self.text[: noun.start])
        if match is None or match.start() < things[0].stop:
            return None
        return Companion(noun, match.start(), match.start(2), noun.stop)

    def counted(self) -> Counted | None:
        """The number of the first thing, whether said (*two cats*) or an article (*a cat*)."""
        noun = self.first_noun()
        if noun is None or noun.sense.group != "thing":
            return None
        number = next((piece for piece in self.of("count") if piece.start < noun.start), None)
        if number is not None:
            return Counted(number.sense.value, noun, number.start, number.stop)
        match = _LEADING.search(self.text[: noun.start])
        # An article may open the sentence's frame ("a picture of a cat"): the nearest one counts.
        if match is None:
            return None
        start = max(self.text.rfind(" a ", 0, noun.start), self.text.rfind(" an ", 0, noun.start)) + 1
        return Counted("one", noun, start, start + (2 if self.text.startswith("an ", start) else 1))

    def recounted(self, phrase: Counted, number: str, noun: str) -> str:
        """The text with another number of the counted thing."""
        text = self.text
        text = text[: phrase.noun.start] + noun + text[phrase.noun.stop :]
        return text[: phrase.start] + number + text[phrase.number_stop :]


def _with(features: list[str]) -> str:
    if not features:
        return ""
    head = ", ".join(features[:-1])
    return f" with {head} and {features[-1]}" if head else f" with {features[-1]}"
