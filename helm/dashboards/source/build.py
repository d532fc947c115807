"""Write the dashboards' JSON from their lists of panels: ``python helm/dashboards/source/build.py``."""

from __future__ import annotations

import json
from pathlib import Path

import edits
import gallery
import overview
import panels
import pretraining
import search

FOLDER = Path(__file__).resolve().parents[1]
DASHBOARDS = {
    "overview": overview.DASHBOARD,
    "search": search.DASHBOARD,
    "pretraining": pretraining.DASHBOARD,
    "edits": edits.DASHBOARD,
    "gallery": gallery.DASHBOARD,
}


def write(folder: Path) -> None:
    """Write each dashboard into ``folder`` as NAME.json."""
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(panels.to_json(dashboard), indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
