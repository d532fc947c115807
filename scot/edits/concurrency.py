"""Coroutines that run together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run coroutines concurrently and return their results in order.

    The first failure cancels the others and is raised unchanged, with its own cause.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failures:
        failure = failures.exceptions[0]
        raise failure from failure.__cause__  # not from the group, which would hide why the engine is unavailable
    return [task.result() for task in tasks]
