"""Work on a stream's requests side by side and answer them in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


async def ordered_map(
    requests: AsyncIterator[In], work: Callable[[In], Awaitable[Out]], *, window: int
) -> AsyncIterator[Out]:
    """Yield ``work(request)`` for each request; at most ``window`` are in work, so a slow reader slows the sender.

    An answer goes out as soon as it and all before it are ready, whether or not the next request has come.
    """
    queue: asyncio.Queue[asyncio.Future[Out] | None] = asyncio.Queue(maxsize=window - 1 or 1)

    async def read() -> None:
        try:
            async for request in requests:
                await queue.put(asyncio.ensure_future(work(request)))
        finally:
            await queue.put(None)

    reader = asyncio.create_task(read())
    try:
        while (answer := await queue.get()) is not None:
            yield await answer
        await reader  # what broke the stream, if something did
    finally:
        reader.cancel()
        while not queue.empty():
            if (unread := queue.get_nowait()) is not None:
                unread.cancel()
