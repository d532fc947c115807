"""Prompts of edit generation: versioned files, and the messages that are made from one for a caption.

What is the same for every caption (the task and an example for each aspect) comes first and never changes, so that an
engine computes it once and reuses it (prefix caching). The caption follows as a JSON string in which no character can
end the string, open a chat template's token or control a terminal: it is data, whatever it says.
"""

from __future__ import annotations

import json
import random
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from scot.edits.record import ASPECTS, EDIT_SCHEMA
from scot.errors import InvalidInput

DEFAULT_PROMPT = "edits-1"
TOKENS_PER_EDIT = 160
"""Room for one record in the answer: three short texts and the JSON around them."""

Message = dict[str, str]
"""A chat message: ``role`` and ``content``."""

_JOINERS = "\u200c\u200d"
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "[": "\\u005b", "]": "\\u005d", "|": "\\u007c"})


@dataclass(frozen=True, slots=True)
class Aspect:
    """One of the nine ways to change a picture, with an example of our own."""

    name: str
    means: str
    caption: str
    edit: str
    edited_caption: str
    kept: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version of the prompt; ``system`` is the whole constant part."""

    version: str
    temperature: float
    system: str

    @classmethod
    def load(cls, version: str = DEFAULT_PROMPT) -> Prompt:
        """Read a version. Raises InvalidInput when there is none of that name, or when it lacks an aspect."""
        folder = resources.files("scot.edits") / "prompts"
        known = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
        if version not in known:
            raise InvalidInput(f"prompt must be one of {', '.join(known)}, not {version!r}")
        raw = tomllib.loads((folder / f"{version}.toml").read_text(encoding="utf-8"))
        aspects = [Aspect(**aspect) for aspect in raw["aspects"]]
        if tuple(aspect.name for aspect in aspects) != ASPECTS:
            raise InvalidInput(f"prompt {version!r} must have the aspects {', '.join(ASPECTS)}, in this order")
        return cls(version, float(raw["temperature"]), _constant_part(str(raw["system"]), aspects))

    def messages(self, caption: str, aspects: tuple[str, ...]) -> list[Message]:
        """The chat for one caption and the aspects its edits should have."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": _question(caption, aspects)}]


def clean(text: str) -> str:
    """NFC, without control and invisible characters (but for the two joiners that scripts need), with single spaces."""
    shown = (
        char if char in _JOINERS or unicodedata.category(char)[0] != "C" else " "
        for char in unicodedata.normalize("NFC", text)
    )
    return " ".join("".join(shown).split())


def aspects_for(caption: str, count: int, seed: int) -> tuple[str, ...]:
    """``count`` aspects for a caption, at most all nine: over many captions each comes equally often."""
    return tuple(random.Random(f"{seed}\n{caption}").sample(ASPECTS, min(count, len(ASPECTS))))


def answer_schema(count: int) -> Mapping[str, Any]:
    """The JSON schema of an answer: an object with 1 to ``count`` records. The same for every caption of a run."""
    record = {key: value for key, value in EDIT_SCHEMA.items() if key != "$schema"}
    return {
        "$schema": EDIT_SCHEMA["$schema"],
        "type": "object",
        "properties": {"edits": {"type": "array", "items": record, "minItems": 1, "maxItems": count}},
        "required": ["edits"],
        "additionalProperties": False,
    }


def _constant_part(task: str, aspects: list[Aspect]) -> str:
    lines = [task.strip(), "", "The aspects:"]
    lines += [f"- {aspect.name}: {aspect.means}" for aspect in aspects]
    for aspect in aspects:
        record = {
            "aspect": aspect.name,
            "edit": aspect.edit,
            "edited_caption": aspect.edited_caption,
            "kept": aspect.kept,
        }
        lines += ["", "Example", _question(aspect.caption, (aspect.name,)), json.dumps({"edits": [record]})]
    return "\n".join(lines)


def _question(caption: str, aspects: tuple[str, ...]) -> str:
    quoted = json.dumps(clean(caption), ensure_ascii=False).translate(_UNSAFE)
    return f"caption: {quoted}\naspects: {json.dumps(aspects)}"
