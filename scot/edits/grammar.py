"""The function words of English, and which words may stand around a noun: what edits by code need of a grammar."""

from __future__ import annotations

from scot.edits.vocabulary import TERMS
from scot.edits.vocabulary.words import FUNCTION_WORDS

PREPOSITIONS = FUNCTION_WORDS["prepositions"]
CONJUNCTIONS = FUNCTION_WORDS["conjunctions"]
AUXILIARIES = FUNCTION_WORDS["auxiliaries"]
POSSESSIVES = FUNCTION_WORDS["possessives"]
DETERMINERS = FUNCTION_WORDS["determiners"]
_FOLLOWERS = PREPOSITIONS | CONJUNCTIONS | AUXILIARIES | FUNCTION_WORDS["participles"]


def is_verb(word: str) -> bool:
    """Whether a word can be a verb in *-ing* or *-s*."""
    return any(term.form in ("ing", "s") for term in TERMS.get(word, ())) and word not in ("watch", "saw", "fish")


def is_follower(word: str) -> bool:
    """Whether a noun phrase is complete in front of this word."""
    participle = word.endswith("ed") and len(word) > 5 and word not in TERMS
    return word in _FOLLOWERS or participle or is_verb(word)
