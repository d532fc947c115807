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


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The log-probability of a whole text, in nats, and the tokens that it has."""

    log_probability: float
    tokens: int = 0


BEFORE_TEXTS = "A photo of "
"""What a model reads before a text whose log-probability is asked: without it the first word has none."""


class Ranker(Protocol):
    """A language model that says how likely texts are. Triplets store its ``id``."""

    id: str

    async def likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """How likely each text is, in order; a text of infinite or no log-probability has a value that is not finite.

        Raises:
            ChatRefused: a text is too long for the model; other calls are not affected.
            EngineRefused: the endpoint gives no log-probabilities, or refuses everything.
            Unavailable: the engine is unavailable.
        """

    async def check(self) -> None:
        """Raise Unavailable when the engine cannot answer."""

    async def close(self) -> None:
        """Release all resources."""


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
