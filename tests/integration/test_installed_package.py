"""The wheel, installed without extras into an empty environment, searches a running service."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from services.search.settings import SearchSettings, ServiceSettings
from tests.support.served_here import served_here

ROOT = Path(__file__).resolve().parents[2]
LARGEST_MB = 61
NO_INDEX = re.compile(r"dns error|error sending request|failed to fetch|connect|timed out|offline", re.I)
INSTALL = """
set -e
. requirements/uv.sh
"$uv" build --quiet --wheel --out-dir "$FOLDER/dist" .
"$uv" venv --quiet --python "$PYTHON" "$FOLDER/env"
"$uv" pip install --quiet --no-cache --link-mode copy --python "$FOLDER/env/bin/python" "$FOLDER"/dist/*.whl
"""


def clean(**more: str) -> Mapping[str, str]:
    """An environment in which nothing of this checkout is found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")} | more


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    settings = clean(FOLDER=str(folder), PYTHON=sys.executable)
    done = subprocess.run(
        ["bash", "-c", INSTALL], cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=280
    )
    if done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


def scot(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [folder / "env/bin/scot", *arguments]
    return subprocess.run(command, cwd=folder, env=clean(), capture_output=True, text=True, check=False, timeout=60)


def test_it_is_small(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (packages,) = (environment / "env/lib").glob("python*/site-packages")
    installed = (
        sum(file.stat().st_size for file in packages.rglob("*") if file.suffix != ".pyc" and file.is_file()) / 1e6
    )
    (wheel,) = (environment / "dist").glob("*.whl")
    with capsys.disabled():
        print(f"\nthe wheel: {wheel.stat().st_size / 1e6:.1f} MB; installed without extras: {installed:.0f} MB")
    assert installed <= LARGEST_MB


def test_it_occupies_one_name(environment: Path) -> None:
    (packages,) = (environment / "env/lib").glob("python*/site-packages")
    assert not {"services", "ray_jobs", "tests", "tools"} & {path.name for path in packages.iterdir()}
    assert (packages / "scot/py.typed").is_file()
    code = "import scot.bundled as b; print(*sorted(p.name for p in b.code_root().iterdir()))"
    done = subprocess.run(
        [environment / "env/bin/python", "-c", code], env=clean(), capture_output=True, text=True, check=True
    )
    assert {"services", "ray_jobs"} <= set(done.stdout.split())


def test_it_searches_a_running_service(environment: Path, tmp_path: Path) -> None:
    service = ServiceSettings(encoder="tiny", device="cpu", threads=1)
    settings = SearchSettings(service=service, store=str(tmp_path / "qdrant"))
    red = io.BytesIO()
    Image.new("RGB", (64, 64), (220, 30, 30)).save(red, "PNG")
    (tmp_path / "red.png").write_bytes(red.getvalue())
    with served_here(settings) as address:
        with ScotClient(address) as client:
            client.upsert([NewItem("red-1", image=red.getvalue(), payload={"caption": "red"})])
        query = ("--image", str(tmp_path / "red.png"), "--edit", "make it blue")
        found = scot(environment, "search", *query, "--address", address)
    assert (found.returncode, "red-1" in found.stdout) == (0, True), found.stderr


def test_help_lists_the_commands_and_one_that_needs_an_extra_names_it(environment: Path) -> None:
    assert "scot search" in scot(environment, "--help").stdout
    done = scot(environment, "serve")
    assert done.returncode == 1
    assert done.stderr.endswith("is not installed: pip install 'scot-search[serve]'\n")
