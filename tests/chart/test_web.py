"""The web service in the chart: its flags are those of the command, and metrics are not where its callers are."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest

from scot import flags
from services.web.config import WebConfig
from tests.support.rendering import Objects, kind, notes, only, render

ON: dict[str, Any] = {"web": {"enabled": True}}


def named(objects: Objects, name: str) -> dict[str, Any]:
    return {found["kind"]: found for found in objects if found["metadata"]["name"] == name}


def test_it_is_off_unless_turned_on() -> None:
    assert [found for found in render() if "web" in found["metadata"]["name"]] == []


def test_the_command_understands_its_flags() -> None:
    values = {"web": {"enabled": True, "corsOrigins": ["https://a.example", "*"], "args": ["--max-body-mb=32"]}}
    (container,) = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    config = flags.parse(WebConfig, container["args"], prog="chart", environment={})
    assert (config.address, config.host, config.max_body_mb) == ("scot-search:9000", "0.0.0.0", 32)
    assert config.cors_origin == ["https://a.example", "*"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": config.port, "metrics": config.metrics_port}
    assert not container.get("volumeMounts")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_metrics_have_a_service_of_their_own() -> None:
    objects = render({**ON, "monitoring": {"monitors": True}})
    services = {found["metadata"]["name"]: found for found in kind(objects, "Service")}
    assert [port["name"] for port in services["scot-web"]["spec"]["ports"]] == ["http"]
    metrics = services["scot-web-metrics"]
    assert metrics["spec"].get("type", "ClusterIP") == "ClusterIP"
    monitor = named(objects, "scot-web")["ServiceMonitor"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [name for name, found in services.items() if wanted <= found["metadata"]["labels"].items()]
    assert selected == ["scot-web-metrics"]
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [metrics["spec"]["ports"][0]["name"]]


def test_routes_lead_to_it() -> None:
    host = {"enabled": True, "host": "web.example.com"}
    gate = {"enabled": True, "parentRefs": [{"name": "gate"}]}
    found = named(render({"web": {"enabled": True, "ingress": host, "route": gate}}), "scot-web")
    (rule,) = found["Ingress"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "scot-web", "port": {"number": 8080}}
    assert found["HTTPRoute"]["spec"]["rules"] == [{"backendRefs": [{"name": "scot-web", "port": 8080}]}]


def test_it_scales_by_its_processor_time() -> None:
    found = named(render({"web": {"enabled": True, "autoscaling": {"enabled": True}}}), "scot-web")
    assert "replicas" not in found["Deployment"]["spec"]
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "scot-web"
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"]  # without it there is no utilization


def test_its_network_policy_lets_callers_reach_http_alone() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    policy = named(render({**ON, "networkPolicy": {"webFrom": peers}}), "scot-web")["NetworkPolicy"]
    callers, metrics = policy["spec"]["ingress"]
    assert (callers["ports"], callers["from"]) == ([{"port": 8080}], peers)
    assert metrics["ports"] == [{"port": 8081}]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"web": {"enabled": True, "ingress": {"enabled": True}}}, "web.ingress.enabled needs web.ingress.host"),
        ({"web": {"enabled": True, "route": {"enabled": True}}}, "web.route.enabled needs web.route.parentRefs"),
        ({"web": {"ingress": {"enabled": True, "host": "a"}}}, "set web.enabled=true"),
    ],
)
def test_what_leads_nowhere_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(helm_python.HelmError, match=sentence):
        render(values)


def test_the_notes_say_where_it_is() -> None:
    assert "http://localhost:8080/docs" in notes(ON)
    assert "/docs" not in notes()
