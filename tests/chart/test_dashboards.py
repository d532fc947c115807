"""The dashboards that Grafana reads: complete, without overlaps, and every query parses."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import DASHBOARDS, HELM, ROOT, expressions, needs_prometheus

ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((HELM / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
KINDS = {"row", "stat", "timeseries", "state-timeline", "table"}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def test_every_dashboard_has_an_address_of_its_own() -> None:
    uids = [read(path)["uid"] for path in DASHBOARDS]
    assert uids == [f"scot-{path.stem}" for path in DASHBOARDS]  # a bookmark outlives an upgrade


@each_dashboard
def test_a_dashboard_is_whole(path: Path) -> None:
    dashboard = read(path)
    assert dashboard["schemaVersion"] == 41
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "namespace", "runbooks"]
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert {panel["type"] for panel in panels} <= KINDS
    assert panels[0]["type"] == "row"
    titles = Counter(panel["title"] for panel in panels)
    assert [title for title, times in titles.items() if times > 1] == []


@each_dashboard
def test_panels_do_not_overlap_and_stay_on_the_page(path: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in read(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@each_dashboard
def test_every_panel_explains_itself(path: Path) -> None:
    for panel in read(path)["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert defaults["noValue"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}
        refs = [target["refId"] for target in panel["targets"]]
        assert refs
        assert len(set(refs)) == len(refs)
        for link in panel.get("links", []):
            name = re.fullmatch(r"\$\{runbooks\}/(\w+)\.md", link["url"])
            assert name
            assert name[1] in ALERTS
            assert name[1] in panel["description"]


@each_dashboard
def test_every_series_is_chosen_by_namespace(path: Path) -> None:
    for panel in read(path)["panels"]:
        for target in panel.get("targets", []):
            selectors = re.findall(r"\{[^}]*\}", target["expr"])
            assert selectors
            assert [each for each in selectors if 'namespace=~"$namespace"' not in each] == []
            assert "NS" not in re.findall(r"\w+", target["expr"])


def test_every_alert_is_linked_from_a_panel() -> None:
    linked = {
        link["url"].rpartition("/")[2].removesuffix(".md")
        for path in DASHBOARDS
        for panel in read(path)["panels"]
        for link in panel.get("links", [])
    }
    without_a_panel = {"ScotRayHeadDown"}  # there is nothing to draw of what is away
    assert ALERTS - linked == without_a_panel


@needs_prometheus
def test_every_query_parses(tmp_path: Path) -> None:
    queries = [query for path in DASHBOARDS for _, query in expressions(path, window="1m")]
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout
