"""Dashboards as PNG from a real Prometheus, without Grafana, to see whether units and scales make sense.

python tests/support/draw_dashboards.py --prometheus http://localhost:9091 --dashboard search --output search.png
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scot import flags
from tests.support.prometheus import HELM, Prometheus, filled_in

_NAMES = ("alertname", "alertstate", "name", "job_name", "outcome")
_UNITS = {"s": (1.0, "s"), "ms": (1.0, "ms"), "percentunit": (100.0, "%"), "percent": (1.0, "%"), "reqps": (1.0, "/s")}
_UNITS |= {"bytes": (2.0**-20, "MiB"), "decmbytes": (1.0, "MB"), "short": (1.0, ""), "none": (1.0, "")}
_COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}


@dataclass(frozen=True)
class Drawing:
    """Draw a dashboard."""

    prometheus: str = "http://localhost:9090"
    """The server's address."""
    dashboard: str = "overview"
    """A file of helm/dashboards, without .json."""
    output: Path = Path("dashboard.png")
    """Where the PNG goes."""
    seconds: float = 3600.0
    """How far back the curves go."""
    window: str = "1m"
    """What Grafana's rate interval would be."""


def draw(drawing: Drawing) -> None:
    """Write the PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    server = Prometheus(drawing.prometheus)
    panels = json.loads((HELM / "dashboards" / f"{drawing.dashboard}.json").read_text(encoding="utf-8"))["panels"]
    end = time.time()
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(24 * 0.8, height * 0.42))
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = place["x"] / 24, 1 - (place["y"] + place["h"]) / height
        if panel["type"] == "row":
            figure.text(0.005, bottom + 0.2 / height, panel["title"], fontsize=13, weight="bold")
            continue
        box = (left + 0.03, bottom + 1.3 / height, place["w"] / 24 - 0.04, (place["h"] - 2.6) / height)
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], fontsize=10, loc="left")
        if panel["type"] in ("stat", "table"):
            _number(axes, panel, server, drawing)
        else:
            _curves(axes, panel, server, drawing, end)
    figure.savefig(drawing.output, dpi=70)
    plt.close(figure)


def _curves(axes: Any, panel: dict[str, Any], server: Prometheus, drawing: Drawing, end: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    scale, unit = _UNITS.get(defaults["unit"], (1.0, defaults["unit"]))
    curves = []
    for target in panel["targets"]:
        expression = filled_in(target["expr"], window=drawing.window)
        for series in server.curve(expression, end - drawing.seconds, end, drawing.seconds / 240):
            points = [(datetime.fromtimestamp(t, tz=UTC), float(value) * scale) for t, value in series["values"]]
            curves.append((filled_legend(target["legendFormat"], series["metric"]), points))
    stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    below: dict[Any, float] = {}
    for name, points in curves:
        finite = [(t, value) for t, value in points if math.isfinite(value)]
        if stacked:
            heights = [below.get(t, 0.0) + value for t, value in finite]
            axes.fill_between([t for t, _ in finite], [below.get(t, 0.0) for t, _ in finite], heights, label=name)
            below |= {t: height for (t, _), height in zip(finite, heights, strict=True)}
        else:
            axes.plot([t for t, _ in finite], [value for _, value in finite], label=name, linewidth=1)
    axes.set_ylabel(unit, fontsize=8)
    if "min" in defaults:
        axes.set_ylim(bottom=defaults["min"] * scale)
    if "max" in defaults:
        axes.set_ylim(top=defaults["max"] * scale)
    axes.tick_params(labelsize=7)
    if curves:
        axes.legend(fontsize=6, loc="upper left")
    else:
        axes.text(0.5, 0.5, defaults["noValue"], transform=axes.transAxes, ha="center")


def _number(axes: Any, panel: dict[str, Any], server: Prometheus, drawing: Drawing) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    scale, unit = _UNITS.get(defaults["unit"], (1.0, defaults["unit"]))
    found = server.query(filled_in(panel["targets"][0]["expr"], window=drawing.window))
    axes.set_xticks([])
    axes.set_yticks([])
    if panel["type"] == "table":
        names = sorted(" ".join(each["metric"].get(key, "") for key in _NAMES) for each in found)
        axes.text(0.02, 0.95, "\n".join(names) or defaults["noValue"], transform=axes.transAxes, va="top", fontsize=8)
        return
    text, colour = defaults["noValue"], "lightgrey"
    if found:
        value = float(found[0]["value"][1])
        steps = defaults["thresholds"]["steps"]
        reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
        text, colour = f"{value * scale:.4g} {unit}", reached[-1]
        for mapping in defaults.get("mappings", []):
            if named := mapping["options"].get(f"{value:g}"):
                text, colour = named["text"], named["color"]
    axes.set_facecolor(_COLOURS.get(colour, colour))
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=13)


def filled_legend(legend: str, labels: dict[str, str]) -> str:
    """A legend with its ``{{label}}`` filled in."""
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def main(drawing: Drawing) -> int:
    """Draw it."""
    draw(drawing)
    return 0


if __name__ == "__main__":
    sys.exit(flags.run("draw_dashboards", main, Drawing))
