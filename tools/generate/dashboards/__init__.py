"""The Grafana dashboards ``helm/dashboards/NAME.json``, each from its list of panels."""

from __future__ import annotations

import json

from tools.generate.dashboards import edits, gallery, overview, panels, pretraining, search, slo

_DASHBOARDS = {
    "overview": overview.DASHBOARD,
    "slo": slo.DASHBOARD,
    "search": search.DASHBOARD,
    "pretraining": pretraining.DASHBOARD,
    "edits": edits.DASHBOARD,
    "gallery": gallery.DASHBOARD,
}


def files() -> dict[str, str]:
    """Path in the repository to text. Raises ValueError for a panel wider than the page."""
    return {
        f"helm/dashboards/{name}.json": json.dumps(panels.to_json(dashboard), indent=1, ensure_ascii=False) + "\n"
        for name, dashboard in _DASHBOARDS.items()
    }
