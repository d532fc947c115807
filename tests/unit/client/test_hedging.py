"""A search that a replica does not answer, or has no place for, is asked on other connections; what answered stays."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from scot import hedging
from scot.client import AsyncScotClient, ScotClient
from scot.errors import InvalidInput, Overloaded, ScotError, Unavailable
from scot.v1 import search_pb2, search_pb2_grpc

SILENT, LATE, AWAY, FULL, REFUSES, ANSWERS = "silent", "late", "away", "full", "refuses", "answers"


class Service(search_pb2_grpc.SearchServiceServicer):
    """Answers each call in turn as ordered, the last order for all further ones; notes from where they come."""

    def __init__(self) -> None:
        self.orders: list[str] = [ANSWERS]
        self.peers: list[str] = []
        self.end = threading.Event()
        self._lock = threading.Lock()

    def ComposeSearch(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self.peers.append(context.peer())
            order = self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]
        if order == SILENT:
            self.end.wait(30)
        if order == LATE:
            while len(self.peers) < 4:
                time.sleep(0.01)
        if order == FULL:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the service is at its limit; try again later")
        if order == AWAY:
            context.abort(grpc.StatusCode.UNAVAILABLE, "a part of the service is unavailable")
        if order == REFUSES:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "edits: is too long")
        return search_pb2.ComposeSearchResponse(composer=order)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, str]]:
    monkeypatch.setattr(hedging, "HEDGE_S", 0.05)
    monkeypatch.setattr(hedging, "AGAIN_S", 0.05)
    found, server = Service(), grpc.server(ThreadPoolExecutor(32))
    search_pb2_grpc.add_SearchServiceServicer_to_server(found, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, f"127.0.0.1:{port}"
    found.end.set()
    server.stop(None).wait()


def search(target: str, kind: str, times: int = 1) -> list[str]:
    """The composers that answered, or the names of errors, of searches one after another."""

    async def asked() -> list[str]:
        async with AsyncScotClient(target, timeout=10) as client:
            return [await one(client) for _ in range(times)]

    async def one(client: AsyncScotClient) -> str:
        try:
            return (await client.search(edits="blue")).composer
        except ScotError as error:
            return type(error).__name__

    if kind == "async":
        return asyncio.run(asked())
    found = []
    with ScotClient(target, timeout=10) as client:
        for _ in range(times):
            try:
                found.append(client.search(edits="blue").composer)
            except ScotError as error:
                found.append(type(error).__name__)
    return found


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_silent_replica_delays_nobody(
    service: tuple[Service, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedging, "HEDGE_S", 0.3)  # a busy machine answers before
    monkeypatch.setattr(hedging, "AGAIN_S", 0.3)
    found, target = service
    found.orders = [SILENT, SILENT, ANSWERS]
    assert search(target, kind, times=2) == [ANSWERS, ANSWERS]
    first, second, third, next_search = found.peers
    assert len({first, second, third}) == 3  # connections of their own
    assert next_search == third


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_refusal_of_either_is_the_answer(service: tuple[Service, str], kind: str) -> None:
    found, target = service
    found.orders = [SILENT, REFUSES]
    assert search(target, kind) == [InvalidInput.__name__]
    found.peers.clear()
    found.orders = [REFUSES]
    assert search(target, kind) == [InvalidInput.__name__]
    assert len(found.peers) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_replica_that_is_full_does_not_end_a_call_that_another_has(service: tuple[Service, str], kind: str) -> None:
    found, target = service
    found.orders = [LATE, FULL]
    assert search(target, kind) == [LATE]
    assert len(found.peers) == 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_full_replica_refuses_is_asked_on_other_connections(service: tuple[Service, str], kind: str) -> None:
    found, target = service
    found.orders = [FULL, FULL, ANSWERS]
    assert search(target, kind, times=2) == [ANSWERS, ANSWERS]
    first, second, third, next_search = found.peers
    assert len({first, second, third}) == 3
    assert next_search == third


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_service_that_is_full_is_asked_little_more_and_says_so_at_once(
    service: tuple[Service, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, target = service
    found.orders = [FULL]
    assert search(target, kind, times=8) == [Overloaded.__name__] * 8
    assert len(found.peers) == 8 + 10
    found.peers.clear()
    monkeypatch.setattr(hedging, "AGAIN_S", 11.0)  # longer than the deadline
    assert search(target, kind) == [Overloaded.__name__]
    assert len(found.peers) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_is_away_is_tried_again_and_told(service: tuple[Service, str], kind: str) -> None:
    found, target = service
    found.orders = [AWAY, ANSWERS]
    assert search(target, kind) == [ANSWERS]
    found.orders = [AWAY]
    assert search(target, kind) == [Unavailable.__name__]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_service_that_is_slow_for_all_is_not_asked_twice_for_all(service: tuple[Service, str], kind: str) -> None:
    found, target = service
    found.orders = [SILENT]
    threading.Timer(1.0, found.end.set).start()
    assert search(target, kind) == [SILENT]
    found.end.clear()
    found.peers.clear()

    async def together() -> None:
        async with AsyncScotClient(target, timeout=10) as client:
            asked = [asyncio.create_task(client.search(edits="blue")) for _ in range(20)]
            while len(found.peers) < 30:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            found.end.set()
            await asyncio.gather(*asked)

    asyncio.run(together())
    assert len(found.peers) == 20 + 10
