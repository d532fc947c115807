"""The engine for OpenAI-compatible endpoints, against one on this machine."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from scot.edits.engines import Completion, EngineConfig, Sampling
from scot.edits.engines.base import Likelihood
from scot.edits.engines.openai import OpenAIEngine
from scot.edits.generators.load import load_generator, names
from scot.edits.prompt import Prompt
from scot.errors import ChatRefused, EngineRefused, InvalidInput, ScotError, Unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROMPT = Prompt.load()
MESSAGES = PROMPT.messages("a red cat", ("addition",))
SCHEMA = PROMPT.answer_schema(("addition", "negation"))
SAMPLING = Sampling(temperature=0.4, max_tokens=77, seed=2**32 - 1)
AT_ONCE = {"Retry-After": "0.001"}  # the client takes 0 for no header
LONG = 30.0  # a deadlock's end; nothing waits for it


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def endpoint(handler: Handler, **settings: Any) -> AsyncIterator[OpenAIEngine]:
    """An engine whose endpoint answers everything by a handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    engine = OpenAIEngine(
        EngineConfig(
            **{"engine": "openai", "model": "tiny", "url": url, "api_key": "secret", "timeout_s": LONG} | settings
        )
    )
    try:
        yield engine
    finally:
        await engine.close()
        await runner.cleanup()


def ask(engine: OpenAIEngine) -> Awaitable[Completion]:
    return engine.complete(MESSAGES, SCHEMA, SAMPLING)


def said(content: Any = "hello", finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
    }


def fixed(make: Callable[[], web.StreamResponse]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return make()

    return handler


def complete(make: Callable[[], web.StreamResponse], **settings: Any) -> Completion:
    """What the engine makes of one response, again and again."""

    async def main() -> Completion:
        async with endpoint(fixed(make), **settings) as engine:
            return await ask(engine)

    return asyncio.run(main())


def check(make: Callable[[], web.StreamResponse]) -> None:
    async def main() -> None:
        async with endpoint(fixed(make)) as engine:
            await engine.check()

    asyncio.run(main())


def assert_one_sentence(error: ScotError) -> None:
    assert "\n" not in str(error)
    assert not any(private in str(error) for private in ("127.0.0.1", "http://", "secret", "0x"))


def test_the_endpoint_is_sent_the_chat_the_schema_and_the_sampling() -> None:
    requests = []

    async def handler(request: web.Request) -> web.StreamResponse:
        requests.append((request.method, request.path, request.headers["Authorization"], await request.json()))
        return web.json_response(said())

    async def main() -> None:
        async with endpoint(handler) as engine:
            assert engine.id == "openai:tiny"
            assert await ask(engine) == Completion("hello", 11, 3)

    asyncio.run(main())
    body = {
        "model": "tiny",
        "messages": MESSAGES,
        "response_format": {"type": "json_schema", "json_schema": {"name": "edits", "schema": SCHEMA, "strict": True}},
        "temperature": 0.4,
        "max_tokens": 77,
        "seed": 2**32 - 1,
    }
    assert requests == [("POST", "/v1/chat/completions", "Bearer secret", body)]


@pytest.mark.parametrize(
    ("body", "completion"),
    [
        (said("", "length"), Completion("", 11, 3, cut_off=True)),
        (said("{", "length"), Completion("{", 11, 3, cut_off=True)),
        (said(None), Completion("", 11, 3)),
        (said([{"type": "text", "text": "x"}]), Completion("", 11, 3)),
        (said() | {"choices": []}, Completion("", 11, 3)),
        (said() | {"choices": None}, Completion("", 11, 3)),
        (said() | {"choices": [{}]}, Completion("", 11, 3)),
        (said() | {"choices": [{"message": None}]}, Completion("", 11, 3)),
        (said() | {"choices": ["hello"]}, Completion("", 11, 3)),
        (said() | {"usage": None}, Completion("hello", 0, 0)),
        (said() | {"usage": {"prompt_tokens": None, "completion_tokens": "3"}}, Completion("hello", 0, 0)),
        ({}, Completion("", 0, 0)),
    ],
)
def test_what_is_not_there_is_empty(body: dict[str, Any], completion: Completion) -> None:
    assert complete(lambda: web.json_response(body)) == completion


NO_ENDPOINTS = [
    lambda: web.Response(text="<html>Please log in</html>", content_type="text/html"),
    lambda: web.Response(text="{oops", content_type="application/json"),
    lambda: web.json_response("hello"),
    lambda: web.json_response(None),
    lambda: web.json_response([said()]),
    lambda: web.Response(status=204),
]


@pytest.mark.parametrize("make", NO_ENDPOINTS, ids=["page", "broken", "text", "null", "list", "nothing"])
@pytest.mark.parametrize("call", [complete, check])
def test_what_is_no_endpoint_is_unavailable(
    call: Callable[[Callable[[], web.StreamResponse]], object], make: Callable[[], web.StreamResponse]
) -> None:
    with pytest.raises(Unavailable, match="the server at --url is not an OpenAI-compatible endpoint") as told:
        call(make)
    assert_one_sentence(told.value)


@pytest.mark.parametrize("failures", [[429], [500], [503, 429, 502], [408, 409]])
def test_a_busy_endpoint_is_asked_again(failures: list[int]) -> None:
    left = list(failures)

    async def handler(request: web.Request) -> web.StreamResponse:
        if left:
            return web.json_response({"error": {"message": "busy"}}, status=left.pop(0), headers=AT_ONCE)
        return web.json_response(said())

    async def main() -> None:
        async with endpoint(handler) as engine:
            assert await ask(engine) == Completion("hello", 11, 3)

    asyncio.run(main())
    assert left == []


def test_a_broken_connection_is_tried_again() -> None:
    broken = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if not broken:
            assert request.transport is not None
            request.transport.abort()
            broken.append(True)
        return web.json_response(said())

    async def main() -> None:
        async with endpoint(handler) as engine:
            assert await ask(engine) == Completion("hello", 11, 3)

    asyncio.run(main())
    assert broken


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_refuses_key_or_model_is_told_with_its_words(status: int) -> None:
    with pytest.raises(EngineRefused) as told:
        complete(lambda: web.json_response({"error": {"message": "no such\nmodel"}}, status=status))
    assert re.fullmatch(
        rf"http://127\.0\.0\.1:\d+/v1 refuses the model 'tiny' \(HTTP {status}\): no such model", str(told.value)
    )


@pytest.mark.parametrize("status", [400, 422])
def test_an_endpoint_that_refuses_the_first_chat_refuses_all(status: int) -> None:
    with pytest.raises(EngineRefused, match=rf"\(HTTP {status}\): json_schema is not supported"):
        complete(lambda: web.json_response({"error": {"message": "json_schema is not supported"}}, status=status))


@pytest.mark.parametrize("status", [400, 422])
def test_a_chat_that_is_refused_after_others_were_answered_is_refused_alone(status: int) -> None:
    answers = iter([web.json_response(said()), web.json_response({"error": {"message": "too long"}}, status=status)])

    async def handler(request: web.Request) -> web.StreamResponse:
        return next(answers)

    async def main() -> None:
        async with endpoint(handler) as engine:
            await ask(engine)
            with pytest.raises(ChatRefused) as told:
                await ask(engine)
            assert str(told.value) == f"the endpoint refuses this chat (HTTP {status})"

    asyncio.run(main())


def test_a_chat_waits_for_its_turn_as_long_as_others_are_answered() -> None:
    """An endpoint that answers one chat after the other, each in a quarter of the timeout."""
    turn = asyncio.Lock()

    async def handler(request: web.Request) -> web.StreamResponse:
        async with turn:
            await asyncio.sleep(0.5)
            return web.json_response(said())

    async def main() -> None:
        async with endpoint(handler, timeout_s=2.0) as engine, asyncio.timeout(LONG):
            assert len(await asyncio.gather(*(ask(engine) for _ in range(6)))) == 6

    asyncio.run(main())


def test_an_endpoint_that_stays_busy_is_unavailable() -> None:
    asked = []

    def busy() -> web.StreamResponse:
        asked.append(True)
        return web.json_response({}, status=500, headers=AT_ONCE)

    with pytest.raises(Unavailable, match=r"the endpoint did not answer \(InternalServerError\)") as told:
        complete(busy)
    assert_one_sentence(told.value)
    assert 3 <= len(asked) <= 20


def test_an_endpoint_that_never_answers_is_unavailable() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        async with endpoint(handler, timeout_s=0.3) as engine, asyncio.timeout(LONG):
            for call in (ask(engine), engine.check()):
                with pytest.raises(Unavailable, match="the endpoint did not answer") as told:
                    await call
                assert_one_sentence(told.value)

    asyncio.run(main())


def test_an_answer_that_trickles_in_is_not_waited_for() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)  # the pace of the answer; no test waits for it

    async def main() -> None:
        async with endpoint(handler, timeout_s=0.3) as engine, asyncio.timeout(LONG):
            with pytest.raises(Unavailable, match="the endpoint did not answer"):
                await ask(engine)

    asyncio.run(main())


def test_no_more_requests_at_a_time_than_allowed() -> None:
    allowed, peak, inside = 3, 0, 0

    async def main() -> None:
        together = asyncio.Barrier(allowed)

        async def handler(request: web.Request) -> web.StreamResponse:
            nonlocal inside, peak
            inside += 1
            peak = max(peak, inside)
            await together.wait()
            inside -= 1
            return web.json_response(said())

        async with endpoint(handler, concurrency=allowed) as engine, asyncio.timeout(LONG):
            answers = await asyncio.gather(*(ask(engine) for _ in range(4 * allowed)))
        assert answers == [Completion("hello", 11, 3)] * 4 * allowed

    asyncio.run(main())
    assert peak == allowed


def test_a_cancelled_chat_closes_its_connection_and_gives_its_place_back() -> None:
    async def main() -> None:
        arrived, gone = asyncio.Event(), asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            if arrived.is_set():
                return web.json_response(said())
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            raise AssertionError

        async with endpoint(handler, concurrency=1) as engine, asyncio.timeout(LONG):
            chat = asyncio.ensure_future(ask(engine))
            await arrived.wait()
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            await gone.wait()
            assert await ask(engine) == Completion("hello", 11, 3)

    asyncio.run(main())


def test_a_failed_chat_gives_its_place_back() -> None:
    statuses = [400, 401, 200, 400, 200]

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(said(), status=statuses.pop(0))

    async def main() -> None:
        async with endpoint(handler, concurrency=1) as engine, asyncio.timeout(LONG):
            for expected in (EngineRefused, EngineRefused, None, ChatRefused, None):
                if expected is None:
                    assert await ask(engine) == Completion("hello", 11, 3)
                    continue
                with pytest.raises(expected):
                    await ask(engine)

    asyncio.run(main())


def test_check_asks_for_the_models() -> None:
    paths = []

    async def handler(request: web.Request) -> web.StreamResponse:
        paths.append((request.method, request.path))
        return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    async def main() -> None:
        async with endpoint(handler) as engine:
            await engine.check()

    asyncio.run(main())
    assert paths == [("GET", "/v1/models")]


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_check_tells_an_endpoint_that_refuses(status: int) -> None:
    expected = EngineRefused if status < 500 else Unavailable
    with pytest.raises(expected) as told:
        check(lambda: web.json_response({}, status=status))
    assert "secret" not in str(told.value)


def test_nothing_listening_is_unavailable() -> None:
    async def main(url: str) -> None:
        engine = OpenAIEngine(EngineConfig(engine="openai", model="tiny", url=url, timeout_s=0.3))
        try:
            for call in (engine.check(), ask(engine)):
                with pytest.raises(Unavailable, match="the endpoint did not answer") as told:
                    await call
                assert_one_sentence(told.value)
        finally:
            await engine.close()

    with socket.socket() as taken:  # bound, so that no other takes the port, and not listening
        taken.bind(("127.0.0.1", 0))
        asyncio.run(main(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))


@pytest.mark.parametrize("key", ["sk-é", "sk\n", "sk\r\nX-Other: 1"])
def test_a_key_that_no_header_can_hold_is_told_without_the_key(key: str) -> None:
    with pytest.raises(InvalidInput, match=r"^api_key must be printable ASCII characters$"):
        EngineConfig(engine="openai", model="tiny", url="http://127.0.0.1:1/v1", api_key=key)


TEXTS = ["a red cat", "a green cat"]


def repeated(request: dict[str, Any], *, logprobs: bool = True) -> dict[str, Any]:
    """Completions with echo: every word of the prompts with its place, as likely as it is long, and one word more."""

    def choice(index: int, prompt: str) -> dict[str, Any]:
        found = [(match.start(), match[0]) for match in re.finditer(r" ?\S+", prompt)]
        values = [None, *(-float(len(token)) for _, token in found[1:]), -100.0]
        offsets, tokens = [at for at, _ in found], [token for _, token in found]
        told = {
            "text_offset": [*offsets, len(prompt)],
            "tokens": [*tokens, " end"],
            "token_logprobs": values,
            "top_logprobs": None,
        }
        return {
            "index": index, "text": f"{prompt} end", "finish_reason": "length", "logprobs": told if logprobs else None,
        }  # fmt: skip

    choices = [choice(n, prompt) for n, prompt in enumerate(request["prompt"])]
    return {"id": "1", "object": "text_completion", "created": 1, "model": "tiny", "choices": choices[::-1]}


def likelihoods(handler: Handler, calls: int = 1) -> list[list[Likelihood]]:
    async def main() -> list[list[Likelihood]]:
        async with endpoint(handler) as engine:
            return [await engine.likelihoods(TEXTS) for _ in range(calls)]

    return asyncio.run(main())


def test_likelihoods_are_those_of_the_texts_alone() -> None:
    """Neither the words before the text nor the one that the model writes behind it count."""
    paths: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        body = await request.json()
        assert (body["echo"], body["prompt"]) == (True, [f"A photo of {text}" for text in TEXTS])
        return web.json_response(repeated(body))

    # " a", " red", " cat" and " a", " green", " cat"
    assert likelihoods(handler) == [[Likelihood(-10.0, 3), Likelihood(-12.0, 3)]]
    assert paths == ["/v1/completions"]


def tokens_of(text: str) -> list[int]:
    return [sum(word.encode()) for word in re.findall(r" ?\S+| $", text)]


def llama(told: list[str], *, logprobs: bool = True) -> Handler:
    """The ways of llama.cpp's server: no echo, tokens, and a grammar of tokens."""

    async def handler(request: web.Request) -> web.StreamResponse:
        told.append(request.path)
        body = await request.json()
        if request.path == "/tokenize":
            return web.json_response({"tokens": tokens_of(body["content"])})
        allowed = [int(token) for token in re.findall(r"<\[(\d+)\]>", body.get("grammar", "<[7]>"))]
        content = [{"id": token, "token": "x", "logprob": -token / 100, "top_logprobs": []} for token in allowed]
        found = {"content": content} if logprobs else None
        choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": found}
        return web.json_response({"id": "1", "object": "text_completion", "created": 1, "choices": [choice]})

    return handler


def test_a_server_without_echo_writes_the_texts_token_by_token() -> None:
    paths: list[str] = []
    expected = [Likelihood(pytest.approx(-sum(tokens_of(f" {text}")) / 100), 3) for text in TEXTS]
    assert likelihoods(llama(paths), calls=2) == [expected, expected]
    assert paths.count("/v1/completions") == 1 + 2 * len(TEXTS)  # echo is tried once
    assert paths.count("/tokenize") == 2 * 2 * len(TEXTS)


@pytest.mark.parametrize("status", [200, 400, 404, 501])
def test_an_endpoint_without_log_probabilities_is_one_sentence(status: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if "prompt" in body and status == 200:
            return web.json_response(repeated(body, logprobs=False))
        return web.json_response({"error": {"message": "no"}}, status=404 if status == 200 else status, headers=AT_ONCE)

    with pytest.raises(EngineRefused, match="gives no log-probabilities of 'tiny', which --rank needs") as caught:
        likelihoods(handler)
    assert "\n" not in str(caught.value)


def test_llamas_server_without_log_probabilities_is_the_same_sentence() -> None:
    with pytest.raises(EngineRefused, match="gives no log-probabilities of 'tiny', which --rank needs"):
        likelihoods(llama([], logprobs=False))


def test_a_wrong_key_is_told_as_such_when_ranking() -> None:
    with pytest.raises(EngineRefused, match=r"refuses the model 'tiny' \(HTTP 401\): wrong key"):
        likelihoods(fixed(lambda: web.json_response({"error": {"message": "wrong key"}}, status=401)))


def test_one_refused_text_is_no_reason_to_ask_in_another_way() -> None:
    count = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        body = await request.json()
        return web.json_response(repeated(body)) if count == 1 else web.json_response({}, status=400)

    with pytest.raises(ChatRefused):
        likelihoods(handler, calls=2)
    assert count == 2


def test_the_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scot.edits.generators.load.find_spec", lambda name: None)
    config = EngineConfig(engine="openai", model="tiny", url="http://localhost:1/v1")
    for start in (names, load_generator):
        with pytest.raises(InvalidInput, match=r"needs the package openai: pip install 'scot-search\[edits\]'"):
            start(config)
