"""A run in this process, without Ray: what it writes, what it says, and what happens when the source changes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ray_jobs.generate_edits import GenerateEditsConfig, main
from scot.data.captioned_writer import write_captioned
from scot.data.triplets import read_manifest, read_triplets
from scot.edits.auto import choose_engine
from scot.edits.engines import EngineConfig
from scot.edits.generation import generate_triplets


def corpus(folder: Path, captions: list[str]) -> str:
    """A captioned folder with one image a caption; nothing reads its images."""
    picture = Image.new("RGB", (4, 4))
    write_captioned(folder, ((f"i{n}", picture, [caption], {}) for n, caption in enumerate(captions)))
    return str(folder)


def test_a_run_without_workers_needs_no_ray(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "p", ["a red cat on the left"] * 3), str(tmp_path / "t")
    script = (
        "import sys; sys.modules['ray'] = None; from scot.edits.generation import generate_triplets; "
        f"print(generate_triplets([{source!r}], {output!r}, num_workers=0).manifest.count)"
    )
    made = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    rows = read_triplets(output).to_pylist()
    assert len(rows) == int(made.stdout) == 12
    assert {row["image_id"] for row in rows} == {"i0", "i1", "i2"}
    assert all(row["kept"] and row["target_image_id"] is None for row in rows)


def test_the_same_again_is_reused(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "p", ["a red cat on the left"]), str(tmp_path / "t")
    assert generate_triplets([source], output, num_workers=0).reused == 0
    assert generate_triplets([source], output, num_workers=0).reused == 1


WORDS = [f"{a}{b}" for a in ("bal", "cor", "dun", "fel", "gim") for b in ("to", "va", "ri", "mo", "ku")]


@pytest.mark.parametrize(
    ("captions", "engine"),
    [
        ([f"a {colour} car in a {word}" for word in WORDS for colour in ("red", "blue")], "pairs"),
        (Path(__file__).with_name("natural_captions.txt").read_text(encoding="utf-8").splitlines(), "slots"),
    ],
)
def test_auto_takes_what_suits_the_captions_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], captions: list[str], engine: str
) -> None:
    config = GenerateEditsConfig(source=[corpus(tmp_path / "p", captions)], output=str(tmp_path / "t"), num_workers=0)
    assert main(config) == 0
    printed = capsys.readouterr()
    assert f"engine {engine}: " in printed.err
    assert {row["generator"] for row in read_triplets(tmp_path / "t").to_pylist()} == {engine}


def test_auto_takes_the_model_that_is_configured() -> None:
    for values, engine in (
        ({"model": "m"}, "vllm"),
        ({"model": "m", "url": "http://localhost:1/v1"}, "openai"),
        ({"url": "localhost:9100"}, "service"),
    ):
        chosen, why = choose_engine(EngineConfig(engine="auto", **values), [], seed=0)
        assert chosen.engine == engine
        assert "is configured" in why


def test_a_run_that_edits_few_captions_says_so_in_its_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = ["a red cat on the left", "annual report", "minutes of a meeting"]
    source, output = corpus(tmp_path / "p", captions), str(tmp_path / "t")
    main(GenerateEditsConfig(source=[source], output=output, engine=EngineConfig(engine="rules"), num_workers=0))
    assert capsys.readouterr().out.splitlines()[-1].startswith("only 33.3% of the captions have an edit")
    tally = read_manifest(output).extra["tally"]
    assert (tally["edited"], tally["short"]) == (1, 0)
    assert tally["examples"]["nothing_to_edit"] == ["annual report", "minutes of a meeting"]


def test_sigterm_ends_a_run_at_once_with_one_sentence(tmp_path: Path) -> None:
    source = corpus(tmp_path / "p", ["a red cat on the left"])
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        command = [sys.executable, "ray_jobs/generate_edits.py", "--source", source, "--output", str(tmp_path / "t")]
        command += ["--model", "m", "--url", url, "--num-workers", "0", "--timeout-s", "600"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
            silent.accept()[0].close()  # it is asking
            job.send_signal(signal.SIGTERM)
            assert job.wait(timeout=60) == 143
            assert job.stderr is not None
            assert job.stderr.read().splitlines()[-1] == "generate_edits.py: ended by SIGTERM"


@pytest.mark.parametrize(("workers", "code"), [("0", 0), ("1", 1)])
def test_a_job_where_ray_is_not_installed(tmp_path: Path, workers: str, code: int) -> None:
    source = corpus(tmp_path / "p", ["a red cat on the left"])
    script = "import sys; sys.modules['ray'] = None; import runpy; sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", script, "ray_jobs/generate_edits.py", "--source", source]
    command += ["--output", str(tmp_path / "t"), "--num-workers", workers]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == code, made.stderr
    if code:
        assert made.stderr == "generate_edits.py: this job needs Ray: pip install 'scot-search[train]'\n"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("RAY_TMPDIR", "/proc/nowhere", "Ray does not start; is the machine very busy, or out of memory? "),
        ("RAY_ADDRESS", "127.0.0.1:9", "no Ray answers at RAY_ADDRESS=127.0.0.1:9: "),
        ("RAY_ADDRESS", "ray://127.0.0.1:9", "no Ray answers at RAY_ADDRESS=ray://127.0.0.1:9: "),
    ],
)
def test_ray_that_does_not_start_is_one_sentence(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    source = corpus(tmp_path / "p", ["a red cat on the left"])
    command = [sys.executable, "ray_jobs/generate_edits.py", "--source", source, "--output", str(tmp_path / "t")]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")} | {variable: value}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert made.stderr.splitlines()[-1].startswith(f"generate_edits.py: {sentence}")
    assert "Traceback" not in made.stderr
