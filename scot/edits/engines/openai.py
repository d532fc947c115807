"""Any OpenAI-compatible endpoint: a ``vllm serve``, a hosted model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletion

from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.base import BEFORE_TEXTS, Completion, Likelihood, Sampling
from scot.edits.engines.config import EngineConfig, model_id
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
_NO_ENDPOINT = "the server at --url is not an OpenAI-compatible endpoint"
_MAX_WORDS = 300  # characters of an endpoint's words in a message
_REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)
_REFUSED_ALWAYS = (401, 403, 404, 501)  # wrong key, no right, no such model or URL, a way the server does not have

Answer = TypeVar("Answer")
Found = TypeVar("Found")


class OpenAIEngine:
    """Chat completions with a JSON schema, a limit on concurrency, and retries on 408, 409, 429, 5xx and broken lines.

    The client retries with exponential backoff and jitter and follows ``Retry-After``. A chat waits for its turn at the
    endpoint: it fails when the endpoint has finished no answer for ``timeout_s`` (this chat's retries included). A
    cancelled task closes its connection, by which a vLLM server frees the sequence.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.id = model_id(config)
        self._model, self._url, self._timeout = config.model, config.url, config.timeout_s
        self._client = openai.AsyncOpenAI(
            base_url=config.url,
            api_key=config.api_key or "none",
            max_retries=_RETRIES,
            timeout=openai.Timeout(None, connect=config.timeout_s),
        )
        self._slots = asyncio.Semaphore(config.concurrency)
        self._echoes: bool | None = None  # whether completions repeat the prompt's log-probabilities; None: not known
        self._answered = -math.inf  # when the endpoint last finished an answer, by the event loop's clock

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

    async def _request(self, start: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Await one answer, within the limit on concurrency."""
        async with self._slots:
            try:
                answer = await self._in_turn(start())
            except _REFUSED as error:
                if self._answered > -math.inf:
                    raise ChatRefused(f"the endpoint refuses this chat (HTTP {error.status_code})") from error
                raise self._refused(error) from error
            except (openai.APIError, TimeoutError) as error:
                raise self._unavailable(error) from error
            except ValueError as error:  # invalid JSON
                raise Unavailable(_NO_ENDPOINT) from error
        self._answered = asyncio.get_running_loop().time()
        return answer

    async def _in_turn(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Await an answer. Raises TimeoutError when neither it nor another answer has come for ``timeout_s``."""
        loop = asyncio.get_running_loop()
        started, task = loop.time(), asyncio.ensure_future(work)
        try:
            while True:
                left = max(started, self._answered) + self._timeout - loop.time()
                if left <= 0:
                    raise TimeoutError
                if (await asyncio.wait([task], timeout=left))[0]:
                    return task.result()
        finally:
            task.cancel()

    async def check(self) -> None:
        """Request the endpoint's models. Raises Unavailable."""
        try:
            await self._client.with_options(max_retries=0, timeout=min(10.0, self._timeout)).models.list()
        except openai.APIError as error:
            raise self._unavailable(error) from error
        except (ValueError, AttributeError) as error:  # the client fails on a response that is not a list of models
            raise Unavailable(_NO_ENDPOINT) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _unavailable(self, error: Exception) -> Unavailable | EngineRefused:
        if isinstance(error, openai.APIStatusError) and error.status_code in _REFUSED_ALWAYS:
            return self._refused(error)
        return Unavailable(f"the endpoint did not answer ({type(error).__name__})")

    def _refused(self, error: openai.APIStatusError) -> EngineRefused:
        body = error.body
        words = body.get("message") if isinstance(body, Mapping) else body
        said = " ".join(str(words or error.message).split())[:_MAX_WORDS]
        return EngineRefused(f"{self._url} refuses the model {self._model!r} (HTTP {error.status_code}): {said}")


def _completion(answer: object) -> Completion:
    """From an endpoint's response; the client checks no types, so every field may have any type."""
    if not isinstance(answer, ChatCompletion):
        raise Unavailable(_NO_ENDPOINT)
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
