"""The GPU check rehearsed on a CPU: every part, without Ray, gRPC and Qdrant, and what a part's failure looks like."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.check_gpu import PARTS, run_part
from benchmarks.check_gpu_rows import Sizes, image_flops, text_flops
from tests.support.forked import forkserver

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("ray", "grpc", "google", "qdrant_edge", "qdrant_client", "py3langid", "mlflow", "cachetools", "braceexpand")
BLOCKER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def check_gpu(folder: Path, *arguments: str, absent: tuple[str, ...] = ABSENT) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, output and rows of the command, in an environment that lacks some packages."""
    (folder / "sitecustomize.py").write_text(BLOCKER.format(absent=set(absent)))
    output = folder / "table.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/check_gpu.py"), "--rehearse", "--output", str(output), *arguments],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, json.loads(output.read_text())["rows"]


@pytest.mark.timeout(180)
def test_every_part_runs_without_ray_grpc_and_qdrant(tmp_path: Path) -> None:
    code, output, rows = check_gpu(tmp_path)
    assert (code, [row for row in rows if row["failed"]]) == (0, []), output
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(PARTS)
    measured = [row for row in rows if row["roofline"]]
    assert {row["part"] for row in measured} == {"ViT-B-32", "ViT-L-14", "training", "nccl", "search"}
    assert all(row["rate"] > 0 for row in measured)
    assert f"{len(rows)} lines, 0 failed" in output


@pytest.mark.timeout(180)
def test_a_part_that_lacks_a_package_is_a_line_and_the_others_run(tmp_path: Path) -> None:
    parts = ("device", "ViT-B-32", "nccl")
    code, output, rows = check_gpu(tmp_path, "--parts", *parts, absent=(*ABSENT, "open_clip"))
    failed = [row for row in rows if row["failed"]]
    assert code == 1, output
    assert [row["part"] for row in failed] == ["ViT-B-32"]
    assert failed[0]["note"] == "FAILED: ModuleNotFoundError: No module named 'open_clip'"
    assert rows[-1]["part"] == "nccl"


@pytest.fixture
def processes() -> Iterator[Any]:
    yield forkserver()
    assert not multiprocessing.active_children()


ENDLESS = replace(Sizes.rehearsal(), seconds=1e9)


def test_a_part_that_takes_too_long_is_stopped(processes: Any) -> None:
    *_, last = run_part(processes, "device", ENDLESS, 4.0)
    assert last.failed
    assert last.note == "FAILED: not finished within the 4 s of its part"


def test_a_part_that_dies_is_a_line(processes: Any) -> None:
    def kill() -> None:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)

    timer = threading.Timer(2.0, kill)
    timer.start()
    (row,) = run_part(processes, "device", ENDLESS, 60.0)
    timer.join()
    assert row.failed
    assert row.note == "FAILED: the process ended with signal 9"


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14"])
def test_the_flops_of_the_towers_are_those_that_pytorch_counts(name: str) -> None:
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        model = CLIP(**{key: dict(value) if isinstance(value, dict) else value for key, value in config.items()})
        images, texts = torch.empty(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.int64)
    for tower, given, flops in (
        (model.encode_image, images, image_flops(config)),
        (model.encode_text, texts, text_flops(config, 77)),
    ):
        with FlopCounterMode(display=False) as counter:
            tower(given)
        assert counter.get_total_flops() == pytest.approx(flops, rel=2e-3)
