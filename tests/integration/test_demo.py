"""The demo, small: interrupted in its second act, gone on with, and run again; then nothing is left running."""

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
from scot.ports import check_port, free_port
from tests.support.rules_endpoint import MODEL, rules_endpoint

SMALL = ("--train-size", "240", "--gallery-size", "120", "--queries", "30", "--steps", "20")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "scot-demo"


def start(data: Path, *flags: str) -> tuple[subprocess.Popen[str], int]:
    """The demo in a group of its own, and its service's port."""
    port = free_port()
    command = [sys.executable, "-m", "scot.cli", "demo", "--once", "--data", str(data), "--port", str(port)]
    command += [*SMALL, *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    return process, port


def nothing_runs(process: subprocess.Popen[str], port: int) -> bool:
    """Whether the demo's processes and its service are gone, within a while: Ray's processes take seconds to end."""
    for _ in range(300):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            check_port(port)  # the service has a group of its own
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_path_survives_an_interruption_and_is_reused(data: Path) -> None:
    first, port = start(data)
    assert first.stdout is not None
    printed = []
    for line in first.stdout:
        printed.append(line)
        if "run " in line and "triplets of" in line:  # pretraining has begun
            os.killpg(first.pid, signal.SIGINT)  # what a terminal's Ctrl-C does: everything in the foreground gets it
    assert first.wait() == 130, "".join(printed)
    assert nothing_runs(first, port)
    assert any("act one took" in line for line in printed)
    assert Image.open(data / "searches.png").size[0] > 800  # act one's results stay

    second, port = start(data)
    output, _ = second.communicate()
    assert second.returncode == 0, output
    assert nothing_runs(second, port)
    assert "holds these 240 pictures already" in output
    assert "is up to date" in output
    assert "promoted v1 (first release" in output
    assert "composer v1 answers now" in output  # in the running service
    assert "first hit of tiny-1" in output
    assert "first hit of v1" in output
    assert Image.open(data / "searches-learned.png").size[0] > 800
    assert Image.open(data / "evaluation" / "wardrobe.png").size[0] > 800
    worlds = json.loads((data / "evaluation" / "results.json").read_text())["worlds"]
    assert set(worlds) == {"wardrobe", "scenes"}
    assert worlds["wardrobe"]["rows"]["oracle"]["recall@10"]["value"] > 0.5
    assert worlds["wardrobe"]["rows"].keys() >= {"v1", "tiny-1"}
    assert Registry(data / "composers").released() == "v1"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_path_runs_with_edits_of_an_openai_endpoint(tmp_path: Path) -> None:
    with rules_endpoint() as url:
        demo, port = start(tmp_path, "--engine", "openai", "--model", MODEL, "--url", url)
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert nothing_runs(demo, port)
    assert {row["generator"] for row in read_triplets(tmp_path / "triplets").to_pylist()} == {f"openai:{MODEL}"}
    assert Registry(tmp_path / "composers").versions() == ["v1"]
    assert Image.open(tmp_path / "searches.png").size[0] > 800
