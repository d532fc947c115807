"""The search service under constant load, while its parts are killed one after the other, and under far too much load.

Every call ends with an answer or a right code, the service comes back by itself, and what it acknowledged is there.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.errors import ScotError
from scot.ports import free_port
from scot.v1 import search_pb2, search_pb2_grpc
from tests.support.processes import titled
from tests.support.random_encoder import save_random_encoder
from tests.support.scot_serve import scot_serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

DEADLINE_S = 10.0
RIGHT = {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
_TELLS = re.compile(r"\bpid\b|\b\d{1,3}(\.\d{1,3}){3}\b|/[a-z]+/|Traceback|actor", re.IGNORECASE)
_DROPPED = ("CANCELLED", "CANCELLED")  # by gRPC's server once a thousand calls wait for it (docs/api.md)
_OWN = ("failed to connect to all addresses",)  # what the caller's gRPC says itself, of an address it knows
_PARTS = (
    "ray::ServeReplica:search:Composer",
    "ray::ServeReplica:search:Encoder",
    "ray::ServeReplica:search:Gateway",
    "ray::ProxyActor",
    "ray::ServeController",
)


@dataclass(slots=True)
class Said:
    """How calls ended: codes, messages that tell too much, and how long the slowest took."""

    codes: Counter[str] = field(default_factory=Counter)
    telling: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    good_in_a_row: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, code: str, message: str, seconds: float) -> None:
        with self.lock:
            self.codes[code] += 1
            self.good_in_a_row = self.good_in_a_row + 1 if code == "OK" else 0
            self.slowest_s = max(self.slowest_s, seconds)
            if (code, message) == _DROPPED:
                return
            if code not in RIGHT or (_TELLS.search(message) and not message.startswith(_OWN)):
                self.telling.append(f"{code}: {message}")


def kill(part: str) -> int:
    """Kill every process below this one whose title begins so; how many there were."""
    victims = titled(part)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return len(victims)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("survives"), free_port()
    with scot_serve(port, "--data", str(folder / "data"), "--encoder", save_random_encoder(folder / "encoder")):
        yield f"localhost:{port}"


def query() -> search_pb2.ComposeSearchRequest:
    request = search_pb2.ComposeSearchRequest(limit=3)
    request.edits.add(text=f"something {random.choice(['red', 'blue', 'striped'])}")
    return request


@contextmanager
def load(target: str, said: Said, rate: float) -> Iterator[None]:
    """``rate`` queries a second, without retries; each call is its own, so that a slow one holds up no other."""
    stop = threading.Event()
    options = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 1_000)]
    with grpc.insecure_channel(target, options=options) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        calls: list[Any] = []

        def ask() -> None:
            while not stop.wait(1 / rate):
                begun = time.monotonic()
                call = stub.ComposeSearch.future(query(), timeout=DEADLINE_S)
                call.add_done_callback(
                    lambda done, begun=begun: said.note(
                        done.code().name, done.details() or "", time.monotonic() - begun
                    )
                )
                calls.append(call)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            stop.set()
            asking.join()
            for call in calls:
                call.exception()


@contextmanager
def upserts(target: str, acknowledged: list[str]) -> Iterator[None]:
    """Items go in all the time; ``acknowledged`` are those that the service said it stored."""
    stop = threading.Event()
    vectors = np.random.default_rng(0).normal(size=(4_096, 32)).astype(np.float32)

    def put() -> None:
        with ScotClient(target, timeout=DEADLINE_S) as client:
            dim = client.info().dim
            for number in range(len(vectors)):
                if stop.wait(0.1):
                    return
                item = NewItem(f"item-{number}", vector=np.resize(vectors[number], dim), payload={"n": number})
                try:
                    if client.upsert([item]).upserted == 1:
                        acknowledged.append(item.item_id)
                except ScotError:
                    continue

    putting = threading.Thread(target=put)
    putting.start()
    try:
        yield
    finally:
        stop.set()
        putting.join()


def recovered(said: Said, patience_s: float = 180.0) -> None:
    """Wait for twenty good answers in a row."""
    with said.lock:
        said.good_in_a_row = 0
    end = time.monotonic() + patience_s
    while said.good_in_a_row < 20:
        assert time.monotonic() < end, f"no steady answers after {patience_s:.0f} s: {said.codes}"
        time.sleep(0.1)


def test_parts_are_killed_under_load(target: str) -> None:
    said, acknowledged = Said(), list[str]()
    with upserts(target, acknowledged), load(target, said, rate=10):
        recovered(said)
        for part in _PARTS:
            assert kill(part) >= 1, part
            recovered(said)
    assert said.telling == []
    assert said.slowest_s < DEADLINE_S + 5
    assert len(acknowledged) > 50
    with ScotClient(target) as client:
        chunks = (acknowledged[start : start + 100] for start in range(0, len(acknowledged), 100))
        there = {item_id for chunk in chunks for item_id in client.get(chunk)}
    assert there == set(acknowledged)


def test_far_too_many_calls_are_answered_or_refused(target: str) -> None:
    """A burst beyond what may run and wait: some are turned away, none with a wrong code, and then all is well."""
    said, calls = Said(), []
    with grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)]) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        with_picture, buffer = query(), io.BytesIO()  # texts alone are answered sooner than a gateway takes them in
        Image.effect_noise((512, 512), 64).save(buffer, "PNG")
        with_picture.reference.image = buffer.getvalue()
        for _ in range(1_500):
            call = stub.ComposeSearch.future(with_picture, timeout=60)
            call.add_done_callback(lambda done: said.note(done.code().name, done.details() or "", 0.0))
            calls.append(call)
        for call in calls:
            call.exception()
    assert said.codes["OK"] > 0
    assert said.codes["RESOURCE_EXHAUSTED"] > 0, said.codes
    assert said.telling == []
    with load(target, said, rate=10):
        recovered(said)
