"""Jobs and promotion against a real API server with the KubeRay operator; its nodes may be simulated (kwok).

Ray itself does not run: where a test needs a job that has ended, or a healthy Serve application, it writes the status
of the object as the operator does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
import yaml

from scot.cli import main
from scot.cluster import jobs
from scot.cluster.api import Cluster
from scot.cluster.helm_release import default_composer, serve_config
from scot.commands.cluster import SubmitConfig, dry_run
from scot.composers import Registry, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.encoders import load_encoder
from scot.errors import InvalidInput, NotFound, ScotError
from scot.v1 import search_pb2, search_pb2_grpc
from scot.worlds.drawing import DrawConfig, draw
from tests.cluster import namespaces
from tests.cluster.namespaces import Found

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="a cluster with KubeRay is needed: set KUBECONFIG"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240


def until(look: Callable[[], Found | None]) -> Found:
    return namespaces.until(look, PATIENCE_S)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of its own that takes restricted pods only."""
    try:
        core = Cluster("default").core
        Cluster("default").objects("rayjobs")
    except ScotError as error:
        pytest.skip(f"no cluster with KubeRay answers: {error}")
    name = f"scot-jobs-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def cluster(namespace: str) -> Cluster:
    return Cluster(namespace)


@pytest.fixture
def claim(cluster: Cluster) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.core.create_namespaced_persistent_volume_claim(
        cluster.namespace, {"metadata": {"name": "scot-artifacts"}, "spec": spec}
    )


def submitted(capsys: pytest.CaptureFixture[str], namespace: str, *words: str) -> str:
    """Create a job and return at once; its name."""
    assert main(["cluster", "submit", *words[:1], "--namespace", namespace, "--detach", *words[1:]]) == 0
    created = re.match(r"(\S+): created in namespace", capsys.readouterr().err)
    assert created is not None
    return created[1]


def set_status(cluster: Cluster, plural: str, name: str, status: dict[str, Any]) -> None:
    cluster._objects.patch_namespaced_custom_object_status(
        "ray.io", "v1", cluster.namespace, plural, name, {"status": status}
    )


@pytest.mark.parametrize("name", get_args(jobs.JobName))
def test_the_server_accepts_each_manifest_and_every_field(name: jobs.JobName, cluster: Cluster) -> None:
    body = yaml.safe_load(dry_run(SubmitConfig(job=name)))
    made = cluster.create("rayjobs", body, dry_run=True)
    assert made["metadata"]["name"].startswith(f"scot-{name.replace('_', '-')}-")
    body["spec"]["rayClusterSpec"]["headGroupSpec"]["templates"] = {}
    with pytest.raises(InvalidInput, match="unknown field"):
        cluster.create("rayjobs", body, dry_run=True)


@pytest.mark.usefixtures("claim")
def test_kuberay_makes_the_pods_that_are_meant(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    name = submitted(
        *(capsys, cluster.namespace, "pretrain", "--image", "scot/search:test", "--num-workers", "2", "--gpus", "1"),
        *("--cpus", "3", "--", "--steps", "5", "--name", "it's $HOME"),
    )

    def all_pods() -> dict[str, Any] | None:
        ray = (cluster.get("rayjobs", name).get("status") or {}).get("rayClusterName")
        pods = cluster.pods(f"ray.io/cluster={ray}") if ray else []
        return {"pods": pods, "ray": ray} if len(pods) == 3 else None

    found = until(all_pods)
    kinds = [pod["metadata"]["labels"]["ray.io/node-type"] for pod in found["pods"]]
    assert sorted(kinds) == ["head", "worker", "worker"]
    for pod in found["pods"]:
        ray = pod["spec"]["containers"][0]
        env = {each["name"]: each for each in ray["env"]}
        mounts = {each["mountPath"]: each["name"] for each in ray["volumeMounts"]}
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        assert ray["image"] == "scot/search:test"
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == found["ray"]
        assert volumes[mounts["/artifacts"]]["persistentVolumeClaim"]["claimName"] == "scot-artifacts"
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "job"
        command = " ".join([*ray.get("command", []), *ray.get("args", [])])
        head = pod["metadata"]["labels"]["ray.io/node-type"] == "head"
        assert ("--num-cpus=0" if head else "--num-cpus=3") in command
        assert ray["resources"]["limits"].get("nvidia.com/gpu") == (None if head else "1")
    entrypoint = cluster.get("rayjobs", name)["spec"]["entrypoint"]
    assert "--steps 5" in entrypoint
    assert entrypoint.endswith("--num-workers 2 --use-gpu")

    assert main(["cluster", "list", "--namespace", cluster.namespace]) == 0
    assert f"{name}  pretrain" in capsys.readouterr().out
    assert main(["cluster", "cancel", name, "--namespace", cluster.namespace]) == 0
    until(lambda: not cluster.objects("rayjobs") and not cluster.objects("rayclusters"))
    assert main(["cluster", "cancel", name, "--namespace", cluster.namespace]) == 1
    assert f'rayjobs.ray.io "{name}" not found' in capsys.readouterr().err


Followed = Callable[..., tuple[subprocess.Popen[str], Callable[[str], str]]]


@pytest.fixture
def followed(cluster: Cluster) -> Iterator[Followed]:
    """``scot cluster submit`` as a process, and a function that waits for a line of its output."""
    with contextlib.ExitStack() as running:

        def start(*words: str) -> tuple[subprocess.Popen[str], Callable[[str], str]]:
            process, wait_for = started(cluster.namespace, *words)
            running.callback(process.kill)
            return process, wait_for

        yield start


def started(namespace: str, *words: str) -> tuple[subprocess.Popen[str], Callable[[str], str]]:
    """The same, without killing the process at the end."""
    command = [sys.executable, "-m", "scot.cli", "cluster", "submit", *words[:1], "--namespace", namespace, *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    received: list[str] = []

    def wait_for(pattern: str) -> str:
        def look() -> str | None:
            while not lines.empty():
                received.append(lines.get())
            return next((line for line in received if re.search(pattern, line)), None)

        try:
            return until(look)
        except AssertionError:
            raise AssertionError(f"{pattern!r} is not in {received}") from None

    return process, wait_for


def test_a_missing_claim_is_reported_and_an_interrupt_leaves_the_job(
    cluster: Cluster, followed: Followed, capsys: pytest.CaptureFixture[str]
) -> None:
    process, wait_for = followed("encode", "--image", "scot/search:test")
    wait_for("the head waits for the PersistentVolumeClaim scot-artifacts, which does not exist")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    name = wait_for("keeps running; follow it with `scot cluster logs").split()[0]
    wait_for(f"scot cluster cancel {name} --namespace {cluster.namespace}")
    assert cluster.get("rayjobs", name)["metadata"]["name"] == name
    assert main(["cluster", "logs", name, "--no-follow", "--namespace", cluster.namespace]) == 1
    assert "its submitter pod does not exist yet" in capsys.readouterr().err


@pytest.mark.usefixtures("claim")
def test_gpus_that_no_node_has_are_reported_and_a_deleted_job_failed(cluster: Cluster, followed: Followed) -> None:
    process, wait_for = followed("pretrain", "--image", "scot/search:test", "--gpus", "4096", "--backoff-limit", "1")
    line = wait_for("the head waits for 4096 GPUs")
    assert "which no node has free" in line
    cluster.delete("rayjobs", line.partition(":")[0])
    wait_for("was deleted before it ended")
    assert process.wait(PATIENCE_S) == 1


@pytest.mark.usefixtures("claim")
@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, 0, "succeeded"),
        (
            {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "exit code 1"},
            1,
            r"failed \(AppFailed: exit code 1\)",
        ),
    ],
)
def test_the_exit_code_is_the_jobs(
    cluster: Cluster, followed: Followed, status: dict[str, Any], code: int, message: str
) -> None:
    """With too many CPUs KubeRay keeps waiting, so only this test writes the status."""
    process, wait_for = followed("evaluate", "--image", "scot/search:test", "--cpus", "100000")
    name = wait_for("its Ray cluster starts").partition(":")[0]
    wait_for(r"waits for \S+ of cpu")
    set_status(cluster, "rayjobs", name, status)
    wait_for(message)
    assert process.wait(PATIENCE_S) == code


def test_a_job_that_does_not_start_in_time_has_failed(followed: Followed) -> None:
    process, wait_for = followed("encode", "--image", "scot/search:test", "--start-timeout", "3")
    wait_for(r"failed \(PreRunningDeadlineExceeded")
    assert process.wait(PATIENCE_S) == 1


def test_without_a_release_or_an_image_nothing_is_created(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "submit", "encode", "--namespace", cluster.namespace]) == 1
    error = capsys.readouterr().err
    assert 'rayservices.ray.io "scot" not found' in error
    assert "name the release with --release, or an image with --image" in error
    assert cluster.objects("rayjobs") == []


SERVE = """\
applications:
- name: search
  import_path: services.search.app:build
  route_prefix: /
  args: {encoder: tiny, composers: /artifacts/composers}
  deployments:
  - name: Gateway
    num_replicas: 1
  - name: Composer
    user_config: {default: ''}
"""


@pytest.fixture
def rayservice(cluster: Cluster) -> str:
    """A RayService whose pods cannot run: Serve is simulated."""
    container = {
        "name": "ray-head",
        "image": "scot/search:test",
        "resources": {"requests": {"cpu": "100000"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [container], "securityContext": security}}}
    body = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "scot"},
        "spec": {"serveConfigV2": SERVE, "rayClusterConfig": {"rayVersion": "2.60.0", "headGroupSpec": head}},
    }
    cluster.create("rayservices", body)
    return "scot"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Path]:
    """v1, released, and v2, the same network: neither can be worse on the gallery."""
    home = tmp_path_factory.mktemp("registry")
    encoder = load_encoder("tiny")
    artifact = home / "artifact"
    module = Combiner(CombinerConfig(dim=encoder.dim, projection=4, hidden=4))
    save_composer(artifact, module, encoder_id=encoder.id, dim=encoder.dim, metrics={"recall@1": 0.5})
    made = Registry(home / "composers")
    assert [made.publish(artifact), made.publish(artifact, release=False)] == ["v1", "v2"]
    draw(DrawConfig("wardrobe", home / "gallery", "eval", 60, 20, num_workers=1))
    return made, home / "gallery"


class Service(search_pb2_grpc.SearchServiceServicer):
    """A search service that reports its released composer."""

    def __init__(self) -> None:
        self.released = "v1"

    def ListComposers(self, request: Any, context: Any) -> Any:
        composers = [search_pb2.ComposerInfo(name=name, released=name == self.released) for name in ("v1", "v2")]
        return search_pb2.ListComposersResponse(composers=composers)


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    server, answers = grpc.server(ThreadPoolExecutor(2)), Service()
    search_pb2_grpc.add_SearchServiceServicer_to_server(answers, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield answers, f"127.0.0.1:{port}"
    server.stop(None).wait()


def healthy_from(cluster: Cluster, name: str, ended: threading.Event) -> None:
    """Report every generation as applied and healthy, as KubeRay does when Ray Serve has applied it."""
    deployments = {each: {"status": "HEALTHY"} for each in ("Gateway", "Composer")}
    search = {"status": "RUNNING", "serveDeploymentStatuses": deployments}
    while not ended.is_set():
        generation = cluster.get("rayservices", name)["metadata"]["generation"]
        active = {"applicationStatuses": {"search": search}}
        set_status(cluster, "rayservices", name, {"observedGeneration": generation, "activeServiceStatus": active})
        ended.wait(0.2)


@pytest.fixture
def simulated_serve(cluster: Cluster, rayservice: str) -> Iterator[str]:
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        played = pool.submit(healthy_from, cluster, rayservice, ended)
        yield rayservice
        ended.set()
        played.result()


def promote(cluster: Cluster, registry: tuple[Registry, Path], *words: str) -> int:
    made, gallery = registry
    return main(
        [
            *("cluster", "promote", "v2", "--namespace", cluster.namespace),
            *("--composers", made.root, "--gallery", str(gallery), *words),
        ]
    )


def default_of(cluster: Cluster) -> str:
    return default_composer(serve_config(cluster.get("rayservices", "scot")))


@pytest.mark.usefixtures("rayservice")
def test_a_version_that_is_not_applied_in_time_is_reverted(
    cluster: Cluster, registry: tuple[Registry, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = registry
    assert promote(cluster, registry, "--timeout", "3") == 3
    captured = capsys.readouterr()
    assert "gate: passed: v2: recall@1" in captured.err
    assert "scot cluster promote: v2 is not served: after 3 s" in captured.err
    assert "Composer's default is the released one again and the registry's pointer is rolled back" in captured.err
    assert default_of(cluster) == ""
    assert made.released() == "v1"
    assert serve_config(cluster.get("rayservices", "scot")) == yaml.safe_load(SERVE)


@pytest.mark.usefixtures("simulated_serve")
def test_a_version_that_the_service_refuses_is_reverted_though_kuberay_reports_health(
    cluster: Cluster,
    registry: tuple[Registry, Path],
    service: tuple[Service, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, _ = registry
    assert promote(cluster, registry, "--timeout", "15", "--address", service[1]) == 3
    assert "the service still answers with v1" in capsys.readouterr().err
    assert default_of(cluster) == ""
    assert made.released() == "v1"


@pytest.mark.usefixtures("simulated_serve")
def test_a_version_that_is_served_is_promoted(
    cluster: Cluster,
    registry: tuple[Registry, Path],
    service: tuple[Service, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, _ = registry
    answers, address = service

    def takes_over() -> None:
        until(lambda: default_of(cluster) == "v2")
        answers.released = "v2"

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(takes_over)
        assert promote(cluster, registry, "--timeout", "60", "--address", address) == 0
        taken.result()
    assert "the service answers with v2" in capsys.readouterr().err
    assert default_of(cluster) == "v2"
    assert made.released() == "v2"
    made.rollback()


@pytest.fixture
def pipeline_account(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use a service account that has the permissions of the chart's pipeline, and no others."""
    template = (ROOT / "helm" / "templates" / "pipeline.yaml").read_text(encoding="utf-8")
    text = re.search(r"^rules:\n(?:  .*\n)+", template, re.M)
    assert text is not None
    rules = yaml.safe_load(text[0].replace("{{ $name }}", "scot"))["rules"]
    namespace = cluster.namespace
    roles = importlib.import_module("kubernetes.client").RbacAuthorizationV1Api(cluster.core.api_client)
    cluster.core.create_namespaced_service_account(namespace, {"metadata": {"name": "pipeline"}})
    roles.create_namespaced_role(namespace, {"metadata": {"name": "pipeline"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "pipeline", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pipeline"}
    roles.create_namespaced_role_binding(
        namespace, {"metadata": {"name": "pipeline"}, "roleRef": reference, "subjects": [subject]}
    )
    token = cluster.core.create_namespaced_service_account_token("pipeline", namespace, {"spec": {}}).status.token
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    config["users"] = [{"name": "pipeline", "user": {"token": token}}]
    context = {"cluster": config["clusters"][0]["name"], "user": "pipeline", "namespace": namespace}
    config["contexts"] = [{"name": "it", "context": context}]
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps({**config, "current-context": "it"}), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(file))


@pytest.mark.usefixtures("claim", "simulated_serve", "pipeline_account")
def test_the_pipelines_account_may_do_what_the_pipeline_does_and_no_more(
    cluster: Cluster,
    followed: Followed,
    registry: tuple[Registry, Path],
    service: tuple[Service, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, _ = registry
    answers, address = service
    process, wait_for = followed("evaluate", "--cpus", "100000")
    name = wait_for("waits for .* of cpu").partition(":")[0]  # it reads pods and events, too
    set_status(cluster, "rayjobs", name, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"})
    assert process.wait(PATIENCE_S) == 0
    answers.released = "v2"
    assert promote(cluster, registry, "--timeout", "60", "--address", address) == 0
    made.rollback()
    capsys.readouterr()
    assert main(["cluster", "cancel", name, "--namespace", cluster.namespace]) == 1
    assert "this account has no permission in namespace" in capsys.readouterr().err
    with pytest.raises(NotFound):
        cluster.get("rayjobs", "another")
