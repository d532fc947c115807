"""Two of each deployment on two Ray nodes, as in helm/values-ha.yaml: parts are killed under load, no caller notices.

The gateways share a stand-in of Qdrant. The proxy is on the head, which is not killed here; test_node_ha.py does that
in a cluster.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.local_ray import LOCAL_RAY
from scot.ports import free_port
from services.search.app import SERVICERS, build
from tests.cluster.probe import HEADER, Probe, Step
from tests.support.processes import titled
from tests.support.qdrant_server import qdrant_server
from tests.support.random_encoder import save_random_encoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Served:
    """A Ray cluster of a head and two nodes, and the address of the service on it."""

    def __init__(self, address: str, cluster: Any) -> None:
        self.address, self.cluster = address, cluster


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from ray import init, serve, shutdown
    from ray.cluster_utils import Cluster

    folder, port = tmp_path_factory.mktemp("replicated"), free_port()
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in (LOCAL_RAY | {"RAY_health_check_period_ms": "1000"}).items():
            patch.setenv(name, value)
        state = running.enter_context(qdrant_server(port=free_port()))
        store = 100 * 2**20
        head = {"num_cpus": 1, "object_store_memory": store, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        running.callback(cluster.shutdown)
        for _ in range(2):
            cluster.add_node(num_cpus=3, object_store_memory=store)
        init(address=cluster.address, log_to_driver=False)
        running.callback(shutdown)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"port": free_port()},
            grpc_options={"port": port, "grpc_servicer_functions": SERVICERS},
        )
        running.callback(serve.shutdown)
        encoder = save_random_encoder(Path(folder) / "encoder")
        qdrant = {"qdrant_url": state.url, "qdrant_grpc_port": state.grpc_port}
        two = {"gateways": 2, "composer_replicas": 2, "encoder_replicas": 2, "hedge_s": 1, "threads": 1}
        serve.run(build({"encoder": encoder, **qdrant, **two}), name="search")
        with ScotClient(f"127.0.0.1:{port}") as client:
            colours = ("red", "green", "blue", "teal")
            client.upsert([NewItem(colour, Image.new("RGB", (48, 48), colour)) for colour in colours])
        yield Served(f"127.0.0.1:{port}", cluster)


def kill_one(deployment: str) -> None:
    victims = titled(f"ray::ServeReplica:search:{deployment}")
    assert len(victims) == 2, deployment
    os.kill(min(victims), signal.SIGKILL)


def until_two(deployment: str) -> None:
    end = time.monotonic() + 180
    while len(titled(f"ray::ServeReplica:search:{deployment}")) < 2:
        assert time.monotonic() < end, deployment
        time.sleep(0.2)


def gap(step: Step) -> str:
    cost = step.costs["client"]
    return f"  longest gap {cost.longest_gap_s:.1f} s, p99 {cost.p99_s * 1000:.0f} ms"


def test_a_lost_replica_costs_no_caller_an_answer(served: Served) -> None:
    steps: list[Step] = []
    print("\n" + HEADER)
    with Probe(served.address, "", "red", "make it blue", 5.0) as probe:
        probe.steady()
        for deployment in ("Composer", "Gateway", "Encoder", "Composer", "Gateway"):
            with probe.step(f"{deployment} killed") as step:
                kill_one(deployment)
                until_two(deployment)
            steps.append(step)
            print(gap(step))
        with probe.step("a node killed") as step:
            served.cluster.remove_node(next(iter(served.cluster.worker_nodes)), allow_graceful=False)
            time.sleep(20)  # in which Ray notices
        steps.append(step)
        print(gap(step))
    assert not [step for step in steps if step.failed], steps
