"""The demo, small: interrupted, gone on with, and run again; then nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from scot.composers import Registry
from scot.data.triplets import read_triplets
from tests.support.ports import free_port
from tests.support.rules_endpoint import MODEL, rules_endpoint

SMALL = ("--train-size", "240", "--gallery-size", "120", "--queries", "30", "--steps", "40")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "scot-demo"


def start(data: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scot.cli", "demo", "--once", "--data", str(data), "--port", str(free_port())]
    command += [*SMALL, *flags]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def group_is_empty(process: subprocess.Popen[str]) -> bool:
    """Whether everything that the demo started is gone, within a while: Ray's processes take seconds to end."""
    for _ in range(300):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_path_survives_an_interruption_and_is_reused(data: Path) -> None:
    first = start(data)
    assert first.stdout is not None
    said = []
    for line in first.stdout:
        said.append(line)
        if "pretraining" in line:
            os.killpg(first.pid, signal.SIGINT)  # what a terminal's Ctrl-C does: everything in the foreground gets it
    assert first.wait() == 130, "".join(said)
    assert group_is_empty(first)

    second = start(data)
    output, _ = second.communicate()
    assert second.returncode == 0, output
    assert group_is_empty(second)
    assert "holds these 240 pictures already" in output
    assert "is up to date" in output
    assert "contact sheet" in output
    assert Image.open(data / "searches.png").size[0] > 800
    assert Image.open(data / "evaluation" / "wardrobe.png").size[0] > 800
    worlds = json.loads((data / "evaluation" / "results.json").read_text())["worlds"]
    assert set(worlds) == {"wardrobe", "scenes"}
    assert worlds["wardrobe"]["rows"]["oracle"]["recall@10"]["value"] > 0.5
    assert Registry(data / "composers").versions() == ["v1"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_path_runs_with_edits_of_an_openai_endpoint(tmp_path: Path) -> None:
    with rules_endpoint() as url:
        demo = start(tmp_path, "--engine", "openai", "--model", MODEL, "--url", url)
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert group_is_empty(demo)
    assert {row["generator"] for row in read_triplets(tmp_path / "triplets").to_pylist()} == {f"openai:{MODEL}"}
    assert Registry(tmp_path / "composers").versions() == ["v1"]
    assert Image.open(tmp_path / "searches.png").size[0] > 800
