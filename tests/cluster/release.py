"""A release on a cluster that runs its pods: `values-local.yaml` in a namespace of its own."""

from __future__ import annotations

import base64
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from scot.client import ScotClient
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.queries import read_queries
from tests.cluster import namespaces
from tests.cluster.namespaces import Found, Namespace
from tests.support.rendering import HELM

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900

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

    def until_drawn(self) -> None:
        """Wait until the bootstrap has drawn and indexed its pictures."""
        drawn = ["--for=condition=complete", "job", "--selector", "app.kubernetes.io/component=bootstrap"]
        self.kubectl("wait", "--timeout=600s", *drawn)

    def in_head(self, *command: str) -> str:
        return self.kubectl("exec", self.pod("head"), "-c", "ray-head", "--", *command)


def until(look: Callable[[], Found | None]) -> Found:
    """What ``look`` finds, once it finds it; errors in between are those of things that are not there yet."""
    return namespaces.until(look, PATIENCE_S, AssertionError, KeyError, ValueError)


def first_right_answer(release: Release, address: str, tmp_path: Path) -> float:
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
