"""The interface of language models: messages in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scot.edits.prompt import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of an answer. The same seed gives the same answer, as far as the engine supports it."""

    temperature: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer; ``cut_off``: it ended at ``max_tokens``."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut_off: bool = False


class TextEngine(Protocol):
    """A language model. Triplets store its ``id``."""

    id: str

    async def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], sampling: Sampling) -> Completion:
        """Answer one chat with JSON of a schema; cancelling the task frees its resources.

        Raises:
            ChatRefused: the chat is too long for the model; other chats are not affected.
            EngineRefused: every chat is refused.
            Unavailable: the engine is unavailable, for every chat.
        """

    async def check(self) -> None:
        """Raise Unavailable when the engine cannot answer."""

    async def close(self) -> None:
        """Release all resources."""
