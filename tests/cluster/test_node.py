"""A release's life on a cluster that really runs its pods: installed, asked, trained in, upgraded, broken, removed.

Takes a KUBECONFIG whose nodes have the image (SCOT_TEST_IMAGE, by default scot/search at the chart's version) and whose
Services this machine can reach, with `helm` and `kubectl` on the PATH. `make test-node` runs it and prints a report.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scot.client import ScotClient
from scot.data.worlds.drawing import DrawConfig, draw
from scot.data.worlds.queries import read_queries
from tests.cluster.probe import HEADER, Probe, Step

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / "helm"
PATIENCE_S = 900
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCOT_TEST_NODE"), reason="needs nodes that run pods: set SCOT_TEST_NODE=1 and KUBECONFIG"
    ),
    pytest.mark.timeout(3_600),
]


def run(*command: str, patience_s: float = PATIENCE_S) -> str:
    """A command's output. Raises AssertionError with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


class Release:
    """A release in a namespace of its own, which takes restricted pods only."""

    def __init__(self) -> None:
        self.namespace = f"scot-node-{uuid.uuid4().hex[:6]}"
        self.values = ["-f", str(HELM / "values-local.yaml")]
        if image := os.environ.get("SCOT_TEST_IMAGE"):
            repository, _, tag = image.rpartition(":")
            self.values += ["--set", f"image.repository={repository},image.tag={tag}"]
        self.kubectl("create", "namespace", self.namespace)
        self.kubectl("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted")

    def kubectl(self, *arguments: str) -> str:
        return run("kubectl", "-n", self.namespace, *arguments)

    def helm(self, *arguments: str) -> str:
        return run("helm", "-n", self.namespace, *arguments)

    def upgrade(self, chart: Path, *more: str) -> str:
        return self.helm("upgrade", "scot", str(chart), *self.values, *more)

    def scot(self, *arguments: str) -> str:
        environment = {**os.environ, "SCOT_API_KEY": self.key}
        command = [sys.executable, "-m", "scot.cli", *arguments, "--namespace", self.namespace]
        if "--" in arguments:  # what follows it is the job's
            at = arguments.index("--")
            command = [*command[: 3 + at], "--namespace", self.namespace, *arguments[at:]]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def get(self, what: str, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", what, *arguments, "-o", "json"))

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

    def in_head(self, *command: str) -> str:
        return self.kubectl("exec", self.pod("head"), "-c", "ray-head", "--", *command)


def until(look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What ``look`` finds, once it finds it; errors in between are those of things that are not there yet."""
    end, said = time.monotonic() + patience_s, ""
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (AssertionError, KeyError, ValueError) as error:
            said = str(error)
        time.sleep(1)
    raise AssertionError(f"it did not come: {said}")


@pytest.fixture
def release() -> Iterator[Release]:
    """Removed with everything in it, whatever happens."""
    made = Release()
    try:
        yield made
    finally:
        subprocess.run(["kubectl", "delete", "namespace", made.namespace, "--wait=false"], check=False)


def test_a_release_lives(release: Release, tmp_path: Path) -> None:
    """The whole of it, since each step takes the release that the one before left."""
    steps: list[Step] = []
    began = time.monotonic()
    release.helm("install", "scot", str(HELM), *release.values)
    address = until(lambda: release.address)
    first = _first_right_answer(release, address, tmp_path)
    print(f"\nfrom helm install to the first right answer: {first - began:.0f} s")
    assert "is serving" in release.kubectl("logs", _tested(release))

    with Probe(address, release.key, "wardrobe-00001", "make it blue") as probe:
        probe.steady()
        print(HEADER)
        with probe.step("generate_edits as a RayJob") as step:
            said = release.scot(
                "cluster", "submit", "generate_edits", "--cpus", "1", "--memory", "3Gi", "--",
                "--source", "/artifacts/catalogue/wardrobe", "--output", "/artifacts/triplets",
            )  # fmt: skip
            assert "triplets from" in said
            assert "succeeded" in said
        steps.append(step)
        with probe.step("`ray job submit`: encode, pretrain") as step:
            source = ["--source", "/artifacts/catalogue/wardrobe"]
            places = ["--triplets", "/artifacts/triplets", "--output", "/artifacts/embeddings"]
            _submit(release, "encode", *source, *places)
            cache = ["--embeddings", "/artifacts/embeddings", "--composers", "/artifacts/composers"]
            said = _submit(release, "pretrain", *cache, "--runs", "/artifacts/runs", "--steps", "40", "--patience", "0")
            assert "published v1" in said
        steps.append(step)
        with probe.step("`scot cluster promote v1`") as step:
            release.scot("cluster", "promote", "v1", "--force", "--cpus", "1", "--memory", "3Gi")
        steps.append(step)
        until(lambda: probe.composers["v1"] > 0)

        pods, chart = release.pods(), _newer_chart(tmp_path)
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

        with probe.step("an upgrade that replaces every pod") as step:
            release.upgrade(HELM, "--set", "ray.podAnnotations.again=yes")
            until(lambda: not release.pods().keys() & pods.keys())
        steps.append(step)
        with probe.step("a Composer replica killed") as step:
            release.kubectl("exec", release.pod("worker"), "-c", "ray-worker", "--", "python", "-c", _KILL_A_REPLICA)
            probe.steady()
        steps.append(step)
        for node in ("worker", "head"):
            with probe.step(f"the {node} pod deleted") as step:
                gone = release.pod(node)
                release.kubectl("delete", "pod", gone, "--wait=false")
                until(lambda gone=gone: gone not in release.pods())
                probe.steady()
            steps.append(step)
        until(lambda: probe.composers["v1"] > 0)
        _print_memory(release)

        beside = Release()
        try:
            with probe.step("a second release in another namespace") as step:
                beside.helm("install", "scot", str(HELM), *beside.values)
                _first_right_answer(beside, until(lambda: beside.address), tmp_path)
            assert not step.failed
            beside.helm("uninstall", "scot")
        finally:
            subprocess.run(["kubectl", "delete", "namespace", beside.namespace, "--wait=false"], check=False)

    release.helm("uninstall", "scot")
    until(lambda: not release.get("pods")["items"])
    left = {
        kind: [each["metadata"]["name"] for each in release.get(kind)["items"]]
        for kind in ("rayservices", "services", "secrets", "jobs", "networkpolicies", "persistentvolumeclaims")
    }
    assert {kind: names for kind, names in left.items() if names} == {"persistentvolumeclaims": ["scot-artifacts"]}


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


def _tested(release: Release) -> str:
    return str(release.get("pods", "-l", "app.kubernetes.io/component=test")["items"][0]["metadata"]["name"])


def _submit(release: Release, job: str, *flags: str) -> str:
    address = ["--address", "http://localhost:8265"]
    return release.in_head("ray", "job", "submit", *address, "--", "python", f"ray_jobs/{job}.py", *flags)


def _newer_chart(tmp_path: Path) -> Path:
    chart = tmp_path / "newer"
    shutil.copytree(HELM, chart)
    described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8")) | {"version": "99.0.0"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return chart


_KILL_A_REPLICA = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if (process / "cmdline").read_bytes().startswith(b"ray::ServeReplica:search:Composer"):
        os.kill(int(process.name), 9)
"""


def _print_memory(release: Release) -> None:
    """Working set of each Ray pod, from its own cgroup."""
    for node in ("head", "worker"):
        name, read = release.pod(node), "cat /sys/fs/cgroup/memory.current /sys/fs/cgroup/memory/memory.usage_in_bytes"
        got = release.kubectl("exec", name, "-c", f"ray-{node}", "--", "sh", "-c", f"{read} 2>/dev/null || true")
        if got.split():
            print(f"memory of the {node} pod, caches included: {int(got.split()[0]) / 2**30:.1f} GiB")
