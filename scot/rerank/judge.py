"""What judges one candidate: the probability of *yes* at an OpenAI-compatible endpoint that takes pictures."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from scot.errors import InvalidInput, ScotError, Unavailable, install_hint
from scot.rerank.config import RerankConfig
from scot.rerank.prompt import RerankPrompt

Reason = Literal[
    "late", "busy", "unavailable", "refused", "prose", "no_probabilities", "not_finite", "same_for_all",
    "no_candidate_picture", "no_reference_picture",
]  # fmt: skip
"""Why the first stage's order stays."""
REASONS: tuple[Reason, ...] = get_args(Reason)
TOP_LOGPROBS = 20
"""The most alternatives of a token that OpenAI and vLLM tell."""
LEAST_MASS = 0.1
"""An answer is prose if *yes* and *no* together are less likely than this."""


class Unanswered(ScotError):
    """A candidate has no verdict."""

    def __init__(self, reason: Reason, message: str = "") -> None:
        super().__init__(message or reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Question:
    """A query and one candidate; pictures are encoded. ``reference`` is None for a search by text alone."""

    edit: str
    reference: bytes | None
    candidate: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """How likely a candidate is right, 0 to 1, and the tokens that were read and written for it."""

    probability: float
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Judge(Protocol):
    """Judges candidates. Cached verdicts carry its ``id``."""

    id: str

    async def judge(self, question: Question) -> Verdict:
        """Judge one candidate; cancelling the task frees its resources. Raises Unanswered."""

    async def close(self) -> None:
        """Release all resources."""


class OpenAIJudge:
    """A vision-language model behind a chat endpoint: ``vllm serve``, a hosted model. It writes one token.

    At most ``concurrency`` chats are at the endpoint at once, whatever the number of queries.
    """

    def __init__(self, config: RerankConfig) -> None:
        from scot.edits.engines.endpoint import Endpoint  # openai is in the extra [edits]

        self._prompt = RerankPrompt.load(config.rerank_prompt)
        self.id = f"{config.rerank_model}:{self._prompt.version}"
        self._model = config.rerank_model
        self._endpoint = Endpoint(
            config.rerank_url,
            self._model,
            config.api_key(),
            concurrency=config.rerank_concurrency,
            timeout_s=config.rerank_timeout_s,
            retries=1,
        )
        self._begin = asyncio.Lock()

    async def judge(self, question: Question) -> Verdict:
        """See :class:`Judge`."""
        async with self._begin:  # one candidate in a pass of the event loop: other searches take their steps between
            await asyncio.sleep(0)
        request: dict[str, Any] = {
            "model": self._model,
            "messages": self._prompt.messages(question.edit, question.reference, question.candidate),
            "temperature": 0.0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        # Not chat.completions.create, which takes twice the processor time: it checks what is sent and what comes.
        post = self._endpoint.client.post
        try:
            answer = await self._endpoint.request(lambda: post("/chat/completions", cast_to=object, body=request))
        except ScotError as error:
            raise Unanswered("unavailable" if isinstance(error, Unavailable) else "refused", str(error)) from error
        return read_verdict(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def load_judge(config: RerankConfig) -> Judge:
    """The judge of a configuration with an endpoint.

    Raises:
        InvalidInput: openai is not installed, the key cannot be read, or there is no such prompt.
    """
    try:
        return OpenAIJudge(config)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"reranking needs {error.name}: {install_hint('edits')}") from error


def read_verdict(answer: object) -> Verdict:
    """P(yes) / (P(yes) + P(no)) of the first token of a chat completion, its JSON; every field may have any type.

    Raises:
        Unanswered: there is no token, it has no log-probabilities, or it is neither *yes* nor *no*.
    """
    choices = _field(answer, "choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    content = _field(_field(choice, "logprobs"), "content")
    if not isinstance(content, list) or not content:
        raise Unanswered("no_probabilities")
    mass = {"yes": 0.0, "no": 0.0}
    for token, log_probability in _alternatives(content[0]):
        if math.isnan(log_probability) or log_probability > 1e-3:
            raise Unanswered("not_finite")
        word = token.strip().strip(".,!\"'*▁Ġ").casefold()
        if word in mass:
            mass[word] += math.exp(log_probability)
    total = mass["yes"] + mass["no"]
    if total < LEAST_MASS:
        raise Unanswered("prose")
    tokens = (_field(_field(answer, "usage"), name) for name in ("prompt_tokens", "completion_tokens"))
    return Verdict(mass["yes"] / total, *(number if isinstance(number, int) else 0 for number in tokens))


def _alternatives(first: object) -> Iterator[tuple[str, float]]:
    """The tokens that could have been first, each once, with their log-probabilities."""
    found: dict[str, float] = {}
    several = _field(first, "top_logprobs")
    for each in [first, *(several if isinstance(several, list) else ())]:
        token, value = _field(each, "token"), _field(each, "logprob")
        if isinstance(token, str) and isinstance(value, int | float):
            found.setdefault(token, float(value))
    if not found:
        raise Unanswered("no_probabilities")
    yield from found.items()


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
