"""Handle the requests of a stream concurrently and answer them in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


async def ordered_map(
    requests: AsyncIterator[In], work: Callable[[In], Awaitable[Out]], *, window: int
) -> AsyncIterator[Out]:
    """Yield ``work(request)`` for each request; at most ``window`` run at a time, so a slow reader slows the sender.

    An answer is sent as soon as it and all before it are ready, whether or not the next request has arrived. The first
    answer that raises, or a caller that leaves, cancels the rest.
    """
    queue: asyncio.Queue[asyncio.Future[Out] | None] = asyncio.Queue(maxsize=window - 1 or 1)
    running: set[asyncio.Future[Out]] = set()

    async def read() -> None:
        try:
            async for request in requests:
                running.add(answer := asyncio.ensure_future(work(request)))
                answer.add_done_callback(running.discard)
                await queue.put(answer)
        finally:
            await queue.put(None)

    reader = asyncio.create_task(read())
    try:
        while (answer := await queue.get()) is not None:
            yield await answer
        await reader  # raises what broke the stream, if something did
    finally:
        reader.cancel()
        for unread in running:
            unread.cancel()
        while not queue.empty():  # or the reader would wait for room
            queue.get_nowait()
