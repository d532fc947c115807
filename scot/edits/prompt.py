"""Prompts of edit generation: versioned files with their aspects, and the messages made from one for a caption.

The constant part (the task and an example for each aspect) comes first and never changes, so that an engine computes it
once and reuses it (prefix caching). The caption follows as a JSON string in which no character can end the string, open
a chat template's token or control a terminal: a caption is always data, never an instruction.
"""

from __future__ import annotations

import json
import random
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from scot.edits.record import record_schema
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
    """One way to change an image, with an example."""

    name: str
    means: str
    caption: str
    edit: str
    edited_caption: str
    kept: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version of the prompt: the names of its aspects, and ``system``, the whole constant part."""

    version: str
    temperature: float
    aspects: tuple[str, ...]
    system: str
    examples: frozenset[str] = frozenset()
    """The edits of the examples, which a small model copies instead of reading the caption."""

    @classmethod
    def load(cls, version: str = DEFAULT_PROMPT) -> Prompt:
        """Read a version of this package. Raises InvalidInput when there is no such version."""
        folder = resources.files("scot.edits") / "prompts"
        known = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
        if version not in known:
            raise InvalidInput(f"prompt must be one of {', '.join(known)}, not {version!r}")
        return cls.parse(version, (folder / f"{version}.toml").read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, version: str, text: str) -> Prompt:
        """A version from the text of its TOML file. Raises InvalidInput when aspects are missing or repeated."""
        raw = tomllib.loads(text)
        aspects = [Aspect(**aspect) for aspect in raw["aspects"]]
        names = tuple(aspect.name for aspect in aspects)
        if not names or len(set(names)) < len(names):
            raise InvalidInput(f"prompt {version!r} must have at least one aspect, and each aspect once")
        edits = frozenset(aspect.edit for aspect in aspects)
        return cls(version, float(raw["temperature"]), names, _constant_part(str(raw["system"]), aspects), edits)

    def messages(self, caption: str, aspects: tuple[str, ...]) -> list[Message]:
        """The chat that requests edits of some aspects for one caption."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": _question(caption, aspects)}]

    def aspects_for(self, caption: str, count: int, seed: int) -> tuple[str, ...]:
        """``count`` aspects for a caption, at most all: over many captions, each aspect occurs equally often."""
        return tuple(random.Random(f"{seed}\n{caption}").sample(self.aspects, min(count, len(self.aspects))))

    def answer_schema(self, aspects: Sequence[str]) -> Mapping[str, Any]:
        """The JSON schema of an answer: an object with as many records as aspects, each of one of them."""
        count = len(aspects)
        records = {"type": "array", "items": record_schema(aspects), "minItems": count, "maxItems": count}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"edits": records},
            "required": ["edits"],
            "additionalProperties": False,
        }


def clean(text: str) -> str:
    """NFC, with single spaces, without control and invisible characters (except the two joiners that scripts need)."""
    visible = (
        char if char in _JOINERS or unicodedata.category(char)[0] != "C" else " "
        for char in unicodedata.normalize("NFC", text)
    )
    return " ".join("".join(visible).split())


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
