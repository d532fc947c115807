"""A namespace of a real cluster, with `helm` and `kubectl` in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.support.rendering import HELM

Found = TypeVar("Found")
COMMAND_S = 1_800


class Namespace:
    """A namespace of its own, which takes restricted pods only."""

    def __init__(self, purpose: str) -> None:
        self.name = f"scot-{purpose}-{uuid.uuid4().hex[:6]}"
        self.kubectl("create", "namespace", self.name)
        self.kubectl("label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, "-n", self.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False, cwd=HELM.parent)

    def kubectl(self, *arguments: str) -> str:
        return self._good("kubectl", *arguments).stdout

    def helm(self, *arguments: str) -> str:
        """What helm says. Raises AssertionError when it fails, or warns of pods or fields that the server dislikes."""
        done = self._good("helm", *arguments)
        assert "would violate PodSecurity" not in done.stderr, done.stderr
        assert "unknown field" not in done.stderr, done.stderr
        return done.stdout

    def apply(self, objects: Sequence[dict[str, Any]]) -> None:
        """Create objects in the namespace, or bring them up to date."""
        command = ["kubectl", "-n", self.name, "apply", "-f", "-"]
        subprocess.run(command, input=yaml.safe_dump_all(objects), text=True, check=True, capture_output=True)

    def get(self, what: str, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", what, *arguments, "-o", "json"))

    def _good(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.run(program, *arguments)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done


Made = TypeVar("Made", bound=Namespace)


@contextmanager
def removed(namespace: Made) -> Iterator[Made]:
    """The namespace goes with everything in it, whatever happens."""
    try:
        yield namespace
    finally:
        namespace.run("kubectl", "delete", "namespace", namespace.name, "--wait=false")
        # KubeRay holds a cluster until a Job has cleaned its Redis, and a namespace that ends takes no Job.
        for each in namespace.run("kubectl", "get", "rayclusters", "-o", "name").stdout.split():
            namespace.run("kubectl", "patch", each, "--type=merge", "-p", '{"metadata": {"finalizers": []}}')


def until(look: Callable[[], Found | None], patience_s: float, *through: type[Exception]) -> Found:
    """Call ``look`` until it returns something; ``through`` are errors of objects that do not exist yet."""
    end, last = time.monotonic() + patience_s, ""
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except through as error:
            last = f": {error}"
        time.sleep(0.5)
    raise AssertionError(f"it did not happen in time{last}")


def chart_of_version(version: str, folder: Path) -> Path:
    """A copy of the chart with another version."""
    chart = folder / version
    shutil.copytree(HELM, chart)
    described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8")) | {"version": version}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return chart
