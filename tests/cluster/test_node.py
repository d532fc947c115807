"""The life of a release on a cluster that runs its pods: install, search, train, upgrade, failures, uninstall.

Needs a KUBECONFIG whose nodes have the image (SCOT_TEST_IMAGE, by default scot/search at the chart's version) and whose
Services this machine can reach, with `helm` and `kubectl` on the PATH. `make test-node` runs it and prints a report.
With SCOT_TEST_REDIS_IMAGE, an image of Redis, the second release keeps the state of Ray's head there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from scot.client import ScotClient
from tests.cluster.namespaces import chart_of_version, removed
from tests.cluster.probe import HEADER, Probe, Step
from tests.cluster.release import Release, first_right_answer, until
from tests.support.rendering import HELM

REDIS = os.environ.get("SCOT_TEST_REDIS_IMAGE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCOT_TEST_NODE"), reason="needs nodes that run pods: set SCOT_TEST_NODE=1 and KUBECONFIG"
    ),
    pytest.mark.timeout(3_600),
]


def test_a_release_lives(release: Release, tmp_path: Path) -> None:
    """The whole of it, since each step takes the release that the one before left."""
    steps: list[Step] = []
    began = time.monotonic()
    release.helm("install", "scot", str(HELM), *release.values)
    address = until(lambda: release.address)
    first = first_right_answer(release, address, tmp_path)
    print(f"\nfrom helm install to the first right answer: {first - began:.0f} s")

    with Probe(address, release.key, "wardrobe-00001", "make it blue") as probe:
        probe.steady()
        print(HEADER)
        with probe.step("generate_edits as a RayJob") as step:
            output = release.scot(
                "cluster", "submit", "generate_edits", "--cpus", "1", "--memory", "3Gi", "--ttl", "0", "--",
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
            first_right_answer(beside, second, tmp_path)
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
    first_right_answer(release, address, tmp_path)
    release.until_drawn()
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
