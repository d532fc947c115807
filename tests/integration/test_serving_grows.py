"""Gateways and composers of the chart's Serve config start and end with the load, and neither loses a call."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.errors import ScotError
from scot.local_ray import LOCAL_RAY
from scot.ports import free_port
from tests.cluster.probe import Probe
from tests.support.processes import titled
from tests.support.qdrant_server import qdrant_server
from tests.support.random_encoder import save_random_encoder
from tests.support.rendering import only, render

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CALLERS = 16
SOON = {"upscale_delay_s": 1, "downscale_delay_s": 3, "look_back_period_s": 2, "metrics_interval_s": 1}
VALUES = {
    "search": {
        "gateway": {"autoscaling": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 4, **SOON}},
        "composers": {"autoscaling": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 2, **SOON}},
    }
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that the chart's Serve config describes, with places and ports of this machine."""
    from ray import get_runtime_context, init, shutdown

    folder, port = tmp_path_factory.mktemp("grows"), free_port()
    config = yaml.safe_load(only(render(VALUES), "RayService")["spec"]["serveConfigV2"])
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    config["grpc_options"]["port"] = port
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in LOCAL_RAY.items():
            patch.setenv(name, value)
        qdrant = running.enter_context(qdrant_server(port=free_port()))
        config["applications"][0]["args"] = {
            "encoder": save_random_encoder(Path(folder) / "encoder"), "threads": 1,
            "qdrant_url": qdrant.url, "qdrant_grpc_port": qdrant.grpc_port,
        }  # fmt: skip
        (folder / "serve.yaml").write_text(yaml.safe_dump(config))
        init("local", num_cpus=6, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
        running.callback(shutdown)
        command = [sys.executable, "-m", "ray.serve.scripts", "run", str(folder / "serve.yaml")]
        command += ["--address", get_runtime_context().gcs_address]
        serving = running.enter_context(subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE))
        running.callback(serving.terminate)
        with ScotClient(f"127.0.0.1:{port}") as client:
            items = [NewItem(colour, Image.new("RGB", (48, 48), colour)) for colour in ("red", "green", "blue", "teal")]
            until(lambda: stored(client, items))
        yield f"127.0.0.1:{port}"


def until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while not look():
        assert time.monotonic() < end
        time.sleep(0.2)


def stored(client: ScotClient, items: list[NewItem]) -> bool:
    try:
        return client.upsert(items).upserted == len(items)
    except ScotError:
        return False


def running_replicas() -> tuple[int, int]:
    """Of the gateway and the composer."""
    return tuple(len(titled(f"ray::ServeReplica:search:{name}")) for name in ("Gateway", "Composer"))  # type: ignore[return-value]


@contextmanager
def load(address: str) -> Iterator[set[str]]:
    """So many callers, each with one query after another, no two of them the same; with the errors that they get."""
    stop, errors = threading.Event(), set[str]()

    def ask(caller: int) -> None:
        number = 0
        with ScotClient(address) as client:
            while not stop.is_set():
                number += 1
                try:
                    client.search(item_id="red", edits=f"caller {caller} wants {number}")
                except ScotError as error:
                    errors.add(type(error).__name__)

    callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield errors
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def test_replicas_follow_the_load_and_no_call_is_lost(address: str) -> None:
    assert running_replicas() == (1, 1)
    with Probe(address, "", "red", "make it blue", 5.0) as probe:
        probe.steady()
        with probe.step("grown") as grown, load(address) as errors:
            until(lambda: running_replicas() == (2, 2))
            time.sleep(5)  # with both
        with probe.step("shrunk") as shrunk:
            until(lambda: running_replicas() == (1, 1))
    # While there is one of each, a busy machine may refuse calls, and says so.
    assert errors | grown.failed.keys() | grown.costs["gRPC"].failed.keys() <= {"Overloaded", "RESOURCE_EXHAUSTED"}
    assert (shrunk.failed, shrunk.costs["gRPC"].failed) == ({}, {})
