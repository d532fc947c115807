"""A call that outlives one of several replicas, and costs a loaded deployment nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve._private.handle_options import InitHandleOptions
from ray.serve.handle import DeploymentHandle

from scot.errors import NotFound
from services.search.gateway.hedging import _AT_ONCE, Hedging

AFTER_S = 0.02
Replica = Callable[[], Awaitable[str]]


async def silent() -> str:
    await asyncio.Event().wait()
    return "never"


async def dead() -> str:
    raise RayActorError


async def refuses() -> str:
    raise RayTaskError("compose", "a stack", NotFound("no composer v9"))


async def answers() -> str:
    return "answered"


def first_of(*replicas: Replica, after_s: float = AFTER_S) -> tuple[str, int]:
    """The answer, and how many replicas were asked, each for a call in turn."""
    asked = iter(replicas)

    async def ask() -> tuple[str, int]:
        def call() -> Awaitable[str]:
            return next(asked)()

        answer = await Hedging(after_s).first(call)
        return answer, len(replicas) - len(list(asked))

    return asyncio.run(asyncio.wait_for(ask(), 30))


@pytest.mark.parametrize("lost", [silent, dead])
def test_the_second_replica_answers_for_one_that_is_lost(lost: Replica) -> None:
    assert first_of(lost, answers) == ("answered", 2)


def test_a_replica_that_answers_is_asked_alone() -> None:
    assert first_of(answers, dead) == ("answered", 1)


def test_a_refusal_is_an_answer() -> None:
    with pytest.raises(RayTaskError):
        first_of(refuses, answers)


def test_the_second_may_be_lost_too() -> None:
    with pytest.raises(RayActorError):
        first_of(dead, dead)


def test_a_first_that_answers_late_is_not_lost_with_the_second() -> None:
    async def late() -> str:
        await asyncio.sleep(5 * AFTER_S)
        return "late"

    assert first_of(late, dead) == ("late", 2)


def test_without_an_interval_a_call_is_made_once() -> None:
    with pytest.raises(RayActorError):
        first_of(dead, answers, after_s=0.0)


def test_the_call_that_came_second_is_left_alone_until_it_ends() -> None:
    async def ask() -> None:
        ends, cancelled = asyncio.Event(), False

        async def late() -> str:
            nonlocal cancelled
            try:
                await ends.wait()
            except asyncio.CancelledError:
                cancelled = True
                raise
            return await dead()

        hedging = Hedging(AFTER_S)
        assert await hedging.first(late, answers) == "answered"
        assert len(hedging._left) == 1
        ends.set()
        while hedging._left:
            await asyncio.sleep(0)
        assert not cancelled

    asyncio.run(asyncio.wait_for(ask(), 30))


def test_after_a_silence_the_replica_that_answered_is_asked_first() -> None:
    asked: list[str] = []
    now = 0.0

    def named(name: str, replica: Replica) -> Replica:
        def call() -> Awaitable[str]:
            asked.append(name)
            return replica()

        return call

    async def ask() -> None:
        nonlocal now
        hedging = Hedging(AFTER_S, lambda: now)
        near = named("near", answers)
        for _ in range(2):
            assert await hedging.first(named("anywhere", silent), near) == "answered"
        now += 60.0
        assert await hedging.first(named("anywhere", answers), near) == "answered"

    asyncio.run(asyncio.wait_for(ask(), 30))
    assert asked == ["anywhere", "near", "near", "anywhere"]


def test_serve_has_the_private_part_that_a_near_handle_uses() -> None:
    assert InitHandleOptions.create(_prefer_local_routing=True)._prefer_local_routing
    assert callable(DeploymentHandle._init)


def test_a_deployment_that_is_slow_for_all_gets_few_calls_more() -> None:
    many = 5 * _AT_ONCE

    async def ask() -> int:
        calls, go = 0, asyncio.Event()

        async def slow() -> str:
            nonlocal calls
            calls += 1
            await go.wait()
            return "slow"

        hedging = Hedging(AFTER_S)
        asked = [asyncio.create_task(hedging.first(slow)) for _ in range(many)]
        while calls < many + _AT_ONCE:
            await asyncio.sleep(AFTER_S)
        await asyncio.sleep(5 * AFTER_S)
        go.set()
        assert await asyncio.gather(*asked) == ["slow"] * many
        return calls

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == many + _AT_ONCE
