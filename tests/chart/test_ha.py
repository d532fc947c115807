"""values-ha.yaml: no process, pod or node is the only one of its kind that a call needs."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest
import yaml

from services.search.settings import from_args
from tests.support.rendering import Objects, kind, only, pod_templates, render


@pytest.fixture(scope="module")
def objects() -> Objects:
    return render(file="values-ha.yaml")


def named(objects: Objects, name: str, of: str) -> dict[str, Any]:
    (found,) = [each for each in kind(objects, of) if each["metadata"]["name"] == name]
    return found


def serve(objects: Objects) -> dict[str, Any]:
    (application,) = yaml.safe_load(only(objects, "RayService")["spec"]["serveConfigV2"])["applications"]
    found: dict[str, Any] = application
    return found


def test_every_deployment_has_two_replicas_in_different_pods(objects: Objects) -> None:
    (workers,) = only(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert workers["replicas"] == 2
    for deployment in serve(objects)["deployments"]:
        assert (deployment["num_replicas"], deployment["max_replicas_per_node"]) == (2, 1), deployment["name"]


def test_the_replicas_of_one_pod_fit_its_cpus(objects: Objects) -> None:
    (workers,) = only(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    wanted = sum(each["ray_actor_options"]["num_cpus"] for each in serve(objects)["deployments"])
    assert wanted + 1 <= float(workers["rayStartParams"]["num-cpus"])  # and a job beside them


def test_pods_of_a_kind_are_spread_over_zones_and_nodes(objects: Objects) -> None:
    for name, template in pod_templates(objects).items():
        if not name.endswith(("/workers", "-web", "-qdrant")):
            continue
        spec, labels = template["spec"], template["metadata"]["labels"] | {"ray.io/node-type": "worker"}
        keys = [each["topologyKey"] for each in spec["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"], name
        for each in spec["topologySpreadConstraints"]:
            # A rollout's old pods do not count, which would leave the new ones on one node.
            assert each.get("matchLabelKeys") == (["pod-template-hash"] if name.startswith("Deployment/") else None)
            assert each["labelSelector"]["matchLabels"].items() <= labels.items(), name
    for found in pod_templates(objects).values():  # no volume of one node brings them together again
        assert "podAffinity" not in found["spec"].get("affinity", {})
    anti = pod_templates(objects)["StatefulSet/scot-qdrant"]["spec"]["affinity"]["podAntiAffinity"]
    (term,) = anti["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"


def test_a_drain_leaves_one_of_each(objects: Objects) -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in kind(objects, "PodDisruptionBudget")}
    assert budgets.keys() == {"scot-search", "scot-qdrant", "scot-web"}
    assert budgets["scot-search"]["minAvailable"] == 1


def test_the_head_may_go(objects: Objects) -> None:
    spec = only(objects, "RayService")["spec"]
    options = spec["rayClusterConfig"]["gcsFaultToleranceOptions"]
    secret = options["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert options["redisAddress"] == "scot-redis:6379"
    assert "appendfsync always" in named(objects, secret["name"], "Secret")["stringData"]["redis.conf"]
    assert secret["key"] in named(objects, secret["name"], "Secret")["stringData"]
    pod = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    (head,) = pod["containers"]
    assert "/dev/tcp/scot-redis/6379" in head["args"][0]
    assert pod["restartPolicy"] == "Never"  # KubeRay replaces it
    assert spec["excludeHeadPodFromServeSvc"] is True
    address = spec["rayClusterConfig"]["headGroupSpec"]["headService"]["spec"]
    assert (address["type"], address["publishNotReadyAddresses"], "clusterIP" in address) == ("ClusterIP", True, False)


def test_pods_of_a_lost_node_are_replaced_soon_and_those_with_a_volume_wait(objects: Objects) -> None:
    for name, template in pod_templates(objects).items():
        seconds = {
            each["key"].rpartition("/")[2]: each.get("tolerationSeconds")
            for each in template["spec"].get("tolerations", [])
        }
        moves = name.endswith(("/head", "/workers", "-web"))
        assert seconds == ({"not-ready": 15, "unreachable": 15} if moves else {}), name


def test_a_pod_that_ends_has_time_for_what_it_began(objects: Objects) -> None:
    values = {"search": {"requestTimeoutSeconds": 90}}
    for rendered, timeout in ((objects, 30), (render(values, file="values-ha.yaml"), 90)):
        for name, template in pod_templates(rendered).items():
            if not name.endswith(("/head", "/workers", "-web")):
                continue
            (container,) = template["spec"]["containers"]
            if name.endswith("-web"):
                assert "--stop-delay-s=5" in container["args"]
                assert f"--drain-s={5 + timeout}" in container["args"]
            else:
                assert "sleep 5" in " ".join(container["lifecycle"]["preStop"]["exec"]["command"]), name
            assert template["spec"]["terminationGracePeriodSeconds"] >= 5 + timeout + 10, name


def test_collections_have_two_copies_in_a_cluster_of_three(objects: Objects) -> None:
    settings = from_args(serve(objects)["args"])
    assert (settings.service.collections.replication_factor, settings.hedge_s) == (2, 0.5)
    qdrant = named(objects, "scot-qdrant", "StatefulSet")["spec"]
    peers = named(objects, qdrant["serviceName"], "Service")["spec"]
    assert qdrant["replicas"] == 3
    assert (peers["clusterIP"], peers["publishNotReadyAddresses"]) == ("None", True)
    (container,) = qdrant["template"]["spec"]["containers"]
    assert "--bootstrap http://scot-qdrant-0.$peers:6335" in container["args"][0]
    assert f"peers={qdrant['serviceName']}" in container["args"][0]
    assert {"name": "QDRANT__CLUSTER__ENABLED", "value": "true"} in container["env"]
    policy = named(objects, "scot-qdrant", "NetworkPolicy")["spec"]["ingress"]
    (p2p,) = [rule for rule in policy if {"port": 6335} in rule["ports"]]
    (peer,) = p2p["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "qdrant"


def test_one_qdrant_is_what_it_was() -> None:
    spec = only(render(), "StatefulSet")["spec"]
    assert (spec["serviceName"], spec["replicas"]) == ("scot-qdrant", 1)
    assert "command" not in spec["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"qdrant": {"replicationFactor": 4}}, "there are 3 pods for the copies: raise qdrant.replicas"),
        ({"qdrant": {"writeConsistency": 3}}, "must not be larger than qdrant.replicationFactor"),
        ({"search": {"gateway": {"replicas": 3}}}, r"search.gateway wants 3 replicas, .* leaves room for 2"),
        ({"redis": {"enabled": False}}, "set redis.enabled=true, or"),
        ({"ray": {"gcsFaultTolerance": {"redisAddress": "r:6379"}}}, "runs a Redis that nothing uses"),
    ],
)
def test_contradictions(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(helm_python.HelmError, match=sentence):
        render(values, file="values-ha.yaml")
