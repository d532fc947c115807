"""A release of values-ha.yaml loses its parts in random order, and callers lose no answer.

Needs what test_node.py needs, and:

- SCOT_TEST_REDIS_IMAGE: an image whose entry point is a Redis (or Valkey) server;
- SCOT_TEST_HOST: an address of this machine that pods reach, for a stand-in of Qdrant outside of the pods;
- SCOT_TEST_NODE2: optionally a command that takes the second node's network (`cut`, `mend`) and power (`lose`, `back`);
- SCOT_TEST_WEB_IMAGE: optionally the web service's image;
- SCOT_TEST_KILLS: how many losses, 60 by default;
- SCOT_TEST_ONLY: which losses, by parts of their names, separated by commas; all by default;
- SCOT_TEST_RATE: composed queries a second of all callers together, 10 by default;
- SCOT_TEST_AFTER: seconds of a loss whose cost is looked at, 60 by default, or more, until all is whole again.

`make test-node-ha` runs it and prints a report by kind of loss.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.errors import ScotError
from tests.cluster.namespaces import removed
from tests.cluster.outside_qdrant import OutsideQdrant
from tests.cluster.probe import LATE_S, Cost, Probe, Step
from tests.cluster.release import Release, until
from tests.support.rendering import HELM

KILLS = int(os.environ.get("SCOT_TEST_KILLS", "60"))
RATE = float(os.environ.get("SCOT_TEST_RATE", "10"))
ONLY = [each.strip() for each in os.environ.get("SCOT_TEST_ONLY", "").split(",") if each.strip()]
WEB = os.environ.get("SCOT_TEST_WEB_IMAGE", "")
NODE2 = shlex.split(os.environ.get("SCOT_TEST_NODE2", ""))
AWAY_S = 20.0  # of a node
CALM_S = 60.0  # without a loss after the install: what the machine costs
NOTICED_S = 8.0  # Ray takes a node for lost after some seven seconds
AFTER_S = float(os.environ.get("SCOT_TEST_AFTER", "60"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not {"SCOT_TEST_NODE", "SCOT_TEST_REDIS_IMAGE", "SCOT_TEST_HOST"} <= os.environ.keys(),
        reason="needs nodes that run pods, an image of Redis and this machine's address (see the docstring)",
    ),
    pytest.mark.timeout(4 * 3_600),
]


class ReleaseHA(Release):
    """A release of values-ha.yaml, small enough for a machine to test on, with its Qdrant outside."""

    def __init__(self, qdrant: OutsideQdrant) -> None:
        super().__init__()
        image = self.values[self.values.index("--set") :] if "--set" in self.values else []
        redis, _, tag = os.environ["SCOT_TEST_REDIS_IMAGE"].rpartition(":")
        settings = {
            "store.mode": "external", "store.url": qdrant.expose(self), "qdrant.replicas": "1",
            "qdrant.replicationFactor": "1", "redis.image.repository": redis, "redis.image.tag": tag,
            "search.settings.threads": "1", "ray.head.objectStoreMiB": "128", "ray.workers.objectStoreMiB": "128",
            "ray.head.resources.requests.cpu": "100m", "ray.head.resources.requests.memory": "1Gi",
            "ray.workers.resources.requests.cpu": "200m", "ray.workers.resources.requests.memory": "2Gi",
            "ray.workers.resources.limits.memory": "4Gi", "bootstrap.size": "100", "bootstrap.queries": "50",
            "bootstrap.trainSize": "0", "web.enabled": "false",
        }  # fmt: skip
        if WEB:
            repository, _, tag = WEB.rpartition(":")
            settings |= {"web.enabled": "true", "web.image.repository": repository, "web.image.tag": tag}
        sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        self.values = ["-f", str(HELM / "values-ha.yaml"), *image, *sets]

    def workers(self) -> list[str]:
        """The running worker pods of the cluster that serves."""
        active = self.get("rayservice", "scot")["status"]["activeServiceStatus"]["rayClusterName"]
        found = self.get("pods", "-l", f"ray.io/cluster={active},ray.io/node-type=worker")["items"]
        return sorted(
            each["metadata"]["name"]
            for each in found
            if each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"]
        )

    def lose(self, pod: str) -> None:
        """End a pod at once, without a word to it."""
        self.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    def kill(self, deployment: str) -> None:
        """Kill a replica of a deployment, in a random pod that has one."""
        script = (
            "import os, pathlib\n"
            "for process in pathlib.Path('/proc').glob('[0-9]*'):\n"
            f"    if (process / 'cmdline').read_bytes().startswith(b'ray::ServeReplica:search:{deployment}'):\n"
            "        os.kill(int(process.name), 9)\n"
        )
        self.kubectl("exec", random.choice(self.workers()), "-c", "ray-worker", "--", "python", "-c", script)

    def named(self, component: str) -> str:
        """A running pod of a component."""
        found = self.get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
        return str(random.choice([e for e in found if e["status"]["phase"] == "Running"])["metadata"]["name"])

    @property
    def web(self) -> str:
        """The address of the web service; empty: there is none."""
        return f"{self.get('service', 'scot-web')['spec']['clusterIP']}:8080" if WEB else ""

    def whole(self) -> bool:
        """Whether every pod is ready and every deployment has all of its replicas."""
        pods = [
            pod
            for pod in self.get("pods")["items"]
            if pod["metadata"].get("ownerReferences", [{}])[0].get("kind") != "Job"
        ]
        ready = [
            "deletionTimestamp" not in pod["metadata"]
            and all(each["ready"] for each in pod["status"].get("containerStatuses") or [{"ready": False}])
            for pod in pods
        ]
        status = self.get("rayservice", "scot")["status"].get("activeServiceStatus") or {}
        app = (status.get("applicationStatuses") or {}).get("search") or {}
        deployments = app.get("serveDeploymentStatuses") or {}
        healthy = [each["status"] == "HEALTHY" for each in deployments.values()]
        return all(ready) and len(self.workers()) == 2 and app.get("status") == "RUNNING" and all(healthy)


@dataclass
class Kind:
    """A kind of loss: how it is made, and what its occurrences have cost."""

    lose: Callable[[], None]
    steps: list[Step] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        """A row of the report; an entry of two is over gRPC, then over HTTP."""

        def of(seen: Callable[[list[Cost]], object], grpc: str = "client", http: str = "HTTP with retries") -> str:
            return " / ".join(
                str(seen([step.costs[caller] for step in self.steps]))
                for caller in (grpc, http)
                if caller in self.steps[0].callers
            )

        cells = (
            name,
            len(self.steps),
            of(lambda costs: sum(each.calls for each in costs)),
            of(_failed),
            of(lambda costs: sum(each.late for each in costs)),
            of(_failed, "gRPC", "HTTP"),
            of(lambda costs: f"{max(each.longest_gap_s for each in costs):.1f}"),
            of(lambda costs: f"{max(each.p99_s for each in costs) * 1000:.0f}"),
            f"{max(self.whole_s):.0f}",
        )
        return f"| {' | '.join(map(str, cells))} |"


def _failed(costs: list[Cost]) -> str:
    """How many calls failed, by error."""
    codes = sum((each.failed for each in costs), Counter())
    return ", ".join(f"{count} {code}" for code, count in codes.items()) or "0"


COLUMNS = (
    "lost", "times", "calls", "failed", f"of these after {LATE_S:.0f} s", "failed without retry", "longest gap, s",
    "worst p99, ms", "whole again, s",
)  # fmt: skip
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


class Writer:
    """Stores an item a second, and remembers those that were acknowledged."""

    def __init__(self, address: str, key: str) -> None:
        self.acknowledged: list[str] = []
        self._client = ScotClient(address, api_key=key, timeout=10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _write(self) -> None:
        buffer, number = io.BytesIO(), 0
        Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
        while not self._stop.wait(1.0):
            number += 1
            try:
                done = self._client.upsert([NewItem(f"written-{number}", buffer.getvalue())])
            except ScotError:
                continue
            if not done.refused:
                self.acknowledged.append(f"written-{number}")

    def missing(self) -> set[str]:
        """The acknowledged items that the service does not have."""
        found: set[str] = set()
        for at in range(0, len(self.acknowledged), 64):
            found |= self._client.get(self.acknowledged[at : at + 64]).keys()
        return set(self.acknowledged) - found


@pytest.fixture(scope="module")
def qdrant() -> Iterator[OutsideQdrant]:
    with OutsideQdrant(os.environ["SCOT_TEST_HOST"]) as running:
        yield running


def test_no_loss_costs_an_answer(qdrant: OutsideQdrant) -> None:
    random.seed(int(os.environ.get("SCOT_TEST_SEED", "0")))
    with removed(ReleaseHA(qdrant)) as release:
        began = time.monotonic()
        release.helm("install", "scot", str(HELM), *release.values)
        address = until(lambda: release.address)
        key = until(lambda: release.key)
        with (
            Probe(address, key, "wardrobe-00001", "make it blue", RATE / (4 if WEB else 2), web=release.web) as probe,
            Writer(address, key) as writer,
        ):
            probe.steady()
            print(f"\nfrom helm install to steady answers: {time.monotonic() - began:.0f} s")
            until(release.whole)
            release.print_memory()
            once(release, probe, "nothing", nothing := Kind(lambda: time.sleep(CALM_S)))
            kinds = kinds_of(release, qdrant)
            kinds = {name: kind for name, kind in kinds.items() if not ONLY or any(each in name for each in ONLY)}
            order = (list(kinds) * (KILLS // len(kinds) + 1))[:KILLS]
            random.shuffle(order)
            with upgraded_meanwhile(release):
                for name in order:
                    once(release, probe, name, kinds[name])
            release.print_memory()
            kinds = {"nothing": nothing} | kinds
            print("\n" + "\n".join([HEADER, *(kind.row(name) for name, kind in kinds.items() if kind.steps)]))
            print(f"acknowledged: {len(writer.acknowledged)}, missing: {sorted(writer.missing())}")
            assert writer.missing() == set()
        failed = [step for kind in kinds.values() for step in kind.steps if step.failed]
        print(f"answers by composer: {dict(probe.composers)}")
        release.helm("uninstall", "scot")
    assert not failed, failed


def kinds_of(release: ReleaseHA, qdrant: OutsideQdrant) -> dict[str, Kind]:
    """What can be lost here."""
    kinds = {
        "a gateway": Kind(lambda: release.kill("Gateway")),
        "a composer replica": Kind(lambda: release.kill("Composer")),
        "a worker pod": Kind(lambda: release.lose(random.choice(release.workers()))),
        "the head pod": Kind(lambda: release.lose(release.pod("head"))),
        "Redis": Kind(lambda: release.lose(release.named("redis"))),
        "one of two Qdrants, 5 s": Kind(lambda: qdrant.kill(random.randrange(2))),
    }
    if WEB:
        kinds["a web pod"] = Kind(lambda: release.lose(release.named("web")))
    if NODE2:
        kinds["the second node's network, 20 s"] = Kind(lambda: node2("cut", "mend"))
        kinds["the second node's power, 20 s"] = Kind(lambda: node2("lose", "back"))
    return kinds


def node2(away: str, back: str) -> None:
    """Take something from the second node, and give it back."""
    subprocess.run([*NODE2, away], check=True, capture_output=True)
    try:
        time.sleep(AWAY_S)
    finally:
        subprocess.run([*NODE2, back], check=True, capture_output=True)


def once(release: ReleaseHA, probe: Probe, name: str, kind: Kind) -> None:
    """Lose something once; the step ends when all is whole again, a minute later at the earliest."""
    with probe.step(name) as step:
        kind.lose()
        lost = time.monotonic()
        kind.whole_s.append(whole_since(release) - lost)
        time.sleep(max(0.0, lost + AFTER_S - time.monotonic()))
    kind.steps.append(step)
    for caller, cost in step.costs.items():
        gap = f"gap {cost.longest_gap_s:.1f} s until {cost.gap_ended - step.began:.0f} s"
        p99 = f"p99 {cost.p99_s * 1000:.0f} ms"
        print(f"  {caller}: {_failed([cost])} failed, {cost.late} late; {gap}, {p99}")
    print(f"  whole after {kind.whole_s[-1]:.0f} s; load {os.getloadavg()[0]:.0f}", flush=True)


def whole_since(release: ReleaseHA) -> float:
    """The moment since when all is whole. It has to stay so for a while: what is lost may be noticed late."""
    since: float | None = None

    def stays() -> bool:
        nonlocal since
        since = (since or time.monotonic()) if release.whole() else None
        return since is not None and time.monotonic() - since > NOTICED_S

    until(stays)
    assert since is not None
    return since


@contextmanager
def upgraded_meanwhile(release: ReleaseHA) -> Iterator[None]:
    """While the block runs: upgrades in place to another composer, rollbacks, promotions, restarts of the web pods."""
    stop = threading.Event()
    failures: list[BaseException] = []
    release.in_head("python", "-c", _PUBLISH_TWO)
    versions = itertools.cycle(["v1", "v2"])

    def upgrade() -> None:
        try:
            while not stop.wait(90):
                release.upgrade(HELM, "--set", "search.gateway.maxQueuedRequests=40,search.composer=sum")
                if not stop.wait(60):
                    release.helm("rollback", "scot")
                if not stop.wait(30):
                    job = ["--force", "--backoff-limit", "3", "--cpus", "1", "--memory", "2Gi", "--ttl", "0"]
                    release.scot("cluster", "promote", next(versions), *job)
                if WEB and not stop.wait(30):
                    release.kubectl("rollout", "restart", "deployment/scot-web")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=upgrade)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


_PUBLISH_TWO = """
from scot.composers import Registry, packaged_composers
registry = Registry("/artifacts/composers")
(packaged,) = packaged_composers().values()
print([registry.publish(packaged, release=False) for _ in range(2)])
"""
