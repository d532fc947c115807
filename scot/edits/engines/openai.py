"""Any OpenAI-compatible endpoint: a ``vllm serve``, a hosted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletion

from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.base import BEFORE_TEXTS, Completion, Likelihood, Sampling
from scot.edits.engines.config import EngineConfig, model_id
from scot.edits.engines.endpoint import NO_ENDPOINT, Endpoint
from scot.edits.engines.likelihoods import (
    echo_request,
    first_of_text,
    forced_request,
    read_echo,
    read_forced,
    read_tokens,
)
from scot.edits.prompt import Message
from scot.errors import ChatRefused, EngineRefused, Unavailable

_RETRIES = 8  # with the client's exponential backoff

Found = TypeVar("Found")


class OpenAIEngine:
    """Chat completions with a JSON schema at an :class:`~scot.edits.engines.endpoint.Endpoint`."""

    def __init__(self, config: EngineConfig) -> None:
        self.id = model_id(config)
        self._model, self._url = config.model, config.url
        self._endpoint = Endpoint(
            config.url,
            config.model,
            config.api_key,
            concurrency=config.concurrency,
            timeout_s=config.timeout_s,
            retries=_RETRIES,
        )
        self._client, self._request = self._endpoint.client, self._endpoint.request
        self._echoes: bool | None = None  # whether completions repeat the prompt's log-probabilities; None: not known

    async def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], sampling: Sampling) -> Completion:
        """See :class:`scot.edits.engines.base.TextEngine`."""
        request: dict[str, Any] = {
            "model": self._model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "edits", "schema": dict(schema), "strict": True},
            },
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
        }
        return _completion(await self._request(lambda: self._client.chat.completions.create(**request)))

    async def likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """See :class:`scot.edits.engines.base.Ranker`. Without echo, each text is a request."""
        if self._echoes is not False:
            try:
                answer = await self._request(
                    lambda: self._client.completions.create(**echo_request(self._model, texts))
                )
            except (ChatRefused, EngineRefused):
                if self._echoes is True:
                    raise
            else:
                if (found := read_echo(answer, texts)) is not None:
                    self._echoes = True
                    return found
            self._echoes = False
        return await gather_or_cancel(map(self._forced, texts))

    async def _forced(self, text: str) -> Likelihood:
        """By the ways of llama.cpp's server."""
        before, tokens = await self._tokens(BEFORE_TEXTS), await self._tokens(f"{BEFORE_TEXTS}{text}")
        first = first_of_text(before, tokens)
        request = forced_request(self._model, tokens, first)
        answer = await self._request(lambda: self._client.completions.create(**request))
        return self._needed(read_forced(answer, tokens, first))

    async def _tokens(self, text: str) -> list[int]:
        url = f"{self._url.rstrip('/').removesuffix('/v1')}/tokenize"
        try:
            answer = await self._request(lambda: self._client.post(url, cast_to=object, body={"content": text}))
        except (ChatRefused, EngineRefused) as error:
            if isinstance(error.__cause__, (openai.AuthenticationError, openai.PermissionDeniedError)):
                raise
            answer = None
        return self._needed(read_tokens(answer))

    def _needed(self, found: Found | None) -> Found:
        if found is None:
            raise EngineRefused(
                f"{self._url} gives no log-probabilities of {self._model!r}, which --rank needs: it has neither "
                "completions with echo and logprobs, nor the ways of llama.cpp's server"
            )
        return found

    async def check(self) -> None:
        """Request the endpoint's models. Raises Unavailable."""
        await self._endpoint.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def _completion(answer: object) -> Completion:
    """From an endpoint's response; the client checks no types, so every field may have any type."""
    if not isinstance(answer, ChatCompletion):
        raise Unavailable(NO_ENDPOINT)
    choice = answer.choices[0] if answer.choices else None
    text = getattr(getattr(choice, "message", None), "content", None)
    prompt_tokens, completion_tokens = (
        getattr(answer.usage, name, None) for name in ("prompt_tokens", "completion_tokens")
    )
    return Completion(
        text if isinstance(text, str) else "",
        prompt_tokens if isinstance(prompt_tokens, int) else 0,
        completion_tokens if isinstance(completion_tokens, int) else 0,
        cut_off=getattr(choice, "finish_reason", None) == "length",
    )
