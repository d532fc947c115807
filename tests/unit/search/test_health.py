"""Watches of health: how many there may be, and that abandoned ones do not take the place of others for long."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse as Response

from scot.errors import Overloaded
from services.search.gateway import health as module
from services.search.gateway.health import Health
from services.search.rpc.limits import MAX_WATCHES


async def _answers() -> list[str]:
    return []


def health() -> Health:
    store: Any = SimpleNamespace(list=_answers)
    composer: Any = SimpleNamespace(encoder_info=SimpleNamespace(remote=_answers))
    return Health(store, composer)


def test_watches_that_never_go_on_do_not_count_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        here = health()
        # Kept, and neither read nor closed: as Serve leaves a stream whose caller is gone.
        abandoned = [here.watch("") for _ in range(MAX_WATCHES)]
        for watch in abandoned:
            assert (await anext(watch)).status == Response.SERVING
        with pytest.raises(Overloaded, match=f"{MAX_WATCHES} watches are open already"):
            await anext(here.watch(""))
        monkeypatch.setattr(module, "_GONE_S", 0.0)
        assert (await anext(here.watch(""))).status == Response.SERVING

    asyncio.run(run())


def test_a_watch_that_is_closed_makes_room_at_once() -> None:
    async def run() -> None:
        here = health()
        watches: list[Any] = [here.watch("") for _ in range(MAX_WATCHES)]
        for watch in watches:
            await anext(watch)
        await watches[0].aclose()
        assert (await anext(here.watch(""))).status == Response.SERVING

    asyncio.run(run())
