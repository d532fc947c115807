"""What a language model is to SCOT: messages in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scot.edits.prompt import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. The same seed gives the same answer as far as the engine can."""

    temperature: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer; ``cut_off`` when it ended at ``max_tokens``."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut_off: bool = False


class TextEngine(Protocol):
    """A language model. ``id`` is what triplets remember it by."""

    id: str

    async def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], sampling: Sampling) -> Completion:
        """Answer one chat with JSON of a schema; cancelling the task frees what it uses.

        Raises:
            InvalidInput: the model cannot read this chat (it is too long); others are not affected.
            Unavailable: the engine is away, for this and any other chat.
        """

    async def check(self) -> None:
        """Raise Unavailable when the engine cannot answer."""

    async def close(self) -> None:
        """Free what it holds."""
