"""Panels, rows and dashboards, and their JSON for Grafana (the classic model, schema 41: Grafana 12 and later).

In an expression ``NS`` stands for the matcher of the dashboard's namespace. It also matches series without that label,
so a dashboard works where Prometheus scrapes without Kubernetes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

WIDTH = 24
_NAMESPACE = 'namespace=~"$namespace"'
_DATASOURCE = {"type": "prometheus", "uid": "$datasource"}

OK, WARN, BAD = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the legend of its series; Grafana fills in ``{{label}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``levels`` are (lower bound, color) in rising order; ``words`` name the values of a state."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    runbook: str = ""
    levels: tuple[tuple[float, str], ...] = ()
    words: dict[int, tuple[str, str]] = field(default_factory=dict)
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    nothing: str = "no data"
    exemplars: bool = False
    """Whether to show the traces of single requests."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; ``uid`` never changes, so that links to it stay valid."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]


def stat(title: str, description: str, unit: str, expr: str, **more: Any) -> Panel:
    """A number with a color, over a sparkline."""
    return Panel(title, description, unit, (Query(expr),), kind="stat", **{"width": 3, "height": 4, **more})


def lines(title: str, description: str, unit: str, *queries: tuple[str, str], **more: Any) -> Panel:
    """Curves over time; each query is (expression, legend)."""
    return Panel(title, description, unit, tuple(Query(*query) for query in queries), **more)


def to_json(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard's JSON. Raises ValueError for a panel wider than the page."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        top += 1
        left = tall = 0
        for panel in row.panels:
            if panel.width > WIDTH:
                raise ValueError(f"{panel.title!r} is wider than the page")
            if left + panel.width > WIDTH:
                top, left, tall = top + tall, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, tall = left + panel.width, max(tall, panel.height)
        top += tall
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["scot"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "title": "SCOT",
                "type": "dashboards",
                "tags": ["scot"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
        {
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": _DATASOURCE,
            "query": {"query": 'label_values(up{job=~"scot-.+"}, namespace)', "refId": "namespace"},
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",  # also series without a namespace
            "current": {"text": "All", "value": "$__all"},
            "hide": 0,
        },
        {"name": "runbooks", "label": "Runbooks at", "type": "constant", "query": "docs/runbooks", "hide": 2},
    ]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    description = panel.description + (f" Runbook: {panel.runbook}." if panel.runbook else "")
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": description,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "editorMode": "code",
                "expr": re.sub(r"\bNS\b", _NAMESPACE, query.expr),
                "legendFormat": query.legend or "__auto",
                "range": panel.kind != "table",
                "instant": panel.kind == "table",
                **({"format": "table"} if panel.kind == "table" else {}),
                **({"exemplar": True} if panel.exemplars else {}),
            }
            for index, query in enumerate(panel.queries)
        ],
    }
    if panel.runbook:
        link = {"title": f"Runbook {panel.runbook}", "url": f"${{runbooks}}/{panel.runbook}.md", "targetBlank": True}
        made["links"] = [link]
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True, "__name__": True, "alertstate": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "noValue": panel.nothing}
    if panel.minimum is not None:
        defaults["min"] = panel.minimum
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    steps: list[dict[str, Any]] = [{"color": panel.levels[0][1] if panel.levels else OK, "value": None}]
    steps += [{"color": color, "value": value} for value, color in panel.levels[1:]]
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    defaults["color"] = {"mode": "thresholds" if panel.kind != "timeseries" else "palette-classic"}
    if panel.words:
        named = {str(value): {"text": text, "color": color} for value, (text, color) in panel.words.items()}
        defaults["mappings"] = [{"type": "value", "options": named}]
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.levels else "off"},
        }
    return defaults


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "area",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8},
    "table": {"showHeader": True, "cellHeight": "sm"},
}
