"""When a proxy refuses calls itself."""

from __future__ import annotations

from contextlib import ExitStack

from services.search.rpc.load_shedding import Shedding


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_that_was_met_holds_for_a_while() -> None:
    clock, refused = Clock(), list[None]()
    shedding = Shedding(lambda: refused.append(None), clock)
    assert not shedding.refuses()
    with ExitStack() as calls:
        for _ in range(3):
            calls.enter_context(shedding.passing())
        assert not shedding.refuses()
        with shedding.passing():
            shedding.limit_reached()
        assert shedding.refuses()
        assert len(refused) == 1
        calls.pop_all().close()  # they are answered: there is room
        assert not shedding.refuses()
        for _ in range(3):
            calls.enter_context(shedding.passing())
        assert shedding.refuses()
        clock.now += 0.9
        assert shedding.refuses()
        clock.now += 0.2  # who knows what the limit is now?
        assert not shedding.refuses()
        assert len(refused) == 3


def test_a_service_that_refuses_everything_is_asked_again() -> None:
    clock = Clock()
    shedding = Shedding(lambda: None, clock)
    with shedding.passing():
        shedding.limit_reached()
    assert shedding.refuses()
    clock.now += 1.1
    assert not shedding.refuses()
