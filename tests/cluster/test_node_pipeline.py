"""The chart's scheduled pipeline on a cluster that runs its pods: each step loses a pod, a refusal changes nothing.

Needs what tests/cluster/test_node.py needs. With `kube-state-metrics` and `prometheus` on the PATH the alert is looked
at, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scot.client import ScotClient
from scot.cluster.api import Cluster
from scot.cluster.job_status import outcome
from scot.ports import free_port
from tests.cluster.probe import Probe
from tests.cluster.release import Release, first_right_answer, until
from tests.support.prometheus import HELM, Target, prometheus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SCOT_TEST_NODE"), reason="needs nodes that run pods: set SCOT_TEST_NODE=1 and KUBECONFIG"
    ),
    pytest.mark.timeout(3_600),
]

FLAGS = '"--cpus=1", "--ttl=0"'
PIPELINE = ["--set", "pipeline.enabled=true,pipeline.suspend=true,pipeline.steps=300,pipeline.backoffLimit=10"]
LOSSES = (
    ("generate_edits", "head"),
    ("encode", "head"),
    ("pretrain", "pipeline"),
    ("pretrain", "head"),
    ("evaluate", "submitter"),
    ("promote", "head"),
)
"""(step, the pod that it loses): of its Ray cluster, its submitter, or the pod that runs the pipeline."""


class Run:
    """A Job of the CronJob, started now."""

    def __init__(self, release: Release, name: str) -> None:
        self._release, self.name = release, name
        self._cluster = Cluster(release.name)  # quicker than kubectl: a step may run for some seconds only
        release.kubectl("create", "job", "--from=cronjob/scot-pipeline", name)

    @property
    def status(self) -> dict[str, Any]:
        """The Job's conditions that hold, by their types."""
        job = self._release.get("job", self.name)
        return {each["type"]: each for each in job["status"].get("conditions", ()) if each["status"] == "True"}

    def pods(self) -> list[dict[str, Any]]:
        """Its own pods, oldest first."""
        found = self._cluster.pods(f"batch.kubernetes.io/job-name={self.name}")
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def log(self) -> str:
        """What its pods have said."""
        return self._release.kubectl("logs", "--tail=-1", f"--selector=batch.kubernetes.io/job-name={self.name}")

    def jobs(self, step: str) -> list[dict[str, Any]]:
        """The RayJobs of a step, oldest first."""
        found = self._cluster.objects("rayjobs", f"scot/job={step}")
        own = [job for job in found if job["metadata"]["ownerReferences"][0]["name"] == self.name]
        return sorted(own, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def lose(self, step: str, part: str) -> None:
        """Wait until the step runs and delete a pod."""

        def running() -> str | None:
            if self.succeeded(step):
                pytest.fail(f"{step} was too quick to lose a pod")
            jobs = self.jobs(step)
            if not jobs or jobs[-1].get("status", {}).get("jobDeploymentStatus") != "Running":
                return None
            selector = {
                "head": f"ray.io/cluster={jobs[-1]['status']['rayClusterName']},ray.io/node-type=head",
                "submitter": f"batch.kubernetes.io/job-name={jobs[-1]['metadata']['name']}",
                "pipeline": f"batch.kubernetes.io/job-name={self.name}",
            }[part]
            pods = [pod for pod in self._cluster.pods(selector) if pod["status"]["phase"] == "Running"]
            return str(pods[-1]["metadata"]["name"]) if pods else None

        pod = until(running)
        self._release.kubectl("delete", "pod", pod, "--grace-period=1", "--wait=false")
        until(lambda: pod not in self._release.kubectl("get", "pods", "-o", "name"))

    def succeeded(self, step: str) -> bool:
        """Whether a RayJob of the step has succeeded."""
        return any((ended := outcome(job)) is not None and ended.succeeded for job in self.jobs(step))


def test_the_scheduled_pipeline(release: Release, tmp_path: Path) -> None:
    flags = ["--set-json", f'pipeline.flags=[{FLAGS}, "--pretrain-flags=--eval-every 60"]']
    release.helm("install", "scot", str(HELM), *release.values, *PIPELINE, *flags)
    address = until(lambda: release.address)
    first_right_answer(release, address, tmp_path)
    release.until_drawn()

    with Probe(address, release.key, "wardrobe-00001", "make it blue") as probe:
        probe.steady()
        with probe.step("a pipeline whose every step loses a pod") as step:
            run = Run(release, "scot-pipeline-1")
            print("\n| step | lost | seconds until the step succeeded | its RayJobs |\n|---|---|---|---|")
            for title, part in LOSSES:
                began = time.monotonic()
                run.lose(title, part)
                if part == "pipeline":
                    until(lambda: "goes on, created by an earlier pod of this run" in run.log())
                else:
                    until(lambda title=title: run.succeeded(title))  # type: ignore[misc]
                print(f"| {title} | {part} | {time.monotonic() - began:.0f} | {len(run.jobs(title))} |", flush=True)
            until(lambda: run.status.keys() & {"Failed", "Complete"})
        assert "Complete" in run.status, run.status
        until(lambda: probe.composers["v1"] > 0)
        assert not step.failed

        refused = f'pipeline.flags=[{FLAGS}, "--pretrain-flags=--lr 1 --name refused"]'
        release.upgrade(HELM, *PIPELINE, "--set", "pipeline.steps=5", "--set-json", refused)
        before = release.get("rayservice", "scot")["spec"]
        with probe.step("a pipeline whose composer is refused") as step:
            run = Run(release, "scot-pipeline-2")
            until(lambda: run.status.keys() & {"Failed", "Complete"})
        failed = run.status["Failed"]
        print(f"{failed['reason']}: {failed['message']}")
        assert failed["reason"] == "PodFailurePolicy"
        assert "exit code 3 matching FailJob rule at index 0" in failed["message"]
        (pod,) = run.pods()  # it was not tried again
        said = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
        print(said)
        assert "is worse than the released v1" in said
        assert release.get("rayservice", "scot")["spec"] == before
        with ScotClient(address, api_key=release.key) as client:
            assert client.search(item_id="wardrobe-00001", edits="make it blue", limit=3).composer == "v1"
        assert not step.failed
        assert set(probe.composers) <= {"v1", "tiny-1"}
    if shutil.which("kube-state-metrics") and shutil.which("prometheus"):
        with watched(release, tmp_path) as alerts:
            until(lambda: "ScotPipelineFailed" in alerts())
        print("the alert ScotPipelineFailed fires")


@contextmanager
def watched(release: Release, folder: Path) -> Iterator[Any]:
    """A function that returns the names of the alerts that fire, in a Prometheus beside the cluster."""
    port, telemetry = free_port(), free_port()
    command = ["kube-state-metrics", f"--kubeconfig={os.environ['KUBECONFIG']}", "--resources=jobs,cronjobs"]
    command += [f"--namespaces={release.name}", f"--port={port}", f"--telemetry-port={telemetry}"]
    head = release.get("pod", release.pod("head"))
    about = {"namespace": release.name, "pod_name": head["metadata"]["name"]}
    about |= {"pod_label_ray_io_node_type": "head", "pod_label_app_kubernetes_io_component": "search"}
    labels = {f"__meta_kubernetes_{name}": value for name, value in about.items()}
    rules = (HELM / "alerts.yaml").read_text(encoding="utf-8")
    with (folder / "kube-state-metrics.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        targets = [
            Target(f"{head['status']['podIP']}:8080", "ray", labels),
            Target(f"127.0.0.1:{port}", "", {}),
        ]
        with prometheus(folder, targets, rules) as server:
            yield lambda: server.alerts("firing")
    finally:
        process.terminate()
        process.wait(timeout=30)
