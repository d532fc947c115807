"""Composers are rolled out, tried, refused and rolled back under constant load, and no request notices."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.composers import Registry, save_composer
from scot.composers.architectures import build
from scot.encoders import load_encoder
from scot.ports import free_port
from scot.v1 import search_pb2, search_pb2_grpc
from services.search.rollout import Rollout
from tests.support.processes import titled
from tests.support.random_encoder import save_random_encoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = [f"user-{number}" for number in range(40)]
CLIENTS = 3


@dataclass
class Served:
    """The application, and the process that changes its config."""

    port: int
    process: subprocess.Popen[str]

    def roll_out(self, **user_config: Any) -> str:
        """Send a config; the application's status once Serve has applied it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(user_config) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("rollout")
    encoder = save_random_encoder(folder / "encoder")
    publish(folder, encoder)
    port = free_port()
    args = {"encoder": encoder, "composers": str(folder / "composers"), "store": str(folder / "qdrant"), "threads": 1}
    command = [sys.executable, "-m", "tests.support.served_config", str(port), json.dumps(args)]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, start_new_session=True
    )
    served = Served(port, process)
    try:
        assert served.roll_out(default="v1") == "RUNNING", (folder / "log").read_text()
        yield served
    finally:
        process.communicate(timeout=120)  # the end of its input stops it
        log.close()


def publish(folder: Path, encoder: str) -> None:
    loaded, registry = load_encoder(encoder, device="cpu"), Registry(folder / "composers")
    for seed, version in enumerate(("v1", "v2", "v3", "foreign")):
        torch.manual_seed(seed)
        module = build("combiner", {"dim": loaded.dim, "projection": 16, "hidden": 16})
        encoder_id = "another@0-32d" if version == "foreign" else loaded.id
        save_composer(folder / version, module, encoder_id=encoder_id, dim=loaded.dim, metrics={})
        registry.publish(folder / version, version=version, release=version == "v1")


@dataclass
class Load:
    """What callers were answered: ``(when, session, composer)``; and whatever else came."""

    answers: list[tuple[float, str, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def since(self, when: float) -> dict[str, set[str]]:
        """The composers that each session met."""
        met: dict[str, set[str]] = {session: set() for session in SESSIONS}
        for at, session, composer in list(self.answers):
            if at >= when:
                met[session].add(composer)
        return met


@contextmanager
def load(port: int) -> Iterator[Load]:
    """Callers who ask without a pause, one session after the other, until the block ends."""
    stop, load = threading.Event(), Load()

    def ask(first: int) -> None:
        picture = io.BytesIO()
        noise = np.random.default_rng(first).integers(0, 255, (48, 48, 3), np.uint8)
        Image.fromarray(noise).save(picture, "PNG")
        request = search_pb2.ComposeSearchRequest(edits=[search_pb2.Edit(text="make it green")])
        request.reference.image = picture.getvalue()
        # No client of ours, which would ask again where a request has failed.
        with grpc.insecure_channel(f"localhost:{port}", options=[("grpc.enable_retries", 0)]) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            turn = first
            while not stop.is_set():
                request.session = SESSIONS[turn % len(SESSIONS)]
                begun = time.monotonic()
                try:
                    response = stub.ComposeSearch(request, timeout=60)
                    load.answers.append((begun, request.session, response.composer))
                except grpc.RpcError as error:
                    load.failures.append(error)
                turn += 1

    threads = [threading.Thread(target=ask, args=(number * 13,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def met_by_everybody(load: Load) -> dict[str, set[str]]:
    """Whom each session meets from now on; waits until each has asked twice."""
    begun = time.monotonic()

    def twice() -> bool:
        asked = Counter(session for at, session, _ in list(load.answers) if at >= begun)
        return all(asked[session] >= 2 for session in SESSIONS)

    until(twice)
    return load.since(begun)


def expected(rollout: Rollout) -> dict[str, set[str]]:
    return {session: {rollout.answering(session)} for session in SESSIONS}


def told(client: ScotClient) -> dict[str, tuple[bool, float, bool]]:
    infos = {each.name: (each.released, each.share, each.shadow) for each in client.composers()}
    return {name: infos[name] for name in ("v1", "v2", "v3", "foreign")}


def test_nobody_notices_a_rollout(served: Served) -> None:
    with ScotClient(f"localhost:{served.port}") as client:
        rng = np.random.default_rng(0)
        client.upsert([NewItem(str(n), vector=rng.normal(size=32)) for n in range(50)])
        with load(served.port) as callers:
            assert met_by_everybody(callers) == expected(Rollout("v1"))

            # A canary for some sessions, and a third version in the shadow of both.
            split = {"default": "v1", "split": {"v2": 0.3}, "shadow": "v3"}
            assert served.roll_out(**split) == "RUNNING"
            shared = expected(Rollout("v1", {"v2": 0.3}))
            assert {frozenset(each) for each in shared.values()} == {frozenset({"v1"}), frozenset({"v2"})}
            until(lambda: told(client)["v2"][1] == 0.3)
            until(lambda: met_by_everybody(callers) == shared)  # a cached query may be of the rollout before, for 2 s
            listed = {
                "v1": (True, 0.7, False),
                "v2": (False, 0.3, False),
                "v3": (False, 0.0, True),
                "foreign": (False, 0.0, False),
            }
            assert told(client) == listed

            # Refused, whichever part of it is wrong: all of the one before stays, on every replica.
            for wrong in (
                {"default": "foreign"},
                {"default": "v2", "split": {"foreign": 0.1}},
                {"default": "v2", "shadow": "foreign"},
                {"default": "nobody"},
                {"default": "v2", "split": {"v3": 1.5}},
            ):
                assert served.roll_out(**wrong) == "RUNNING"
            assert met_by_everybody(callers) == shared
            assert told(client) == listed

            # Promoted, with what it had as a canary still there; then for everybody; then back.
            for user_config, rollout in (
                ({"default": "v2", "split": {"v2": 0.3}}, Rollout("v2")),
                ({"default": "v2"}, Rollout("v2")),
                ({"default": "v1"}, Rollout("v1")),
            ):
                assert served.roll_out(**user_config) == "RUNNING"
                until(lambda rollout=rollout: met_by_everybody(callers) == expected(rollout))  # type: ignore[misc]
        assert callers.failures == []
        print(f"{len(callers.answers)} answers, none failed", file=sys.stderr)


def test_a_replica_that_starts_under_a_refused_rollout_takes_the_one_before(served: Served) -> None:
    before = {"default": "v2", "split": {"v3": 0.3}}
    assert served.roll_out(**before) == "RUNNING"
    assert served.roll_out(default="foreign") == "RUNNING"
    composer = "ray::ServeReplica:search:Composer"
    killed = titled(composer)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: bool(titled(composer) - killed))
    with ScotClient(f"localhost:{served.port}") as client, load(served.port) as callers:
        until(lambda: len(callers.answers) > 10)
        assert met_by_everybody(callers) == expected(Rollout("v2", {"v3": 0.3}))
        assert told(client)["foreign"] == (False, 0.0, False)
