"""The connection to an OpenAI-compatible endpoint: a limit on concurrency, retries, its errors as this project's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import openai

from scot.errors import ChatRefused, EngineRefused, Unavailable

NO_ENDPOINT = "the server at --url is not an OpenAI-compatible endpoint"
_MAX_WORDS = 300  # characters of an endpoint's words in a message
_REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)
_REFUSED_ALWAYS = (401, 403, 404, 501)  # wrong key, no right, no such model or URL, a way the server does not have

Answer = TypeVar("Answer")


class Endpoint:
    """A model at an endpoint; ``client`` makes the requests that :meth:`request` awaits.

    The client retries on 408, 409, 429, 5xx and broken lines with exponential backoff and jitter, and follows
    ``Retry-After``. A request waits for its turn at the endpoint: it fails when the endpoint has finished no answer for
    ``timeout_s`` (this request's retries included). A cancelled task closes its connection, by which a vLLM server
    frees the sequence.
    """

    def __init__(self, url: str, model: str, api_key: str, *, concurrency: int, timeout_s: float, retries: int) -> None:
        self.url, self._model, self._timeout = url, model, timeout_s
        self.client = openai.AsyncOpenAI(
            base_url=url,
            api_key=api_key or "none",
            max_retries=retries,
            timeout=openai.Timeout(None, connect=timeout_s),
        )
        self._slots = asyncio.Semaphore(concurrency)
        self._answered = -math.inf  # when the endpoint last finished an answer, by the event loop's clock

    async def request(self, start: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Await one answer, within the limit on concurrency.

        Raises:
            ChatRefused: the endpoint refuses this request, and has answered others.
            EngineRefused: it refuses every request.
            Unavailable: it does not answer, or is no such endpoint.
        """
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
                raise Unavailable(NO_ENDPOINT) from error
        self._answered = asyncio.get_running_loop().time()
        return answer

    async def check(self) -> None:
        """Request the endpoint's models. Raises Unavailable."""
        try:
            await self.client.with_options(max_retries=0, timeout=min(10.0, self._timeout)).models.list()
        except openai.APIError as error:
            raise self._unavailable(error) from error
        except (ValueError, AttributeError) as error:  # the client fails on a response that is not a list of models
            raise Unavailable(NO_ENDPOINT) from error

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

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

    def _unavailable(self, error: Exception) -> Unavailable | EngineRefused:
        if isinstance(error, openai.APIStatusError) and error.status_code in _REFUSED_ALWAYS:
            return self._refused(error)
        return Unavailable(f"the endpoint did not answer ({type(error).__name__})")

    def _refused(self, error: openai.APIStatusError) -> EngineRefused:
        body = error.body
        words = body.get("message") if isinstance(body, Mapping) else body
        said = " ".join(str(words or error.message).split())[:_MAX_WORDS]
        return EngineRefused(f"{self.url} refuses the model {self._model!r} (HTTP {error.status_code}): {said}")
