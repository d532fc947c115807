"""The Serve config inside of the RayService is one that Ray takes, and whose arguments the application takes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema, gRPCOptionsSchema

from services.search.app import SERVICERS
from services.search.rollout import Rollout
from services.search.settings import from_args
from tests.support.doc_commands import commands
from tests.support.rendering import HELM, VALUES_FILES, merge, only, render


def serve_config(values: dict[str, Any] | None = None, file: str = "values.yaml") -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(only(render(values, file=file), "RayService")["spec"]["serveConfigV2"])
    return config


def unknown(config: dict[str, Any], model: type[BaseModel]) -> set[str]:
    """Ray's schema takes keys that it does not know, and forgets them."""
    return config.keys() - model.model_fields.keys()


@pytest.mark.parametrize("file", VALUES_FILES)
def test_ray_takes_it_and_knows_every_key(file: str) -> None:
    config = serve_config(file=file)
    ServeDeploySchema.model_validate(config)
    assert not unknown(config, ServeDeploySchema)
    assert not unknown(config["grpc_options"], gRPCOptionsSchema)
    (application,) = config["applications"]
    assert not unknown(application, ServeApplicationSchema)
    for deployment in application["deployments"]:
        assert not unknown(deployment, DeploymentSchema), deployment["name"]


@pytest.mark.parametrize("file", VALUES_FILES)
def test_the_application_takes_its_arguments(file: str) -> None:
    (application,) = serve_config(file=file)["applications"]
    settings = from_args(application["args"])
    assert (settings.store is None) != (settings.service.qdrant.qdrant_url is None)
    assert settings.composers == "/artifacts/composers"


def test_the_grpc_services_are_those_of_the_application() -> None:
    assert serve_config()["grpc_options"]["grpc_servicer_functions"] == SERVICERS


def test_the_application_knows_how_many_gateways_share_a_limit() -> None:
    for gateway in ({"replicas": 3}, {"autoscaling": {"min_replicas": 1, "max_replicas": 3}}):
        (application,) = serve_config({"search": {"gateway": gateway}})["applications"]
        assert application["args"]["gateways"] == 3


def test_the_deployments_are_those_of_the_application() -> None:
    """A deployment that the application does not have would fail the rollout."""
    (application,) = serve_config()["applications"]
    assert [each["name"] for each in application["deployments"]] == ["Gateway", "Composer", "Encoder"]
    assert Rollout.of(application["deployments"][1]["user_config"]) == Rollout()


def test_a_rollout_reaches_the_composers() -> None:
    values = {"search": {"composer": "v1", "composers": {"split": {"v2": 0.1, "sum:0.7": 0.05}, "shadow": "v3"}}}
    user_config = serve_config(values)["applications"][0]["deployments"][1]["user_config"]
    assert Rollout.of(user_config) == Rollout("v1", {"v2": 0.1, "sum:0.7": 0.05}, "v3")


def settings_of_helm(argv: list[str]) -> dict[str, Any]:
    """The values that the ``--set`` flags of a helm command stand for."""
    values: dict[str, Any] = {}
    for setting in argv[1:]:
        if "=" in setting and not setting.startswith("-"):
            path, _, value = setting.partition("=")
            node = values
            *parents, last = path.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = yaml.safe_load(value)
    return values


def test_the_commands_of_the_rollout_page_render_to_what_it_says() -> None:
    """Each in turn over the values of those before, as --reuse-values does."""
    page = (HELM.parent / "docs" / "rollout.md").read_text(encoding="utf-8")
    values: dict[str, Any] = {}
    rollouts = []
    for argv in commands(page):
        if argv[0] == "helm":
            values = merge(values, settings_of_helm(argv))
            rollouts.append(Rollout.of(serve_config(values)["applications"][0]["deployments"][1]["user_config"]))
    assert rollouts == [
        Rollout(shadow="v2"),
        Rollout(split={"v2": 0.1}),
        Rollout(split={"v2": 0.5}),
        Rollout(split={"v2": 0}),
        Rollout(split={"v2": 0}),
    ]


def test_replicas_or_autoscaling() -> None:
    scaled = {"search": {"composers": {"autoscaling": {"min_replicas": 1, "max_replicas": 3}}}}
    for values, key in (({}, "num_replicas"), (scaled, "autoscaling_config")):
        composer = serve_config(values)["applications"][0]["deployments"][1]
        assert composer.keys() & {"num_replicas", "autoscaling_config"} == {key}


def test_settings_of_a_user_reach_the_application() -> None:
    arguments = serve_config({"search": {"settings": {"threads": 3, "batch": 8}}})["applications"][0]["args"]
    settings = from_args(arguments)
    assert (settings.service.threads, settings.batch) == (3, 8)


def test_no_secret_is_in_it() -> None:
    assert not re.search("api_key['\": ]", yaml.safe_dump(serve_config()))


def test_a_private_authority_of_an_external_qdrant_is_mounted_and_named() -> None:
    values = {"store": {"mode": "external", "url": "https://q.example.com:6333", "caSecret": "authority"}}
    settings = from_args(serve_config(values)["applications"][0]["args"])
    worker = only(render(values), "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    (mount,) = [each for each in worker["containers"][0]["volumeMounts"] if each["name"] == "qdrant-ca"]
    (volume,) = [each for each in worker["volumes"] if each["name"] == "qdrant-ca"]
    assert str(settings.service.qdrant.qdrant_ca) == f"{mount['mountPath']}/ca.crt"
    assert volume["secret"] == {"secretName": "authority"}
