"""The edit record: one way to change a caption, whatever engine wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scot.errors import InvalidInput

ASPECTS = (
    "cardinality",
    "addition",
    "negation",
    "direct addressing",
    "compare and change",
    "comparative",
    "conjunction",
    "spatial and background",
    "viewpoint",
)
"""The nine ways to change a picture by which CIReVL (Karthik et al. 2024, arXiv 2310.09291) orders its examples."""

MAX_EDIT_WORDS = 20
MAX_CAPTION_WORDS = 30
MAX_EDIT_CHARS = 200
MAX_CAPTION_CHARS = 300
MAX_KEPT_CHARS = 200

EDIT_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "aspect": {"enum": list(ASPECTS)},
        "edit": {"type": "string", "minLength": 1, "maxLength": MAX_EDIT_CHARS},
        "edited_caption": {"type": "string", "minLength": 1, "maxLength": MAX_CAPTION_CHARS},
        "kept": {"type": "string", "maxLength": MAX_KEPT_CHARS},
    },
    "required": ["aspect", "edit", "edited_caption", "kept"],
    "additionalProperties": False,
}
"""JSON schema of one record."""


@dataclass(frozen=True, slots=True)
class EditRecord:
    """One edit: what to say, how the caption reads afterwards, and what it leaves as it was.

    Raises:
        InvalidInput: a field is empty or too long, or the aspect is not one of :data:`ASPECTS`.
    """

    aspect: str
    edit: str
    edited_caption: str
    kept: str

    def __post_init__(self) -> None:
        if self.aspect not in ASPECTS:
            raise InvalidInput(f"aspect must be one of {', '.join(ASPECTS)}, not {self.aspect!r}")
        for name, text, most in (
            ("edit", self.edit, MAX_EDIT_WORDS),
            ("edited_caption", self.edited_caption, MAX_CAPTION_WORDS),
        ):
            words = len(text.split())
            if not 1 <= words <= most:
                raise InvalidInput(f"{name} must have 1 to {most} words, not {words}")


@dataclass(frozen=True, slots=True)
class CaptionEdits:
    """What came of one caption: its edits, what was refused by reason, and the tokens that a model read and wrote."""

    edits: tuple[EditRecord, ...] = ()
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
