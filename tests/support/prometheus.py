"""A real Prometheus for tests: Debian's package, its targets named as the chart's monitors name them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scot.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / "helm"
DASHBOARDS = sorted((HELM / "dashboards").glob("*.json"))

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")),
    reason="needs prometheus and promtool: Debian and Ubuntu have both in the package prometheus",
)


@dataclass(frozen=True)
class Target:
    """What Prometheus scrapes: ``kind`` is an entry of helm/monitors.yaml, or "" for what is no part of SCOT."""

    address: str
    kind: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Raises ValueError with Prometheus' reason when it does not parse."""
        result: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return result

    def curve(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query."""
        found = self._get("query_range", query=expression, start=start, end=end, step=step)
        result: list[dict[str, Any]] = found["result"]
        return result

    def alerts(self, state: str) -> set[str]:
        """The names of the alerts that are pending or firing."""
        return {each["labels"]["alertname"] for each in self._get("alerts")["alerts"] if each["state"] == state}

    def _get(self, path: str, **parameters: object) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from error


def expressions(dashboard: Path, *, window: str) -> Iterator[tuple[str, str]]:
    """(title, PromQL) of every query of a dashboard, its variables filled in as Grafana does."""
    for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], filled_in(target["expr"], window=window)


def filled_in(expression: str, *, window: str) -> str:
    """A panel's expression with its variables as Grafana fills them in, for all namespaces."""
    return expression.replace("$__rate_interval", window).replace("$namespace", ".*")


def hastened(rules: str, *, window: str, lasting: str) -> str:
    """Alert rules that need not be waited for: every range is ``window``, every ``for`` is ``lasting``."""
    short = re.sub(r"\[\d+[smh]\]", f"[{window}]", rules)
    return re.sub(r"^( *for:) .*$", rf"\1 {lasting}", short, flags=re.M)


@contextmanager
def prometheus(folder: Path, targets: Sequence[Target], rules: str, *, interval: str = "2s") -> Iterator[Prometheus]:
    """A server with its data in ``folder`` that scrapes the targets and evaluates the rules."""
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [_scrape(number, target) for number, target in enumerate(targets)],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _ready(url):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _scrape(number: int, target: Target) -> dict[str, Any]:
    monitors = yaml.safe_load((HELM / "monitors.yaml").read_text(encoding="utf-8"))
    monitor = monitors.get(target.kind, {})
    # What the operator writes before the monitor's own relabelling.
    operators = [
        {"sourceLabels": [f"__meta_kubernetes_{name}"], "targetLabel": label}
        for name, label in (
            ("namespace", "namespace"),
            ("pod_name", "pod"),
            ("pod_label_ray_io_cluster", "ray_io_cluster"),
            ("pod_label_ray_io_node_type", "ray_io_node_type"),
        )
    ]
    return {
        "job_name": f"target-{number}",
        "static_configs": [{"targets": [target.address], "labels": target.labels}],
        "relabel_configs": _snake([*operators, *monitor.get("relabelings", [])]),
        "metric_relabel_configs": _snake(monitor.get("metricRelabelings", [])),
    }


def _snake(relabelings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operator's spelling of relabelling in Prometheus' own."""
    return [
        {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", key): value for key, value in each.items()}
        for each in relabelings
    ]
