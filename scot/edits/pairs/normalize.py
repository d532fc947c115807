"""Captions as lemmas: what two captions have in common does not depend on articles, inflection, case or a template."""

from __future__ import annotations

import re
from hashlib import blake2b

from scot.edits.vocabulary import lemma
from scot.edits.vocabulary.words import FUNCTION_WORDS

BASE = 0x9E3779B97F4A7C15 | 1
"""The base of the polynomial hashes, modulo 2**64; odd, so that it has an inverse."""
MASK = (1 << 64) - 1

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ARTICLES = frozenset(["a", "an", "the"])
_TEMPLATE = re.compile(
    r"\W*(?:(?:this|here) is |it is |it's )?(?:an? |the )?(?:close[- ]?up )?"
    r"(?:photo(?:graph)?s?|pictures?|images?|pics?|snapshots?|shots?) (?:of|showing) "
)
SMALL = FUNCTION_WORDS["small"]
"""Words that carry too little meaning to be an edit."""


def body(caption: str) -> tuple[str, int]:
    """The caption in lower case, and where it begins behind a template such as *a photo of*."""
    text = caption.lower()
    template = _TEMPLATE.match(text)
    return text, template.end() if template else 0


class Lemmas(dict[str, int]):
    """Numbers of words by their lemma; 0 for articles. Unknown words are added on first use."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[str, int] = {}
        self.texts: list[str] = [""]

    def __missing__(self, word: str) -> int:
        if word in _ARTICLES:
            number = 0
        else:
            text = lemma(word)
            number = self._numbers.setdefault(text, len(self.texts))
            if number == len(self.texts):
                self.texts.append(text)
        self[word] = number
        return number


def random_value(text: str) -> int:
    """The 64-bit value that stands for a lemma in hashes."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def is_content(text: str) -> bool:
    """Whether a lemma carries meaning: no function word, and not a number or code."""
    return text not in SMALL and not any(char.isdigit() for char in text)
