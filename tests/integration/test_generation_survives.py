"""Killing the job and the edit service at random moments ends with the triplets of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from scot.data.captioned_writer import write_captioned
from scot.data.triplets import read_manifest, read_triplets
from scot.ports import free_port
from scot.worlds import load_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = 20
PICTURES, CAPTIONS_EACH = 8_000, 5
ROOT = Path(__file__).resolve().parents[2]


def write_corpus(folder: Path, pictures: int = PICTURES) -> None:
    """Captions of both worlds, with pictures that nothing looks at."""
    rng, picture = random.Random(0), Image.new("RGB", (4, 4))
    worlds = [load_world(name) for name in ("wardrobe", "scenes")]

    def captions(world_number: int) -> list[str]:
        world = worlds[world_number % 2]
        return [world.caption(world.sample(rng), rng) for _ in range(CAPTIONS_EACH)]

    write_captioned(folder, ((f"i{n}", picture, captions(n), {}) for n in range(pictures)))


def start_service(port: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "services.edits",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--metrics-port",
        "0",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)


def start_job(corpus: Path, output: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "ray_jobs/generate_edits.py", "--source", str(corpus), "--output", str(output), *flags]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
    )


def kill_with_all_it_started(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the job and to every process of its Ray, as when a machine goes away."""
    session = process.pid
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    os.kill(int(entry.name), signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.communicate()


def parts_of(output: Path) -> int:
    return len(list(output.glob("_parts-*/part-*.parquet")))


def until_parts(output: Path, count: int, job: subprocess.Popen[str]) -> None:
    """Wait until the job has written that many parts."""
    end = time.monotonic() + 120
    while parts_of(output) < count:
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < end, "no part was written in two minutes"
        time.sleep(0.02)


@pytest.mark.parametrize("engine", ["pairs", "slots"])
def test_engines_without_a_model_go_on_after_kills(tmp_path: Path, engine: str) -> None:
    corpus, output, rng = tmp_path / "corpus", tmp_path / "killed", random.Random(3)
    write_corpus(corpus, 3_000)
    flags = ("--engine", engine, "--num-workers", "0")
    for _ in range(3):
        job = start_job(corpus, output, *flags)
        until_parts(output, parts_of(output) + rng.randrange(1, 3), job)
        kill_with_all_it_started(job)
    for folder in (output, tmp_path / "whole"):
        job = start_job(corpus, folder, *flags)
        said = job.communicate(timeout=600)[0]
        assert job.returncode == 0, said
        assert ("were done already" in said) == (folder == output)
    assert read_manifest(output).hash == read_manifest(tmp_path / "whole").hash


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    rng, corpus, output = random.Random(7), tmp_path / "corpus", tmp_path / "killed"
    write_corpus(corpus)
    port = free_port()
    through_service = ("--engine", "service", "--url", f"127.0.0.1:{port}", "--patience-s", "60", "--timeout-s", "20")
    service = start_service(port)
    job = start_job(corpus, output, *through_service)
    killed = {"job": 0, "service": 0}
    try:
        for _ in range(KILLS):
            until_parts(output, parts_of(output) + rng.randrange(1, 8), job)
            if rng.random() < 0.5:
                kill_with_all_it_started(job)
                killed["job"] += 1
                job = start_job(corpus, output, *through_service)
            else:
                service.kill()
                service.wait()
                killed["service"] += 1
                service = start_service(port)
        said = job.communicate(timeout=300)[0]
        assert job.returncode == 0, said
    finally:
        kill_with_all_it_started(job)
        service.kill()
        service.wait()
    assert killed["job"] >= 5
    assert killed["service"] >= 5
    assert "were done already" in said

    undisturbed = start_job(corpus, tmp_path / "whole", "--engine", "rules")
    said = undisturbed.communicate(timeout=300)[0]
    assert undisturbed.returncode == 0, said
    one, other = (read_triplets(folder)["triplet_id"].to_pylist() for folder in (output, tmp_path / "whole"))
    assert len(set(one)) == len(one) > PICTURES * CAPTIONS_EACH
    assert one == other
    assert read_manifest(output).rejected == read_manifest(tmp_path / "whole").rejected
    assert not list(output.glob("_parts-*"))
