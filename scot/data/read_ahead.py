"""An ordered map that is ahead of its reader: many requests to a store wait for its latency at once, not one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 32
"""Requests in progress."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(items: Iterable[Item], fetch: Callable[[Item], Result], *, at_once: int = AT_ONCE) -> Iterator[Result]:
    """``map(fetch, items)``, in order, with up to ``at_once`` items fetched in threads before they are asked for.

    What ``fetch`` raises is raised where its result would be.
    """
    with ThreadPoolExecutor(at_once, thread_name_prefix="fetch") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(fetch, item))
                if len(waiting) >= at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
