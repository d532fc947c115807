"""The ``curl`` lines of docs/http.md, run as they stand but for the port."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.doc_commands import ROOT, blocks
from tests.unit.web.conftest import png

LINES = [
    line
    for block in blocks((ROOT / "docs" / "http.md").read_text(encoding="utf-8"), "bash")
    for line in block.splitlines()
    if line.startswith("curl ")
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_do_what_the_page_says(url: str, tmp_path: Path) -> None:
    (tmp_path / "shirt.png").write_bytes(png((200, 0, 0)))
    said = []
    for line in LINES:
        command = line.replace("localhost:8080", url.removeprefix("http://")).replace("curl -s", "curl -sSf", 1)
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        said.append(done.stdout)
    answers = {line.split()[2].partition("/")[2]: text for line, text in zip(LINES, said, strict=True)}
    found = json.loads(next(text for line, text in zip(LINES, said, strict=True) if "includeReference" in line))
    assert "shirt" in [hit["itemId"] for hit in found["hits"]]
    assert answers["v1/compose-search-stream"].count("data: ") == 3
    assert (tmp_path / "shirt.webp").read_bytes()[8:12] == b"WEBP"
    assert len(LINES) == 11
