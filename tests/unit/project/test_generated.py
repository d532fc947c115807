"""Every generated file is committed as its generator writes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.generate.__main__ import ROOT, files, stale


def test_generated_files_are_fresh() -> None:
    assert stale() == [], "run `make generate`"


def test_a_changed_a_missing_and_an_orphaned_file_are_stale(tmp_path: Path) -> None:
    for path in files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    (tmp_path / "helm/README.md").write_text("changed", encoding="utf-8")
    (tmp_path / "scot/v1/search_pb2.py").unlink()
    (tmp_path / "k8s/orphan.yaml").touch()
    assert stale(tmp_path) == ["helm/README.md", "k8s/orphan.yaml", "scot/v1/search_pb2.py"]
