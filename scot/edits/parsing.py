"""Parses a model's answer into edit records: each record is complete, or is refused with a reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scot.edits.prompt import clean
from scot.edits.record import MAX_CAPTION_CHARS, MAX_EDIT_CHARS, MAX_KEPT_CHARS, EditRecord
from scot.errors import InvalidInput

MAX_ANSWER_CHARS = 20_000
_FIELDS = ("aspect", "edit", "edited_caption", "kept")
_MAX_TRIES = 100  # opening braces at which a JSON object is searched
_DECODER = json.JSONDecoder(strict=False)  # accept raw control characters: the grammars of engines allow them


@dataclass(frozen=True, slots=True)
class Parsed:
    """The complete records of an answer, and a count by reason of the refused ones."""

    records: tuple[EditRecord, ...] = ()
    refused: Counter[str] = field(default_factory=Counter)


def parse_answer(text: str, aspects: Collection[str], *, cut_off: bool = False) -> Parsed:
    """Read the records of an answer; skips prose or a code fence around them, and a broken end.

    ``aspects`` are those that a record may have. Reasons: ``empty_answer``, ``answer_too_long``, ``answer_cut_off``
    (``cut_off``: the engine stopped at its limit), ``not_json``, ``wrong_fields``, ``unknown_aspect``,
    ``record_too_long``, ``empty_field``.
    """
    if not text.strip():
        return Parsed(refused=Counter(empty_answer=1))
    refused: Counter[str] = Counter()
    if len(text) > MAX_ANSWER_CHARS:
        text = text[:MAX_ANSWER_CHARS]
        refused["answer_too_long"] += 1
    elif cut_off:
        refused["answer_cut_off"] += 1
    records: list[EditRecord] = []
    found = False
    for candidate in _candidates(text):
        found = True
        record, reason = _record(candidate, aspects)
        if record is not None:
            records.append(record)
        else:
            refused[reason] += 1
    if not found and not refused:
        refused["not_json"] += 1
    return Parsed(tuple(records), refused)


def _candidates(text: str) -> Iterator[Any]:
    """Every value in the place of a record: the items of ``{"edits": [...]}``, or single objects."""
    start, tries = text.find("{"), 0
    while start >= 0 and tries < _MAX_TRIES:
        tries += 1
        try:
            value, stop = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        edits = value.get("edits")
        yield from edits if isinstance(edits, list) and edits else [value]
        start = text.find("{", stop)


def _record(candidate: Any, aspects: Collection[str]) -> tuple[EditRecord | None, str]:
    if not isinstance(candidate, Mapping) or set(candidate) != set(_FIELDS):
        return None, "wrong_fields"
    if not all(isinstance(candidate[name], str) for name in _FIELDS):
        return None, "wrong_fields"
    aspect, edit, edited, kept = (clean(candidate[name]) for name in _FIELDS)
    if aspect not in aspects:
        return None, "unknown_aspect"
    if not edit or not edited:
        return None, "empty_field"
    if len(edit) > MAX_EDIT_CHARS or len(edited) > MAX_CAPTION_CHARS:
        return None, "record_too_long"
    try:
        return EditRecord(aspect, edit, edited, kept[:MAX_KEPT_CHARS].rstrip()), ""
    except InvalidInput:
        return None, "record_too_long"
