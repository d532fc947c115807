"""Jobs on Kubernetes: manifests, flags, the release of a RayService, states, reasons, logs. No cluster is contacted."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml

from scot.cli import main
from scot.cluster import diagnosis, job_result, jobs, rayjob
from scot.cluster.api import error_of
from scot.cluster.helm_release import Owner, Release, Resources, fullname
from scot.cluster.job_status import Outcome, outcome, state
from scot.cluster.logs import Tail
from scot.commands import cluster as cluster_commands
from scot.commands import pipeline
from scot.commands.cluster_options import spec_of
from scot.commands.pipeline import PipelineConfig, commands_of
from scot.commands.promote import PromoteConfig
from scot.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Unavailable, grpc_status

ROOT = Path(__file__).resolve().parents[3]
NAMES: tuple[jobs.JobName, ...] = get_args(jobs.JobName)


def job(**changes: Any) -> rayjob.RayJobSpec:
    given = {"title": "pretrain", "words": ["true"], "pod": Resources(4, "8Gi"), "head": Resources(1, "2Gi")}
    return rayjob.RayJobSpec(**{**given, **changes})


def pods_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    spec = body["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    return [*(group["template"] for group in groups), spec["submitterPodTemplate"]]


def test_the_ray_of_jobs_is_the_one_that_is_pinned() -> None:
    pins = (ROOT / "requirements" / "constraints.in").read_text(encoding="utf-8").split()
    assert f"ray=={rayjob.RAY_VERSION}" in pins


def test_a_job_without_workers_is_a_head_that_works() -> None:
    cluster = rayjob.manifest(job(), Release.assumed("scot"))["spec"]["rayClusterSpec"]
    assert "workerGroupSpecs" not in cluster
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "4"
    container = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}}


def test_workers_do_the_work_and_have_the_gpus() -> None:
    body = rayjob.manifest(job(num_workers=3, pod=Resources(4, "8Gi", 1)), Release.assumed("scot"))
    cluster = body["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    head, worker, _ = pods_of(body)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert [workers[key] for key in ("replicas", "minReplicas", "maxReplicas")] == [3, 3, 3]
    assert worker["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "nvidia.com/gpu" not in head["spec"]["containers"][0]["resources"]["limits"]
    assert head["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2Gi"


@pytest.mark.parametrize("workers", [0, 2])
def test_every_pod_is_restricted_and_knows_how_ray_authenticates(workers: int) -> None:
    for pod in pods_of(rayjob.manifest(job(num_workers=workers), Release.assumed("scot"))):
        security = pod["spec"]["securityContext"]
        (container,) = pod["spec"]["containers"]
        assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 1000, 1000)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "job"


def test_the_ray_pods_have_artifacts_and_shared_memory() -> None:
    head, worker, _ = pods_of(rayjob.manifest(job(num_workers=1), Release.assumed("prod")))
    for pod in (head, worker):
        mounts = {each["mountPath"]: each["name"] for each in pod["spec"]["containers"][0]["volumeMounts"]}
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        assert volumes[mounts["/artifacts"]]["persistentVolumeClaim"] == {"claimName": "prod-scot-artifacts"}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert head["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] == "819Mi"  # two fifths of 2Gi


@pytest.mark.parametrize("release", ["scot", "a" * 53, "scot-" + "b" * 45])
@pytest.mark.parametrize("title", [*NAMES, "promote", "rollback"])
def test_names_have_room_for_what_kuberay_and_the_server_append(release: str, title: str) -> None:
    metadata = rayjob.manifest(job(title=title), Release.assumed(release))["metadata"]
    assert len(metadata["generateName"]) + 5 <= 47
    assert metadata["generateName"].endswith(f"-{title.replace('_', '-')}-")


def test_a_job_may_have_to_start_in_time() -> None:
    assert "preRunningDeadlineSeconds" not in rayjob.manifest(job(), Release.assumed("scot"))["spec"]
    spec = rayjob.manifest(job(start_timeout_s=60), Release.assumed("scot"))["spec"]
    assert spec["preRunningDeadlineSeconds"] == 60


def test_an_owner_takes_its_jobs_along() -> None:
    body = rayjob.manifest(job(owner=Owner("night", "u-1")), Release.assumed("scot"))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "night", "uid": "u-1"}
    assert body["metadata"]["ownerReferences"] == [owner]


WORDS = ["two words", "it's", 'a "quote"', "$HOME", "$(date)", "`date`", "a\\b", "semi;colon", "*", "", "$$", "ü", "#"]


def test_every_word_of_the_entrypoint_survives_both_shells(tmp_path: Path) -> None:
    """Kubernetes halves dollars, the submitter's bash splits, ``ray job submit`` joins, the job's sh splits again."""
    show = "import json,sys; print(json.dumps(sys.argv[1:]))"
    text = rayjob.entrypoint([sys.executable, "-c", show, *WORDS])
    assert "$(" not in text.replace("$$", "")
    in_pod = text.replace("$$", "$")
    joined = tmp_path / "join.py"
    joined.write_text("import shlex,sys; print(shlex.join(sys.argv[1:]))", encoding="utf-8")
    bash = ["bash", "-ce", f"{shlex.quote(sys.executable)} {joined} {in_pod} ;"]
    submitted = subprocess.run(bash, capture_output=True, text=True, check=True).stdout.rstrip("\n")
    ran = subprocess.run(submitted, shell=True, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert json.loads(ran) == WORDS


def test_a_job_gets_the_places_of_its_release_unless_flags_name_others() -> None:
    assert jobs.command("pretrain", ["--steps", "5"])[2:] == [
        *("--steps", "5", "--embeddings", "/artifacts/embeddings"),
        *("--composers", "/artifacts/composers", "--runs", "/artifacts/runs"),
    ]
    words = jobs.command("encode", ["--source=mine", "--encoder", "tiny"], root="s3://bucket/scot/", encoder="other")
    assert words[2:5] == ["--source=mine", "--encoder", "tiny"]
    assert "s3://bucket/scot/triplets" in words
    assert "other" not in words


def test_workers_and_gpus_reach_the_jobs_own_flags() -> None:
    words = jobs.command("pretrain", [], num_workers=4, use_gpu=True)
    assert words[-3:] == ["--num-workers", "4", "--use-gpu"]
    words = jobs.command("pretrain", ["--num-workers", "2", "--no-use-gpu"], num_workers=4, use_gpu=True)
    assert "4" not in words
    assert "--use-gpu" not in words


def test_index_writes_into_the_releases_qdrant_or_a_store_that_is_named() -> None:
    assert "http://scot-qdrant:6333" in jobs.command("index", [], qdrant="http://scot-qdrant:6333")
    assert "--qdrant-url" not in jobs.command("index", ["--store", "/artifacts/qdrant"], qdrant="http://q:6333")
    with pytest.raises(InvalidInput, match="use `scot index`"):
        jobs.command("index", [])


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("pretrain", ["--stepz", "3"], "pretrain has no flag --stepz; did you mean --steps?"),
        ("pretrain", ["--steps", "many"], "--steps: invalid literal for int() with base 10: 'many'"),
        ("pretrain", ["--architecture", "deep"], "no composer architecture 'deep'"),
        ("encode", ["stray"], "unrecognized options: stray"),
        ("index", ["--batch-size", "0"], "batch_size and threads must be at least 1"),
        ("evaluate", ["--help"], "--help belongs before"),
    ],
)
def test_a_wrong_flag_is_one_sentence_before_anything_is_asked(
    name: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(SystemExit) as stopped:
        main(["cluster", "submit", name, "--", *flags])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in error
    assert error.startswith("scot cluster submit: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "lots"], "memory 'lots' is not a size such as 8Gi"),
        (["--memory", "64Mi"], "too little for Ray"),
        (["--cpus", "0"], "CPUs must be at least 1"),
        (["--release", "No_Name"], "not a valid name of a helm release"),
    ],
)
def test_a_wrong_size_is_one_sentence(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["cluster", "submit", "pretrain", "--dry-run", *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_this_machines_environment_is_not_the_jobs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCOT_STEPS", "many")
    assert main(["cluster", "submit", "pretrain", "--dry-run"]) == 0
    assert "many" not in capsys.readouterr().out


def test_without_a_cluster_that_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert main(["cluster", "list"]) == 1
    assert capsys.readouterr().err == (
        "scot cluster list: no cluster is configured: set KUBECONFIG, or run in a pod of the cluster\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_prints_the_example_manifest_for_another_job(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "submit", name, "--dry-run"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    entrypoint = printed["spec"].pop("entrypoint")
    assert entrypoint.startswith(f"python ray_jobs/{name}.py --")
    example = (ROOT / "k8s" / "pretrain.yaml").read_text(encoding="utf-8")
    example = example.replace("scot-pretrain-", f"scot-{name.replace('_', '-')}-").replace(
        "scot/job: pretrain", f"scot/job: {name}"
    )
    expected = yaml.safe_load(example)
    if name == "pretrain":
        assert entrypoint == expected["spec"]["entrypoint"]
    del expected["spec"]["entrypoint"]
    assert printed == expected


def ray_service(**arguments: object) -> dict[str, Any]:
    secret = {"secretKeyRef": {"name": "s", "key": "k"}}
    container = {
        "image": "registry/scot:9",
        "imagePullPolicy": "Always",
        "env": [
            {"name": "RAY_AUTH_TOKEN", "valueFrom": secret},
            {"name": "SCOT_THREADS", "value": "3"},
            {"name": "SCOT_QDRANT_API_KEY", "valueFrom": secret},
            {"name": "HTTPS_PROXY", "value": "proxy"},
        ],
        "envFrom": [{"secretRef": {"name": "store"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/artifacts"}],
    }
    pod = {
        "containers": [container],
        "imagePullSecrets": [{"name": "pull"}],
        "affinity": {"podAffinity": {"near": "mine"}, "nodeAffinity": {"of": "the service"}},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}],
    }
    labels = {"scot/artifacts": "mine", "app.kubernetes.io/component": "search"}
    config = {"applications": [{"name": "search", "args": arguments}]}
    return {
        "metadata": {"name": "scot"},
        "spec": {
            "serveConfigV2": yaml.safe_dump(config),
            "rayClusterConfig": {"headGroupSpec": {"template": {"metadata": {"labels": labels}, "spec": pod}}},
        },
    }


def test_a_job_shares_what_its_release_runs_with() -> None:
    release = Release.of("scot", ray_service(encoder="ViT-B-32/openai", qdrant_url="http://q:6333"))
    body = rayjob.manifest(job(), release)
    head, submitter = pods_of(body)
    container = head["spec"]["containers"][0]
    names = [each["name"] for each in container["env"]]
    assert (container["image"], container["imagePullPolicy"]) == ("registry/scot:9", "Always")
    assert submitter["spec"]["containers"][0]["image"] == "registry/scot:9"
    assert head["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert {"name": "artifacts", "persistentVolumeClaim": {"claimName": "mine"}} in head["spec"]["volumes"]
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert names[-2:] == ["SCOT_QDRANT_API_KEY", "HTTPS_PROXY"]
    assert head["spec"]["affinity"] == {"podAffinity": {"near": "mine"}}
    assert head["metadata"]["labels"]["scot/artifacts"] == "mine"
    assert head["metadata"]["labels"]["app.kubernetes.io/component"] == "job"
    assert "SCOT_THREADS" not in names
    assert "RAY_AUTH_TOKEN" not in names  # the service's; the job's cluster has its own
    assert (release.encoder, release.qdrant, release.root) == ("ViT-B-32/openai", "http://q:6333", "/artifacts")


def test_a_release_on_an_object_store_has_no_volume() -> None:
    service = ray_service(composers="s3://bucket/scot/composers")
    pod = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"] = []
    release = Release.of("scot", service)
    assert release.root == "s3://bucket/scot"
    assert [each["name"] for each in pods_of(rayjob.manifest(job(), release))[0]["spec"]["volumes"]] == ["dshm"]


def test_names_of_releases() -> None:
    assert [fullname(name) for name in ("scot", "prod", "my-scot-2")] == ["scot", "prod-scot", "my-scot-2"]
    assert fullname("a" * 53) == "a" * 40
    assert fullname("prod", "other") == "other"


def status(deployment: str = "", ray: str = "", **more: object) -> dict[str, Any]:
    return {"metadata": {"name": "j"}, "status": {"jobDeploymentStatus": deployment, "jobStatus": ray, **more}}


def test_the_states_of_a_job() -> None:
    jobs_ = [
        {"metadata": {"name": "j"}},
        status("Initializing"),
        status("Initializing", rayClusterStatus={"state": "x"}),
        status("Running"),
        status("Running", "PENDING"),
        status("Running", "RUNNING"),
        status("Retrying", "FAILED", failed=1),
        status("Running", "RUNNING", failed=1),
        status("Complete", "SUCCEEDED"),
    ]
    assert [state(each) for each in jobs_] == [
        *("accepted", "its Ray cluster starts", "its Ray cluster starts", "its Ray cluster runs", "pending", "running"),
        *("failed once; retrying", "running", "succeeded"),
    ]
    assert all(outcome(each) is None for each in jobs_[:-1])


@pytest.mark.parametrize(
    ("job_", "succeeded", "message"),
    [
        (status("Complete", "SUCCEEDED"), True, "succeeded"),
        (status("Complete", "STOPPED"), False, "ended as STOPPED"),
        (
            status("Failed", "FAILED", reason="AppFailed", message="exit code 1"),
            False,
            "failed (AppFailed: exit code 1)",
        ),
        (
            status("Failed", "FAILED", reason="AppFailed", message="exit code 1, last available logs (…):\nall of it"),
            False,
            "failed (AppFailed: exit code 1)",
        ),
        (status("Failed", reason="SubmissionFailed"), False, "failed (SubmissionFailed)"),
        (status("ValidationFailed", message="no head"), False, "was rejected by KubeRay (no head)"),
    ],
)
def test_how_a_job_ends(job_: dict[str, Any], succeeded: bool, message: str) -> None:
    ended = outcome(job_)
    assert ended is not None
    assert (ended.succeeded, ended.summary) == (succeeded, message)


def test_a_job_whose_ray_job_is_done_goes_on_until_its_submitter_is() -> None:
    assert outcome(status("Running", "SUCCEEDED")) is None
    assert state(status("Running", "SUCCEEDED")) == "ending"


def pod(message: str = "", waiting: dict[str, str] | None = None, requests: dict[str, str] | None = None) -> Any:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    container = {"image": "scot/search:9", "state": {"waiting": waiting}}
    return {
        "metadata": {"name": "p", "labels": {"ray.io/node-type": "head"}},
        "spec": {"containers": [{"resources": {"requests": requests or {}}}]},
        "status": {
            "conditions": [unscheduled] if message else [],
            "containerStatuses": [container] if waiting else [],
        },
    }


@pytest.mark.parametrize(
    ("waiting", "message"),
    [
        (
            pod(
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims, preemption: 0/3 nodes.",
                requests={"nvidia.com/gpu": "2"},
            ),
            "the head waits for 2 GPUs (nvidia.com/gpu), which no node has free: "
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu",
        ),
        (
            pod('0/1 nodes are available: persistentvolumeclaim "scot-artifacts" not found. preemption: none.'),
            "the head waits for the PersistentVolumeClaim scot-artifacts, which does not exist: check --release",
        ),
        (
            pod("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
            "the head waits for a volume: its PersistentVolumeClaim is not bound: check the storage class",
        ),
        (
            pod("0/1 nodes are available: 1 Insufficient memory.", requests={"memory": "1Ti"}),
            "the head waits for 1Ti of memory, which no node has free: 0/1 nodes are available: 1 Insufficient memory",
        ),
        (
            pod("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}."),
            "the head cannot be placed on a node: 0/1 nodes are available: 1 node(s) had untolerated taint {a: b}",
        ),
        (
            pod(waiting={"reason": "ImagePullBackOff", "message": "Back-off\npulling image"}),
            "the image scot/search:9 of the head cannot be pulled (Back-off pulling image)",
        ),
        (
            pod(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}),
            'the head cannot start: secret "x" not found',
        ),
    ],
)
def test_why_a_pod_waits(waiting: Any, message: str) -> None:
    assert diagnosis.problems([waiting, waiting]) == [message]


def test_a_healthy_pod_and_one_that_is_being_created_have_no_problems() -> None:
    assert diagnosis.problems([pod(), pod(waiting={"reason": "ContainerCreating"})]) == []


def test_warnings_about_creating_pods_are_reported() -> None:
    quota = {"type": "Warning", "reason": "FailedToCreateHeadPod", "message": "exceeded quota: gpu"}
    normal = {"type": "Normal", "reason": "Scheduled", "message": "to a node"}
    assert diagnosis.problems([], [quota, normal, quota]) == ["exceeded quota: gpu"]


def test_a_pod_that_ran_out_of_memory_says_so() -> None:
    ended = pod(waiting={"reason": "x"})
    ended["status"]["containerStatuses"][0]["state"] = {"terminated": {"reason": "OOMKilled"}}
    assert "out of memory" in diagnosis.failures([ended])[0]


def test_each_line_of_a_log_is_shown_once_whatever_is_lost() -> None:
    shown: list[str] = []
    tail = Tail(shown.append)
    tail.open("first")
    for line in (
        "01Z Job submission server address: http://head:8265",
        "02Z 2026-11-26 01:26:48,267\tSUCC cli.py:65 -- Job 'x' submitted successfully",
        "03Z step 1",
        "04Z step 2",
        "04Z step 3",
    ):
        tail.line(line)
    tail.open("first")  # the connection was lost: the pod tells all of it again
    for line in ("03Z step 1", "04Z step 2", "04Z step 3", "04Z step 4", "05Z step 5"):
        tail.line(line)
    tail.open("second")  # the pod was lost: another one follows the same job from its beginning
    for line in ("11Z step 1", "11Z step 2", "11Z step 3", "12Z step 4", "12Z step 5", "13Z step 6"):
        tail.line(line)
    assert shown == [f"step {number}" for number in range(1, 7)]


def test_a_pod_that_found_no_ray_does_not_hide_the_log_of_the_next() -> None:
    shown: list[str] = []
    tail = Tail(shown.append)
    trace = [
        "Traceback (most recent call last):",
        '  File "cli.py", line 35',
        "ConnectionError: Failed to connect to Ray",
    ]
    log = ["Running entrypoint for job x", "the result"]
    for pod_, lines in (("p1", trace), ("p2", trace), ("p3", log[:1]), ("p4", log)):
        tail.open(pod_, "a")
        for number, line in enumerate(lines):
            tail.line(f"0{number}Z {line}")
    assert shown == [*trace, *log]


def test_another_attempt_has_a_log_of_its_own() -> None:
    shown: list[str] = []
    tail = Tail(shown.append)
    for pod_, attempt in (("p1", "a"), ("p2", "a"), ("p3", "b")):
        tail.open(pod_, attempt)
        tail.line("01Z begun")
        tail.line(f"02Z attempt {attempt}")
    assert shown == ["begun", "attempt a", "begun", "attempt b"]


@pytest.mark.parametrize(
    ("code", "message", "kind", "sentence"),
    [
        (404, "404 page not found", NotFound, "install the KubeRay operator"),
        (404, 'rayjobs.ray.io "x" not found', NotFound, 'rayjobs.ray.io "x" not found in namespace n'),
        (403, 'rayjobs is forbidden: User "u" cannot create', PermissionDenied, "no permission in namespace n"),
        (403, 'pods "x" is forbidden: exceeded quota: q', InvalidInput, "the cluster rejects it"),
        (409, "the object has been modified", Conflict, "changed in the meantime"),
        (422, "spec: Invalid value", InvalidInput, "the cluster rejects it: spec: Invalid value"),
        (500, "", Unavailable, "answers with HTTP 500"),
    ],
)
def test_what_a_refusal_of_the_api_server_means(code: int, message: str, kind: type, sentence: str) -> None:
    error = error_of(code, message, "n")
    assert type(error) is kind
    assert sentence in str(error)
    assert grpc_status(error) != "INTERNAL"


def test_a_result_is_one_line_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    job_result.write({"version": "v3", "said": 'a "quote"\nand a line'})
    line = capsys.readouterr().out.removesuffix("\n")
    assert "\n" not in line
    assert job_result.read(line) == {"version": "v3", "said": 'a "quote"\nand a line'}
    others = ["published v3", "", '{"version": "v3"}', '{"scot_result": ', '{"scot_result": 3}', f"said: {line}"]
    assert [job_result.read(each) for each in others] == [None] * len(others)


def test_the_pipelines_steps() -> None:
    config = PipelineConfig(source=["/artifacts/mine"], steps=7, pretrain_flags="--batch-size 64", num_workers=2)
    steps = commands_of(config, Release.assumed("scot"), "v4")
    assert list(steps) == ["generate_edits", "encode", "pretrain", "evaluate"]
    assert steps["generate_edits"][2:5] == ["--source", "/artifacts/mine", "--overwrite"]
    assert steps["pretrain"][2:7] == ["--steps", "7", "--no-release", "--json", "--batch-size"]
    assert steps["pretrain"][-2:] == ["--num-workers", "2"]
    assert steps["evaluate"][2:4] == ["--composer", "v4"]
    with pytest.raises(InvalidInput, match="no flag --batch-sise"):
        commands_of(PipelineConfig(pretrain_flags="--batch-sise 64"), Release.assumed("scot"), "v4")


def play(monkeypatch: pytest.MonkeyPatch, results: dict[str, dict[str, Any]], failing: str = "") -> list[str]:
    """Replace the jobs of ``run-pipeline`` by ones with these results; the titles of the jobs that it creates."""
    made: list[str] = []

    def create_job(cluster: object, body: dict[str, Any]) -> str:
        made.append(str(body["metadata"]["labels"]["scot/job"]))
        return made[-1]

    def follow_job(cluster: object, name: str) -> Outcome:
        return Outcome(name != failing, "played", results.get(name))

    def promoted(config: PromoteConfig) -> int:
        made.append(f"promote {config.version} of {config.release}")
        return 0

    monkeypatch.setattr(cluster_commands, "create_job", create_job)
    monkeypatch.setattr(cluster_commands, "follow_job", follow_job)
    monkeypatch.setattr(pipeline.promote, "promote", promoted)  # type: ignore[attr-defined]
    monkeypatch.setattr(pipeline, "Cluster", lambda namespace: SimpleNamespace(namespace="n"))
    monkeypatch.setattr(pipeline, "release_of", lambda config, cluster: Release.assumed(config.release))
    return made


class Jobs:
    """A namespace's RayJobs, as the API server lists them."""

    namespace = "n"

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        metadata = {**body["metadata"], "name": f"job-{len(self.made)}", "creationTimestamp": f"{len(self.made):09}"}
        self.made.append({**body, "metadata": metadata})
        return self.made[-1]

    def objects(self, plural: str, selector: str) -> list[dict[str, Any]]:
        wanted = {tuple(each.split("=")) for each in selector.split(",")}
        return [job for job in self.made if wanted <= set(job["metadata"]["labels"].items())]


@pytest.mark.parametrize(
    ("state", "changed", "created"),
    [
        ({}, {}, False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, {}, False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, {}, False),
        ({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}, {}, True),
        ({}, {"owner": "scot-pipeline-2/uid-2"}, True),
        ({}, {"owner": ""}, True),
        ({}, {"words": ["--steps", "7"]}, True),
        ({}, {"job": "encode"}, True),
        ({}, {"release": "other"}, True),
    ],
)
def test_a_job_that_an_earlier_pod_of_the_run_made_goes_on(
    state: dict[str, str], changed: dict[str, Any], created: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Jobs()
    monkeypatch.setattr(cluster_commands, "follow_job", lambda cluster, name: Outcome(True, "succeeded"))

    def body(
        *, owner: str = "scot-pipeline-1/uid-1", words: Sequence[str] = (), job: str = "pretrain", release: str = "scot"
    ) -> dict[str, Any]:
        config = PipelineConfig(owner=owner)
        return rayjob.manifest(spec_of(config, job, ["python", "x.py", *words]), Release.assumed(release), "n")

    cluster_commands.run_job(server, body())  # type: ignore[arg-type]
    server.made[0]["status"] = state
    name, _ = cluster_commands.run_job(server, body(**changed))  # type: ignore[arg-type]
    assert name == ("job-1" if created else "job-0")
    assert len(server.made) == 1 + created


PUBLISHED = {"pretrain": {"version": "v7"}}


def test_the_pipeline_promotes_what_its_own_pretraining_published(monkeypatch: pytest.MonkeyPatch) -> None:
    made = play(monkeypatch, PUBLISHED)
    assert main(["cluster", "run-pipeline", "--release", "prod"]) == 0
    assert made == ["generate_edits", "encode", "pretrain", "evaluate", "promote v7 of prod"]


def test_a_pretraining_without_a_result_ends_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = play(monkeypatch, {})
    assert main(["cluster", "run-pipeline"]) == 1
    assert made[-2:] == ["pretrain", "pretrain"]  # a finished run says its version again
    assert "does not hold the version that it published" in capsys.readouterr().err


@pytest.mark.parametrize("failing", ["generate_edits", "pretrain", "evaluate"])
def test_a_step_that_fails_ends_the_pipeline(
    failing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = play(monkeypatch, PUBLISHED, failing)
    assert main(["cluster", "run-pipeline"]) == 1
    assert made[-1] == failing
    assert f"the step {failing} failed ({failing}), so nothing is promoted" in capsys.readouterr().err
