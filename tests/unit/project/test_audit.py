"""What `make audit` says of pip-audit's findings."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
report = runpy.run_path(str(ROOT / "requirements" / "audit_report.py"))["report"]

FINE = {"name": "numpy", "version": "2.3.5", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}
BAD = {"name": "pillow", "version": "12.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["12.1"], "aliases": []}]}


@pytest.mark.parametrize(
    ("sets", "code", "sentence"),
    [
        ({"dev": [FINE, SKIPPED]}, 0, "1 packages audited, 1 unknown to the service, 0 findings"),
        ({"dev": [FINE, BAD], "demo": [BAD]}, 1, "pillow 12.0: GHSA-1, fixed in 12.1 (demo, dev)"),
        ({"dev": [SKIPPED]}, 2, "no advisory service could be reached, so nothing was audited"),
        ({}, 2, "no advisory service could be reached, so nothing was audited"),
    ],
)
def test_findings_are_told(tmp_path: Path, sets: dict[str, object], code: int, sentence: str) -> None:
    for name, dependencies in sets.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    ended, said = report(tmp_path)
    assert (ended, said.splitlines()[0]) == (code, sentence)
