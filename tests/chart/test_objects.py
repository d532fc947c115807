"""What every object of the chart must be, whatever the values: restricted, selectable, named in time, probed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scot.keys import digest_of, read_keys
from services.search.local import lean_serve
from services.search.rpc.limits import MAX_MESSAGE_BYTES
from services.search.settings import from_args
from tests.support.rendering import VALUES_FILES, Objects, kind, only, pod_templates, render

EVERYTHING: dict[str, Any] = {
    "edits": {"enabled": True, "replicas": 2},
    "rerank": {"enabled": True, "replicas": 2},
    "web": {
        "enabled": True,
        "autoscaling": {"enabled": True},
        "corsOrigins": ["https://shop.example"],
        "route": {"enabled": True, "parentRefs": [{"name": "gate"}], "hostnames": ["web.example.com"]},
        "ingress": {"enabled": True, "host": "web.example.com", "tlsSecret": "web-tls"},
    },
    "route": {"enabled": True, "parentRefs": [{"name": "gate"}], "hostnames": ["scot.example.com"]},
    "ingress": {"enabled": True, "host": "scot.example.com", "tlsSecret": "scot-tls"},
    "monitoring": {"monitors": True, "alerts": {"enabled": True}, "dashboards": {"enabled": True}},
    "pipeline": {"enabled": True},
    "ray": {"workers": {"replicas": 2, "maxReplicas": 3}, "autoscaler": {"enabled": True}},
    "qdrant": {"config": {"storage": {"performance": {"max_search_threads": 2}}}},
    "commonLabels": {"team": "search"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}],
}
TOGGLES: list[dict[str, Any]] = [
    {},
    EVERYTHING,
    {"web": {"enabled": True, "replicas": 2}, "networkPolicy": {"webFrom": [{"namespaceSelector": {}}]}},
    {"auth": {"enabled": False}, "networkPolicy": {"enabled": False}, "bootstrap": {"enabled": False}},
    {"auth": {"existingSecret": "mine"}, "ray": {"auth": {"existingSecret": "token"}}},
    {"artifacts": {"url": "s3://bucket/scot", "credentialsSecret": "s3", "persistence": {"enabled": False}}},
    {"artifacts": {"persistence": {"accessModes": ["ReadWriteMany"]}}, "ray": {"workers": {"replicas": 3}}},
    {
        "store": {
            "mode": "external",
            "url": "https://qdrant.example.com:6333",
            "existingSecret": "access",
            "caSecret": "authority",
        }
    },
    {"store": {"mode": "embedded"}, "fullnameOverride": "a" * 40},
    {"ray": {"gcsFaultTolerance": {"backend": "rocksdb"}}},
    {"ray": {"gcsFaultTolerance": {"backend": "redis", "redisAddress": "redis:6379", "redisSecret": "r"}}},
    {"redis": {"enabled": True}, "ray": {"gcsFaultTolerance": {"backend": "redis"}}, "networkPolicy": {"egress": True}},
    {"edits": {"enabled": True, "engine": "rules", "autoscaling": {"kind": "hpa"}}},
    {"rerank": {"enabled": True, "modelCache": {"enabled": False}}},
    {"edits": {"enabled": True, "engine": "openai", "model": "m", "autoscaling": {"kind": "keda"}}},
]
CASES = [(file, {}) for file in VALUES_FILES] + [("values.yaml", toggle) for toggle in TOGGLES[1:]]


@pytest.fixture(params=range(len(CASES)), scope="module")
def objects(request: pytest.FixtureRequest) -> Objects:
    file, values = CASES[request.param]
    return render(values, file=file)


def test_names_and_labels(objects: Objects) -> None:
    names = set()
    for found in objects:
        name, labels = found["metadata"]["name"], found["metadata"].get("labels", {})
        assert (found["kind"], name) not in names
        names.add((found["kind"], name))
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name), name
        assert len(name) <= (47 if found["kind"] == "RayService" else 63), name  # KubeRay's own bound
        if not name.endswith("-extra"):
            assert labels["app.kubernetes.io/instance"] == "scot", found["kind"]
            assert {"helm.sh/chart", "app.kubernetes.io/version"} <= labels.keys()


def test_pods_are_restricted(objects: Objects) -> None:
    """As the pod security standard "restricted" wants it."""
    for name, template in pod_templates(objects).items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"]["memory"], name
            assert container["resources"]["limits"]["memory"], name
        for volume in spec.get("volumes", []):
            assert volume.keys() & {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}, name


def test_only_those_that_need_it_get_a_token_of_the_api(objects: Objects) -> None:
    for name, template in pod_templates(objects).items():
        mounted = template["spec"].get("automountServiceAccountToken", True)
        assert not mounted or "pipeline" in name or name.endswith("/head"), name


def test_every_mount_has_its_volume_and_every_claim_is_there(objects: Objects) -> None:
    claims = {found["metadata"]["name"] for found in kind(objects, "PersistentVolumeClaim")}
    for name, template in pod_templates(objects).items():
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        templated = {"storage"} if name.startswith("StatefulSet") else set()
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys() | templated, name
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims, name


def test_secrets_that_are_named_are_made_or_brought_along(objects: Objects) -> None:
    made = {found["metadata"]["name"] for found in kind(objects, "Secret")} | {"mine", "token", "access", "r", "s3"}
    made |= {"qdrant-access"}
    for name, template in pod_templates(objects).items():
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] in made, name


def test_selectors_find_their_pods_and_hold_no_version(objects: Objects) -> None:
    templates = pod_templates(objects)
    labels = [templates[name]["metadata"].get("labels", {}) for name in templates if not name.startswith("Pod/")]
    for label in labels:
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & label.keys()
    for found in objects:
        match found["kind"]:
            case "Service":
                selector = found["spec"]["selector"]
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                selector = found["spec"]["selector"]["matchLabels"]
            case "NetworkPolicy":
                selector = found["spec"]["podSelector"]["matchLabels"]
            case _:
                continue
        wanted = {key: value for key, value in selector.items() if not key.startswith("ray.io/")}
        assert any(wanted.items() <= label.items() for label in labels), found["metadata"]["name"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & selector.keys()


def test_ports_that_services_name_are_there(objects: Objects) -> None:
    ports = {
        port["name"]
        for template in pod_templates(objects).values()
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
    }
    for service in kind(objects, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports


def test_long_running_pods_are_probed(objects: Objects) -> None:
    for name, template in pod_templates(objects).items():
        if name.startswith(("Deployment", "StatefulSet")):
            (container,) = template["spec"]["containers"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


def test_budgets_are_for_what_has_replicas_and_let_one_go() -> None:
    """Of pods that a RayCluster owns Kubernetes understands minAvailable alone, as a number."""
    assert kind(render(), "PodDisruptionBudget") == []
    three = {"ray": {"workers": {"replicas": 3}}, "edits": {"enabled": True, "replicas": 2}}
    three |= {"web": {"enabled": True, "replicas": 2}}
    one = {"web": {"enabled": True}}
    pods = {"web": {"enabled": True, "autoscaling": {"enabled": True, "minReplicas": 2}}}
    scaled = {"ray": {"workers": {"replicas": 3, "minReplicas": 2}, "autoscaler": {"enabled": True}}}
    for values, wanted in (
        (
            three,
            {
                "scot-search": {"minAvailable": 2},
                "scot-edits": {"maxUnavailable": 1},
                "scot-web": {"maxUnavailable": 1},
            },
        ),
        (one, {}),
        (pods, {"scot-web": {"maxUnavailable": 1}}),
        (scaled, {"scot-search": {"minAvailable": 1}}),
    ):
        budgets = kind(render(values), "PodDisruptionBudget")
        found = {each["metadata"]["name"]: each["spec"] for each in budgets}
        assert {name: {key: spec[key] for key in spec if key != "selector"} for name, spec in found.items()} == wanted


def test_pods_that_share_a_volume_of_one_node_are_scheduled_together() -> None:
    label = {"scot/artifacts": "scot-artifacts"}
    apart = {"artifacts": {"persistence": {"accessModes": ["ReadWriteMany"]}}}
    for values, together in (({}, True), (apart, False)):
        for name, template in pod_templates(render(values)).items():
            mounts = [volume["name"] for volume in template["spec"].get("volumes", [])]
            if "artifacts" in mounts:
                terms = template["spec"].get("affinity", {}).get("podAffinity", {})
                assert label.items() <= template["metadata"]["labels"].items(), name
                assert bool(terms) == together, name


def test_ray_ports_are_those_kuberay_looks_for() -> None:
    """KubeRay's Service has every port of the head whose name is `serve` or begins with `serve-`."""
    cluster = only(render(), "RayService")["spec"]["rayClusterConfig"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert (ports["serve"], ports["serve-grpc"], ports["metrics"]) == (8000, 9000, 8080)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["authOptions"] == {"mode": "token", "secretName": "scot-ray-token"}


def test_messages_have_the_limit_that_is_documented_and_processes_of_serve_start_without_pandas() -> None:
    cluster = only(render(), "RayService")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        assert environment["RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"] == str(MAX_MESSAGE_BYTES)
        assert environment.items() >= lean_serve.HOOK.items()


def test_shared_memory_holds_the_object_store() -> None:
    cluster = only(render(), "RayService")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (shared,) = [v for v in group["template"]["spec"]["volumes"] if v["name"] == "shared-memory"]
        size = int(shared["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20
        assert shared["emptyDir"]["medium"] == "Memory"
        assert int(group["rayStartParams"]["object-store-memory"]) < size


def test_gpus_are_asked_for() -> None:
    objects = render(file="values-gpu.yaml")
    (group,) = only(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    (edits,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert edits["resources"]["limits"]["nvidia.com/gpu"] == 1
    rules = only(render({"edits": {"enabled": True, "engine": "rules"}}), "Deployment")
    assert "nvidia.com/gpu" not in rules["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_the_search_service_knows_the_reranker_of_the_release() -> None:
    objects = render({"rerank": {"enabled": True, "model": "org/vlm", "args": ["--max-model-len=4096"]}})
    (service,) = kind(objects, "RayService")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    settings = from_args(application["args"])
    assert settings.service.rerank.rerank_model == "org/vlm"
    assert settings.service.rerank.rerank_url == "http://scot-rerank:8000/v1"
    assert "scot-rerank" in {each["metadata"]["name"] for each in kind(objects, "Service")}
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["vllm", "serve"]
    assert container["args"][0] == "org/vlm"
    assert container["args"][-1] == "--max-model-len=4096"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "rerank_url" not in only(render(), "RayService")["spec"]["serveConfigV2"]


def test_volumes_are_kept_on_uninstall_unless_told_otherwise() -> None:
    go = {"persistence": {"keepOnUninstall": False}}
    for values, kept in (({}, True), ({"artifacts": go, "qdrant": go}, False)):
        objects = render(values)
        claim = only(objects, "PersistentVolumeClaim")["metadata"].get("annotations", {})
        assert (claim.get("helm.sh/resource-policy") == "keep") == kept
        policy = only(objects, "StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"]
        assert policy == ("Retain" if kept else "Delete")


def test_the_keys_file_is_one_that_a_service_reads(tmp_path: Path) -> None:
    line = f"{digest_of('scot_shop').hex()} name=shop rate=5"
    secrets = kind(render({"auth": {"keys": [line]}}), "Secret")
    secret = next(found["stringData"] for found in secrets if found["metadata"]["name"] == "scot-keys")
    (tmp_path / "keys.txt").write_text(secret["keys.txt"], encoding="utf-8")
    admin, shop = read_keys(tmp_path / "keys.txt")
    assert (admin.name, admin.role, admin.digest) == ("admin", "read-write", digest_of(secret["admin-key"]))
    assert (shop.name, shop.role, shop.rate) == ("shop", "read", 5.0)


def test_the_search_pods_see_digests_alone() -> None:
    for name, template in pod_templates(render()).items():
        for volume in template["spec"].get("volumes", []):
            if volume["name"] == "keys":
                assert volume["secret"]["items"] == [{"key": "keys.txt", "path": "keys.txt"}], name


def test_two_releases_share_nothing() -> None:
    one, other = (render(name=name) for name in ("scot", "scot-b"))
    names = [{(found["kind"], found["metadata"]["name"]) for found in objects} for objects in (one, other)]
    assert names[0].isdisjoint(names[1])


def test_no_service_of_the_namespace_becomes_a_setting(objects: Objects) -> None:
    """A Service named `scot` would give every pod SCOT_PORT, which is a flag."""
    for name, template in pod_templates(objects).items():
        assert template["spec"]["enableServiceLinks"] is False, name
