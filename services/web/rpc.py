"""The gRPC methods over HTTP: a response as JSON, a stream of responses as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.web.bodies import Bodies, ClientGone
from services.web.calls import CALL, Call
from services.web.json_messages import read_json, to_json, to_message
from services.web.methods import Method, has_bytes
from services.web.multipart import read_form
from services.web.problems import Problem, invalid
from services.web.upstream import Upstream

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
JSON = "application/json"
FORM = "multipart/form-data"
EVENTS = "text/event-stream"
_BEAT_S = 15.0  # a comment that tells proxies that a quiet stream is alive


def unary(method: Method, upstream: Upstream, bodies: Bodies) -> Endpoint:
    """The endpoint of a method with one response."""
    forms = has_bytes(method.request)

    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        kind = media_type(request, JSON, *([FORM] if forms else []))
        async with bodies.read(request) as body:
            if kind == FORM:
                message: Message = read_form(request.headers["content-type"], body, method.request)
            else:
                message = to_message(read_json(body) if body else {}, method.request)
            response = await while_connected(request, upstream.call(method, message, call.metadata))
        return Response(to_json(response), media_type=JSON)

    return endpoint


def streaming(method: Method, upstream: Upstream, bodies: Bodies) -> Endpoint:
    """The endpoint of a method with a stream of responses; a stream of requests is ``{"requests": […]}``."""

    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        media_type(request, JSON)
        async with bodies.read(request) as body:
            document = read_json(body) if body else {}
        if method.client_streaming:
            if not isinstance(document, dict) or not isinstance(document.get("requests"), list) or len(document) != 1:
                raise invalid('the body is {"requests": […]}, a list of ' + method.request.DESCRIPTOR.name)
            messages = [_numbered(place, each, method) for place, each in enumerate(document["requests"])]
        else:
            messages = [to_message(document, method.request)]
        responses = upstream.stream(method, messages, call.metadata)
        try:  # the first response before the status: a call that is refused has a status of its own
            first = await while_connected(request, _first(responses))
        except BaseException:
            await responses.aclose()  # type: ignore[attr-defined]
            raise
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(_events(first, responses, call), headers=headers, media_type=EVENTS)

    return endpoint


def media_type(request: Request, *accepted: str) -> str:
    """The media type of the body, without its parameters; an absent one is the first. Raises Problem (415)."""
    given = request.headers.get("content-type", accepted[0]).partition(";")[0].strip().lower()
    if given not in accepted:
        raise invalid(f"the content-type is {' or '.join(accepted)}, not {given[:100] or 'empty'}", 415)
    return given


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client leaves. Raises ClientGone."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _first(responses: AsyncIterator[Message]) -> Message | None:
    return await anext(responses, None)


def _numbered(place: int, value: Any, method: Method) -> Message:
    try:
        return to_message(value, method.request)
    except Problem as problem:
        raise invalid(f"requests[{place}]: {problem.detail}") from None


async def _events(first: Message | None, responses: AsyncIterator[Message], call: Call) -> AsyncIterator[bytes]:
    """The stream as events: an unnamed one for each response, then ``end``, or ``error`` with a problem."""
    response, place = first, 0
    async with aclosing(responses):  # type: ignore[type-var]
        try:
            while response is not None:
                yield b"id: %d\ndata: %b\n\n" % (place, to_json(response))
                place += 1
                following = asyncio.create_task(_first(responses))
                try:
                    while not (await asyncio.wait({following}, timeout=_BEAT_S))[0]:
                        yield b":\n\n"
                    response = following.result()
                finally:
                    following.cancel()
                    await asyncio.wait({following})
            yield b"event: end\ndata: {}\n\n"
        except Problem as problem:
            document = json.dumps(problem.document(call.request_id), ensure_ascii=False)
            yield b"event: error\ndata: %b\n\n" % document.encode("utf-8", "replace")
