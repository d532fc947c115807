"""Everything that is watched, by a real Prometheus: every panel has series, and alerts fire when they should.

The search service, the edit service and a pretraining run are real and in use. A Qdrant server, vLLM, KubeRay's
operator, kube-state-metrics and the kubelet do not run here; what they would show is written after their sources
(tests/support/written_metrics).
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.draw_dashboards import Drawing, draw
from tests.support.prometheus import (
    DASHBOARDS,
    HELM,
    Prometheus,
    Target,
    expressions,
    hastened,
    needs_prometheus,
    prometheus,
)
from tests.support.watched_system import System, callers, crowd, fail, watched_system
from tests.support.written_metrics import served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), needs_prometheus]

WINDOW = "40s"  # Ray tells its metrics every ten
RULES = (HELM / "alerts.yaml").read_text(encoding="utf-8")
EMPTY = {
    ("pretraining", "GPU"): "no GPU here",
    ("pretraining", "Memory of the GPUs"): "no GPU here",
}
"""Panels that stay without series on such a machine, and why."""


@dataclass(frozen=True)
class Watched:
    system: System
    prometheus: Prometheus


def pod(component: str, name: str, *, namespace: str = "shop", **more: str) -> dict[str, str]:
    """What Kubernetes' service discovery knows of a pod."""
    return {
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": name,
        "__meta_kubernetes_pod_label_app_kubernetes_io_component": component,
    } | {f"__meta_kubernetes_pod_label_ray_io_{key}": value for key, value in more.items()}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        system = stack.enter_context(watched_system(folder))
        written = {
            name: stack.enter_context(served(name)) for name in ("qdrant", "vllm", "kuberay", "kube_state", "kubelet")
        }
        head = {"cluster": "scot-x", "node_type": "head"}
        targets = [
            Target(f"127.0.0.1:{system.search_metrics}", "ray", pod("search", "scot-x-head", **head)),
            Target(f"127.0.0.1:{system.training_metrics}", "ray", pod("job", "scot-pretrain-head", **head)),
            Target(f"127.0.0.1:{system.edits_metrics}", "edits", pod("edits", "scot-edits-0")),
            Target(f"127.0.0.1:{system.web_metrics}", "web", pod("web", "scot-web-0")),
            Target(written["vllm"], "edits", pod("edits", "scot-edits-0", namespace="other")),
            Target(written["qdrant"], "qdrant", pod("qdrant", "scot-qdrant-0")),
            Target(written["kuberay"], "", pod("operator", "kuberay-operator-0")),
            Target(written["kube_state"], "", pod("kube-state-metrics", "kube-state-metrics-0")),
            Target(written["kubelet"], "", pod("kubelet", "node-0")),
        ]
        rules = hastened(RULES, window=WINDOW, lasting="2s")
        server = stack.enter_context(prometheus(folder, targets, rules))
        up = "count(up == 1)"
        wait(lambda: server.query(up) and server.query(up)[0]["value"][1] == str(len(targets)), 400, "every target")
        wait(lambda: bool(server.query("ray_serve_application_status == 6")), 400, "the search application")
        stack.enter_context(callers(system))
        yield Watched(system, server)


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} seconds for {what}")
        time.sleep(0.5)


def panels() -> list[tuple[str, str, str]]:
    return [(path.stem, *query) for path in DASHBOARDS for query in expressions(path, window=WINDOW)]


def test_every_panel_has_series(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[tuple[str, str, str], int] = {}

    def all_there() -> bool:
        fail(watched.system)  # so that there is an alert to show
        crowd(watched.system)
        for each in panels():
            found[each] = max(found.get(each, 0), len(watched.prometheus.query(each[2])))
        return all(found[each] or each[:2] in EMPTY for each in panels())

    deadline = time.monotonic() + 240
    while not all_there() and time.monotonic() < deadline:
        time.sleep(1)
    with capsys.disabled():
        print(f"\n{'dashboard':12} {'panel':40} series")
        for dashboard, title, expression in panels():
            why = EMPTY.get((dashboard, title), "")
            print(f"{dashboard:12} {title:40} {found[dashboard, title, expression]:6} {why}")
    assert [each for each in panels() if not found[each] and each[:2] not in EMPTY] == []
    assert [each[:2] for each in panels() if found[each] and each[:2] in EMPTY] == []  # the list is no excuse


def test_dashboards_can_be_drawn(watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in DASHBOARDS:
        picture = tmp_path / f"{path.stem}.png"
        draw(Drawing(watched.prometheus.url, path.stem, picture, seconds=180, window=WINDOW))
        assert picture.stat().st_size > 20_000
    with capsys.disabled():
        print(f"\ndashboards are drawn in {tmp_path}")


def test_alerts_parse_and_every_metric_of_theirs_exists(watched: Watched) -> None:
    names = re.compile(r"\b(?:ray_|scot_|vllm:|kuberay_|kube_|kubelet_|collection_|process_)\w*[a-z](?![\w\"=])|\bup\b")
    for group in yaml.safe_load(RULES)["groups"]:
        for rule in group["rules"]:
            watched.prometheus.query(rule["expr"])
            used = set(names.findall(rule["expr"])) - {"ray_io_cluster", "ray_io_node_type"}
            used |= {"scot_edits_accepted_total"} if "__name__" in rule["expr"] else set()
            assert used, rule["alert"]
            assert [name for name in used if not watched.prometheus.query(f'{{__name__="{name}"}}')] == []


def test_targets_are_named_as_the_alerts_want_them(watched: Watched) -> None:
    named = {
        (each["metric"]["job"], each["metric"]["pod"]) for each in watched.prometheus.query('up{namespace="shop"}')
    }
    assert named >= {
        ("scot-search", "scot-x-head"),
        ("scot-job", "scot-pretrain-head"),
        ("scot-edits", "scot-edits-0"),
        ("scot-qdrant", "scot-qdrant-0"),
    }
    (status,) = watched.prometheus.query("last_over_time(ray_serve_application_status[5m])")
    assert status["metric"]["ray_io_node_type"] == "head"
    assert not [label for label in status["metric"] if label.startswith("otel")]


def firing(watched: Watched, name: str) -> Callable[[], bool]:
    return lambda: name in watched.prometheus.alerts("firing")


def test_failing_calls_are_told(watched: Watched) -> None:
    def told() -> bool:
        for _ in range(5):
            fail(watched.system)
        return firing(watched, "ScotSearchErrors")()

    wait(told, 120, "ScotSearchErrors")
    wait(lambda: not firing(watched, "ScotSearchErrors")(), 120, "its end once nobody asks for the damaged composer")


def test_a_key_over_its_rate_and_refused_items_are_told(watched: Watched) -> None:
    for name in ("ScotSearchOverloaded", "ScotItemsRefused"):
        wait(firing(watched, name), 120, name)


def test_a_killed_edit_service_is_told(watched: Watched) -> None:
    assert not firing(watched, "ScotEditsDown")()
    os.killpg(watched.system.edits.pid, signal.SIGKILL)
    wait(firing(watched, "ScotEditsDown"), 60, "ScotEditsDown")


def test_a_stopped_search_service_is_told(watched: Watched) -> None:
    assert not firing(watched, "ScotSearchDown")()
    watched.system.search.send_signal(signal.SIGTERM)
    wait(firing(watched, "ScotSearchDown"), 180, "ScotSearchDown")
