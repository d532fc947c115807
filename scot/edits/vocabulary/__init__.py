"""The words of everyday captions: groups of things, qualities, actions and scenes that can replace each other."""

from scot.edits.vocabulary.words import GROUPS, TERMS, Group, Term, Value, lemma, other_values, value_of

__all__ = ["GROUPS", "TERMS", "Group", "Term", "Value", "lemma", "other_values", "value_of"]
