"""docs/guide.md on a small folder of pictures with another open_clip model: the commands as the guide has them.

All but the service run in this process, where torch and Ray are imported already.
"""

from __future__ import annotations

import contextlib
import csv
import io
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from scot import cli
from scot.client import ScotClient
from scot.composers import Registry
from scot.ports import free_port
from tests.support.random_encoder import save_random_encoder

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``pictures/`` (JPEGs with a CSV, some of it unusable) and ``my-model/``."""
    home = tmp_path_factory.mktemp("home")
    rng = random.Random(0)
    (home / "pictures").mkdir()
    rows = []
    for number in range(60):
        colour, size = rng.choice(COLOURS), rng.choice(("small", "large"))
        picture = Image.new("RGB", (80, 60), "white")
        half = 10 if size == "small" else 25
        ImageDraw.Draw(picture).rectangle((40 - half, 30 - half, 40 + half, 30 + half), fill=colour)
        picture.save(home / "pictures" / f"{number}.jpg")
        rows.append((f"{number}.jpg", f"a {size} {colour} car", size))
    (home / "pictures" / "broken.jpg").write_bytes(b"not a picture")
    rows += [("broken.jpg", "a broken car", "small"), ("gone.jpg", "a red car", "small"), ("1.jpg", "", "small")]
    with (home / "pictures" / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption", "size"), *rows])
    save_random_encoder(home / "my-model")
    return home


def run(home: Path, *command: str, code: int = 0) -> str:
    """What ``scot …`` or ``python ray_jobs/….py …`` prints, with ``home`` as its folder."""
    program, *arguments = command
    said = io.StringIO()
    with contextlib.chdir(home), redirect_stdout(said), redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        if program == "scot":
            ended = cli.main(arguments)
        else:
            patch.setattr(sys, "argv", [program, *arguments])
            with pytest.raises(SystemExit) as exit_:
                runpy.run_path(str(ROOT / program), run_name="__main__")
            ended = exit_.value.code
    assert ended == code, said.getvalue()
    return said.getvalue()


def pretrain(home: Path, *more: str) -> None:
    run(
        home,
        *("ray_jobs/pretrain.py", "--embeddings", "work/embeddings", "--composers", "work/composers"),
        *("--runs", "work/runs", "--steps", "30", "--batch-size", "64", "--eval-every", "10", "--num-workers", "0"),
        *more,
    )


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    run(home, "ray_jobs/generate_edits.py", "--source", "pictures", "--output", "work/triplets")
    run(
        home,
        *("ray_jobs/encode.py", "--source", "pictures", "--triplets", "work/triplets"),
        *("--output", "work/embeddings", "--encoder", "local-dir:my-model", "--num-workers", "0"),
    )
    pretrain(home)  # thirty steps over a random encoder may lose to a sum, and would then not be released
    Registry(home / "work" / "composers").release("v1")
    return home


@pytest.fixture(scope="module")
def address(trained: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "scot.cli", "serve", "--data", "work", "--encoder", "local-dir:my-model"]
    service = subprocess.Popen([*command, "--port", str(port)], cwd=trained, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    assert any("listens on" in line for line in service.stdout)
    yield f"localhost:{port}"
    service.send_signal(signal.SIGINT)
    service.stdout.read()
    assert service.wait() == 0


@pytest.mark.timeout(420)
def test_the_guide_from_pictures_to_hits(trained: Path, address: str) -> None:
    said = run(trained, "scot", "index", "pictures", "--address", address)
    assert "indexed 60 pictures" in said
    found = run(
        trained,
        *("scot", "search", "--image", "pictures/0.jpg", "--edit", "make it red", "--limit", "5"),
        *("--sheet", "hits.png", "--address", address),
    )
    assert "composer v1" in found
    assert "car" in found
    assert Image.open(trained / "hits.png").size[0] > 800
    with ScotClient(address) as client:
        result = client.search(image=trained / "pictures" / "0.jpg", edits="make it red", limit=5)
        assert len(result.hits) == 5
        assert result.composer == "v1"
        assert result.encoder.startswith("local-dir@")
        assert {hit.payload["size"] for hit in result.hits} <= {"small", "large"}


def test_the_guide_from_a_second_version_to_its_release_and_back(trained: Path) -> None:
    registry = ("--composers", "work/composers")
    measured = (*registry, "--gallery", "work/wardrobe", "--encoder", "local-dir:my-model")
    drawn = ("--split", "eval", "--size", "60", "--queries", "30", "--output", "work/wardrobe")
    run(trained, "scot", "draw", "--world", "wardrobe", *drawn)
    pretrain(trained, "--republish", "--no-release")
    released = {
        line.split()[0]: "released" in line
        for line in run(trained, "scot", "composers", "list", *registry).splitlines()
    }
    assert (released["v1"], released["v2"]) == (True, False)
    assert "neither" in run(trained, "scot", "composers", "compare", "v1", "v2", *measured)  # the same weights
    assert "promoted v2 (passed; before: v1)" in run(trained, "scot", "composers", "promote", "v2", *measured)
    assert "rolled back from v2 to v1" in run(trained, "scot", "composers", "rollback", *registry)


def test_another_encoder_is_refused_for_what_was_made(trained: Path) -> None:
    evaluate = ("scot", "evaluate", "--gallery", "any", "--composers", "work/composers")
    said = run(trained, *evaluate, "--encoder", "tiny", code=1)
    assert "was trained on the encoder local-dir@" in said
    assert "tiny" in said
