"""The edit record: one way to change a caption, whatever engine generated it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scot.errors import InvalidInput

MAX_EDIT_WORDS = 20
MAX_CAPTION_WORDS = 30
MAX_EDIT_CHARS = 200
MAX_CAPTION_CHARS = 300
MAX_KEPT_CHARS = 200


def record_schema(aspects: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of one record whose aspect is one of ``aspects``."""
    return {
        "type": "object",
        "properties": {
            "aspect": {"enum": list(aspects)},
            "edit": {"type": "string", "minLength": 1, "maxLength": MAX_EDIT_CHARS},
            "edited_caption": {"type": "string", "minLength": 1, "maxLength": MAX_CAPTION_CHARS},
            "kept": {"type": "string", "maxLength": MAX_KEPT_CHARS},
        },
        "required": ["aspect", "edit", "edited_caption", "kept"],
        "additionalProperties": False,
    }


@dataclass(frozen=True, slots=True)
class EditRecord:
    """One edit: the instruction, the caption afterwards, and what stays unchanged (``kept``).

    The aspect is one of the prompt that the edit was generated with (:class:`scot.edits.prompt.Prompt`).
    ``target_image_id`` is an image that has the edited caption, if the engine knows one.

    Raises:
        InvalidInput: a field is empty or too long.
    """

    aspect: str
    edit: str
    edited_caption: str
    kept: str
    target_image_id: str = ""

    def answer(self) -> dict[str, str]:
        """The fields that a model writes (:func:`record_schema`)."""
        return {"aspect": self.aspect, "edit": self.edit, "edited_caption": self.edited_caption, "kept": self.kept}

    def __post_init__(self) -> None:
        if not self.aspect:
            raise InvalidInput("aspect must not be empty")
        for name, text, most in (
            ("edit", self.edit, MAX_EDIT_WORDS),
            ("edited_caption", self.edited_caption, MAX_CAPTION_WORDS),
        ):
            words = len(text.split())
            if not 1 <= words <= most:
                raise InvalidInput(f"{name} must have 1 to {most} words, not {words}")


@dataclass(frozen=True, slots=True)
class CaptionEdits:
    """The result of one caption: its edits, the refused ones by reason, and the tokens that a model read and wrote."""

    edits: tuple[EditRecord, ...] = ()
    refused: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
