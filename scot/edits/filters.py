"""Filters on the text of edits: refuses edits that would teach a composer something wrong, with a reason to count.

Filters on embeddings need an encoder and are in :mod:`scot.edits.similarity`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from scot.edits.record import EditRecord
from scot.errors import InvalidInput

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NO_TEXT = re.compile(r"\S+\.(?:jpe?g|png|gif|webp|tiff?|bmp|svg|pdf)|\S+://\S+|\s*[\[{].*[\"':].*[\]}]\s*", re.I)
_PARTS = re.compile(r"['’-]")
# Words that carry too little meaning to compare captions by.
_SMALL = frozenset(
    ("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "with", "by", "for", "from", "into", "near", "as")
) | {"it", "its", "is", "are", "this", "that", "there"}
_LONG = 5  # words of content: shorter captions may be part of an edit
_LEAST_WORDS_FOR_SHARE = 3  # "a cat" becomes "a dog"
_LEAST_WORDS_FOR_LANGUAGE = 4  # shorter texts resemble any language

REASONS = {
    "identical_caption": "the edited caption equals the caption, case and punctuation aside",
    "duplicate": "another edit of the same caption has the same edited caption",
    "gives_all_away": "the edit repeats the edited caption, so that the image is not needed",
    "repeats_caption": "the edit repeats the caption instead of a change of it",
    "names_aspect": "the edit only names its aspect",
    "kept_is_new": "the words of the field kept are not in the caption",
    "kept_is_lost": "the words of the field kept are not in the edited caption",
    "unrelated_caption": "caption and edited caption share almost no words",
    "unsafe": "contains a word of the blocklist",
    "other_language": "a caption in another language than the configured one",
    "not_text": "a caption with almost no letters, a file name, a URL or JSON",
}
"""The reasons of the text filters; :func:`scot.edits.parsing.parse_answer` has further ones."""


@dataclass(frozen=True, slots=True)
class TextFilters:
    """Limits on the text of edits. Shares are of the distinct words, without articles etc.; 0 disables a limit."""

    most_given_away: float = 0.8
    """The largest share of the edited caption's words that the edit may repeat, when there are at least five."""
    least_kept: float = 0.5
    """The smallest share of the kept words that the caption and the edited caption must have."""
    least_shared: float = 0.15
    """The smallest share of the caption's words that the edited caption must have, when there are at least three."""
    language: str = "en"
    """ISO 639-1 code of the language that captions must be in; empty: any."""
    least_language: float = 0.01
    """The smallest probability of that language, as py3langid sees it; drawn captions have 0.22 and more."""
    blocklist: tuple[str, ...] = ("nude", "naked", "porn", "nsfw", "gore", "suicide", "rape", "nazi", "swastika")
    """Words that no edit or edited caption may have."""

    def __post_init__(self) -> None:
        for name in ("most_given_away", "least_kept", "least_shared", "least_language"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} must be between 0 and 1, not {getattr(self, name)}")

    def check_language(self) -> None:
        """Raise InvalidInput when the language cannot be identified."""
        if self.language and self.language not in _language_identifier().labels:
            raise InvalidInput(f"language must be an ISO 639-1 code such as en, not {self.language!r}")

    def reason_to_refuse_caption(self, caption: str) -> str | None:
        """The reason not to edit this caption, or None."""
        letters = sum(char.isalpha() for char in caption)
        if letters < 0.5 * len(caption.replace(" ", "")) or _NO_TEXT.fullmatch(caption):
            return "not_text"
        if self.language and not in_language(caption, self.language, self.least_language):
            return "other_language"
        return None

    def accept(self, caption: str, records: Iterable[EditRecord]) -> tuple[tuple[EditRecord, ...], Counter[str]]:
        """The records that pass, in order, and a count of the others by reason."""
        accepted: dict[str, EditRecord] = {}
        refused: Counter[str] = Counter()
        for record in records:
            text = plain(record.edited_caption)
            reason = "duplicate" if text in accepted else self._reason(caption, record)
            if reason:
                refused[reason] += 1
            else:
                accepted[text] = record
        return tuple(accepted.values()), refused

    def _reason(self, caption: str, record: EditRecord) -> str | None:
        edit, edited, before = words(record.edit), words(record.edited_caption), words(caption)
        if edited == before:
            return "identical_caption"
        if edit == words(record.aspect):
            return "names_aspect"
        if edit == before or (f" {' '.join(before)} " in f" {' '.join(edit)} " and len(_content(before)) >= _LONG):
            return "repeats_caption"
        if set(self.blocklist) & {part for word in (*edit, *edited) for part in _PARTS.split(word)}:
            return "unsafe"
        if self.language and not in_language(record.edited_caption, self.language, self.least_language):
            return "other_language"
        if self.most_given_away > 0:
            share = _share(edited, edit)
            if edit == edited or (share > self.most_given_away and len(_content(edited)) >= _LONG):
                return "gives_all_away"
        if _share(words(record.kept), before) < self.least_kept:
            return "kept_is_new"
        if _share(words(record.kept), edited) < self.least_kept:
            return "kept_is_lost"
        if _share(before, edited) < self.least_shared and len(_content(before)) >= _LEAST_WORDS_FOR_SHARE:
            return "unrelated_caption"
        return None


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def plain(text: str) -> str:
    """A text without case and punctuation."""
    return " ".join(words(text))


def in_language(text: str, language: str, least: float) -> bool:
    """Whether a text may be in a language; a text of few words in Latin letters always may.

    Raises:
        InvalidInput: the language is not known.
    """
    identifier = _language_identifier()
    if language not in identifier.labels:
        raise InvalidInput(f"language must be an ISO 639-1 code such as en, not {language!r}")
    if len(text.split()) < _LEAST_WORDS_FOR_LANGUAGE and _latin(text):
        return True
    return _probability(text, language) >= least


@lru_cache(maxsize=65_536)  # many images share a caption
def _probability(text: str, language: str) -> float:
    return float(dict(_language_identifier().rank(text))[language])


@cache
def _language_identifier() -> Any:
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_modelpath(str(MODEL_DIR / MODEL_FILE), norm_probs=True)


def _latin(text: str) -> bool:
    return all(char < "\u0250" for char in text if char.isalpha())


def _content(of: list[str]) -> set[str]:
    return set(of) - _SMALL


def _share(of: list[str], found_in: list[str]) -> float:
    """The share of the words of one text that another has; 1 of an empty text."""
    wanted = _content(of)
    return len(wanted & set(found_in)) / len(wanted) if wanted else 1.0
