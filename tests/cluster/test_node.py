"""The life of a release on a cluster that runs its pods: install, search, train, upgrade, failures, uninstall.

Needs a KUBECONFIG whose nodes have the image (SCOT_TEST_IMAGE, by default scot/search at the chart's version) and whose
Services this machine can reach, with `helm` and `kubectl` on the PATH. `make test-node` runs it and prints a report.
With SCOT_TEST_REDIS_IMAGE, an image of Redis, the second release keeps the state of Ray's head there.
"""

from __future__ import annotations

import base64
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from scot.client import ScotClient
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.queries import read_queries
from tests.cluster import namespaces
from tests.cluster.namespaces import Found, Namespace, chart_of_version, removed
from tests.cluster.probe import HEADER, Probe, Step
from tests.support.rendering import HELM

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900
REDIS = os.environ.get("SCOT_TEST_REDIS_IMAGE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCOT_TEST_NODE"), reason="needs nodes that run pods: set SCOT_TEST_NODE=1 and KUBECONFIG"
    ),
    pytest.mark.timeout(3_600),
]


_MEMORY = """
cd /sys/fs/cgroup; if [ -d memory ]; then cd memory; fi
cat memory.current memory.usage_in_bytes 2>/dev/null
sed -n 's/^\\(total_\\)\\?inactive_file //p' memory.stat | tail -1
"""
"""Of the control group of a container, version 2 or 1: the bytes that it uses, and those that are idle page cache."""


class Release(Namespace):
    """A release in a namespace of its own."""

    def __init__(self) -> None:
        super().__init__("node")
        self.values = ["-f", str(HELM / "values-local.yaml")]
        if image := os.environ.get("SCOT_TEST_IMAGE"):
            repository, _, tag = image.rpartition(":")
            self.values += ["--set", f"image.repository={repository},image.tag={tag}"]

    def upgrade(self, chart: Path, *more: str) -> str:
        return self.helm("upgrade", "scot", str(chart), *self.values, *more)

    def scot(self, *arguments: str) -> str:
        environment = {**os.environ, "SCOT_API_KEY": self.key}
        command = [sys.executable, "-m", "scot.cli", *arguments, "--namespace", self.name]
        if "--" in arguments:  # what follows it is the job's
            at = arguments.index("--")
            command = [*command[: 3 + at], "--namespace", self.name, *arguments[at:]]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def key(self) -> str:
        return base64.b64decode(self.get("secret", "scot-keys")["data"]["admin-key"]).decode()

    @property
    def address(self) -> str:
        return f"{self.get('service', 'scot-search')['spec']['clusterIP']}:9000"

    def pod(self, node: str) -> str:
        """The running head or worker of the cluster that serves."""
        active = self.get("rayservice", "scot")["status"]["activeServiceStatus"]["rayClusterName"]
        (found,) = self.get("pods", "-l", f"ray.io/cluster={active},ray.io/node-type={node}")["items"]
        return str(found["metadata"]["name"])

    def pods(self) -> dict[str, str]:
        """The uids of Ray's pods."""
        found = self.get("pods", "-l", "app.kubernetes.io/component=search")["items"]
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}

    def print_memory(self) -> None:
        """What each pod uses, without page cache that could be dropped, and all together."""
        used: dict[str, float] = {}
        for pod in self.get("pods")["items"]:
            if pod["status"]["phase"] == "Running":
                said = self.run("kubectl", "exec", pod["metadata"]["name"], "--", "sh", "-c", _MEMORY).stdout.split()
                used[pod["metadata"]["name"]] = (int(said[0]) - int(said[1])) / 2**30 if len(said) == 2 else math.nan
        shown = ", ".join(f"{name} {gib:.2f}" for name, gib in used.items())
        print(f"memory, GiB: {sum(used.values()):.1f} in all: {shown}", flush=True)

    def delete(self, node: str) -> None:
        """Delete the head or the worker, and wait until it is gone."""
        gone = self.pod(node)
        self.kubectl("delete", "pod", gone, "--wait=false")
        until(lambda: gone not in self.pods())

    def settle(self) -> None:
        """Wait until the service is as it was: every pod of Ray ready, the application running, for half a minute."""
        since = time.monotonic()

        def settled() -> bool:
            nonlocal since
            pods = self.get("pods", "-l", "app.kubernetes.io/component=search")["items"]
            ready = [
                all(each["ready"] for each in pod["status"].get("containerStatuses") or [{"ready": False}])
                for pod in pods
            ]
            active = self.get("rayservice", "scot")["status"].get("activeServiceStatus") or {}
            app = (active.get("applicationStatuses") or {}).get("search") or {}
            if not (len(ready) == 2 and all(ready) and app.get("status") == "RUNNING"):
                since = time.monotonic()
            return time.monotonic() - since > 30

        until(settled)

    def in_head(self, *command: str) -> str:
        return self.kubectl("exec", self.pod("head"), "-c", "ray-head", "--", *command)


def until(look: Callable[[], Found | None]) -> Found:
    """What ``look`` finds, once it finds it; errors in between are those of things that are not there yet."""
    return namespaces.until(look, PATIENCE_S, AssertionError, KeyError, ValueError)


@pytest.fixture
def release() -> Iterator[Release]:
    with removed(Release()) as made:
        yield made


def test_a_release_lives(release: Release, tmp_path: Path) -> None:
    """The whole of it, since each step takes the release that the one before left."""
    steps: list[Step] = []
    began = time.monotonic()
    release.helm("install", "scot", str(HELM), *release.values)
    address = until(lambda: release.address)
    first = _first_right_answer(release, address, tmp_path)
    print(f"\nfrom helm install to the first right answer: {first - began:.0f} s")

    with Probe(address, release.key, "wardrobe-00001", "make it blue") as probe:
        probe.steady()
        print(HEADER)
        with probe.step("generate_edits as a RayJob") as step:
            output = release.scot(
                "cluster", "submit", "generate_edits", "--cpus", "1", "--memory", "3Gi", "--",
                "--source", "/artifacts/catalogue/wardrobe", "--output", "/artifacts/triplets",
            )  # fmt: skip
            assert "triplets from" in output
            assert "succeeded" in output
        steps.append(step)
        with probe.step("`ray job submit`: encode, pretrain") as step:
            source = ["--source", "/artifacts/catalogue/wardrobe"]
            places = ["--triplets", "/artifacts/triplets", "--output", "/artifacts/embeddings"]
            _submit(release, "encode", *source, *places)
            cache = ["--embeddings", "/artifacts/embeddings", "--composers", "/artifacts/composers"]
            output = _submit(
                release, "pretrain", *cache, "--runs", "/artifacts/runs", "--steps", "40", "--patience", "0"
            )
            assert "published v1" in output
        steps.append(step)
        with probe.step("`scot cluster promote v1`") as step:
            release.scot("cluster", "promote", "v1", "--force", "--cpus", "1", "--memory", "3Gi")
        steps.append(step)
        until(lambda: probe.composers["v1"] > 0)

        pods, chart = release.pods(), chart_of_version("99.0.0", tmp_path)
        with probe.step("`helm upgrade` to a new chart version") as step:
            release.upgrade(chart)
            time.sleep(20)  # KubeRay would have begun to replace something by then
        steps.append(step)
        assert release.pods() == pods
        with probe.step("`helm rollback`") as step:
            release.helm("rollback", "scot", "1")
            time.sleep(20)
        steps.append(step)
        assert release.pods() == pods
        assert not any(step.failed for step in steps), (
            "jobs, promotion and a new chart version must cost nobody an answer"
        )

        with probe.step("an upgrade that replaces every pod"):
            release.upgrade(HELM, "--set", "ray.podAnnotations.again=yes")
            until(lambda: not release.pods().keys() & pods.keys())
            release.settle()
        with probe.step("a Composer replica killed"):
            release.kubectl("exec", release.pod("worker"), "-c", "ray-worker", "--", "python", "-c", _KILL_A_REPLICA)
            release.settle()
        for node in ("worker", "head"):
            with probe.step(f"the {node} pod deleted"):
                release.delete(node)
                release.settle()
        release.print_memory()
        with probe.step("a second release in another namespace") as step, removed(Release()) as beside:
            beside.helm("install", "scot", str(HELM), *beside.values, *_fault_tolerance())
            second = until(lambda: beside.address)
            _first_right_answer(beside, second, tmp_path)
            title = "its head pod deleted" + (", its state in Redis" if REDIS else "")
            with Probe(second, beside.key, "wardrobe-00001", "make it blue") as other, other.step(title):
                beside.delete("head")
                beside.settle()
            beside.helm("uninstall", "scot")
        assert not step.failed
        assert probe.composers["v1"] > 0

    release.helm("uninstall", "scot")
    release.kubectl("delete", "rayjobs", "--all")  # jobs are their submitters', not the release's
    until(lambda: not release.get("pods")["items"])
    left = {
        kind: [each["metadata"]["name"] for each in release.get(kind)["items"]]
        for kind in ("rayservices", "services", "secrets", "jobs", "networkpolicies", "persistentvolumeclaims")
    }
    assert {kind: names for kind, names in left.items() if names} == {"persistentvolumeclaims": ["scot-artifacts"]}


def test_the_two_commands_of_the_readme_release_a_composer(release: Release, tmp_path: Path) -> None:
    """`helm install scot ./helm`, then `ray job submit -- python ray_jobs/pretrain.py` in a shell of the head."""
    release.helm("install", "scot", "./helm", *release.values)
    address = until(lambda: release.address)
    _first_right_answer(release, address, tmp_path)
    drawn = ["--for=condition=complete", "job", "--selector", "app.kubernetes.io/component=bootstrap"]
    release.kubectl("wait", "--timeout=600s", *drawn)
    began = time.monotonic()
    output = release.in_head("bash", "-c", "ray job submit -- python ray_jobs/pretrain.py")
    print(f"\n{output[-2000:]}\npretraining without a flag: {time.monotonic() - began:.0f} s")
    for said in ("generating them", "encoding", "published v1", "released v1 (first release)", "succeeded"):
        assert said in output, output
    with ScotClient(address, api_key=release.key) as client:

        def answered() -> bool:
            return client.search(item_id="wardrobe-00001", edits="make it blue", limit=3).composer == "v1"

        until(answered)
        print(f"answered by v1: {time.monotonic() - began:.0f} s after the command")
    again = release.in_head("bash", "-c", "ray job submit -- python ray_jobs/pretrain.py")
    assert "is finished" in again
    release.helm("uninstall", "scot")


def _first_right_answer(release: Release, address: str, tmp_path: Path) -> float:
    """Wait until the target of a drawn query is found by its caption; the moment it was, and `helm test` passes."""
    bootstrap = yaml.safe_load((HELM / "values-local.yaml").read_text(encoding="utf-8"))["bootstrap"]
    gallery = tmp_path / "wardrobe"
    draw(DrawConfig("wardrobe", gallery, "eval", bootstrap["size"], bootstrap["queries"]))
    query = read_queries(gallery)[1][0]
    with ScotClient(address, api_key=until(lambda: release.key)) as client:

        def found() -> bool:
            hits = client.search(edits=query.edited_caption, composer="text_only", limit=20).hits
            return bool({hit.item_id for hit in hits} & query.targets)

        def right() -> float:
            try:
                return time.monotonic() if found() else 0.0
            except Exception as error:  # the service is not there yet
                raise AssertionError(str(error)) from error

        moment: float = until(right)
    release.helm("test", "scot")
    return moment


def _fault_tolerance() -> list[str]:
    """Values that keep the state of Ray's head in the chart's Redis, where there is an image of it."""
    if not REDIS:
        return []
    repository, _, tag = REDIS.rpartition(":")
    image = f"redis.image.repository={repository},redis.image.tag={tag}"
    return ["--set", f"redis.enabled=true,ray.gcsFaultTolerance.backend=redis,{image}"]


def _submit(release: Release, job: str, *flags: str) -> str:
    address = ["--address", "http://localhost:8265"]
    return release.in_head("ray", "job", "submit", *address, "--", "python", f"ray_jobs/{job}.py", *flags)


_KILL_A_REPLICA = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "cmdline").read_bytes().startswith(b"ray::ServeReplica:search:Composer"):
        os.kill(int(process.name), 9)
"""
