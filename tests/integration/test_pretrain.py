"""Pretraining as people run it: in process, with real Ray Train workers, and as a job of a running cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ray_jobs import pretrain
from ray_jobs.session import ray_session
from scot import flags
from scot.cluster import job_result
from scot.composers import Registry, load_composer
from scot.errors import Conflict, InvalidInput, NotFound, Unavailable
from scot.ports import free_port
from scot.training.config import TrainConfig
from scot.training.objectives import LossConfig
from scot.worlds.drawing import DrawConfig, draw
from tests.support.flat_config import changed, configured
from tests.support.synthetic_triplets import ENCODER, synthetic_triplets, write_synthetic_cache

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "projection": 32, "hidden": 32, "batch_size": 64, "steps": 40, "eval_every": 20, "held_out": 0.2, "lr": 3e-3,
    "dropout": 0.0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_cache(tmp_path_factory.mktemp("cache") / "embeddings", synthetic_triplets(images=200))


@pytest.fixture
def config(embeddings: Path, tmp_path: Path) -> pretrain.PretrainConfig:
    return configured(
        pretrain.PretrainConfig, embeddings=str(embeddings), composers=str(tmp_path / "composers"),
        runs=str(tmp_path / "runs"), name="run",
        num_workers=0, **SMALL,
    )  # fmt: skip


def weights(registry: Registry, version: str) -> dict[str, torch.Tensor]:
    return load_composer(registry.path(version), encoder_id=ENCODER, dim=32).module.state_dict()


def command_line(config: pretrain.PretrainConfig) -> list[str]:
    defaults = flags.flat(pretrain.PretrainConfig())
    return flags.written({key: value for key, value in flags.flat(config).items() if value != defaults[key]})


def test_a_run_publishes_once(config: pretrain.PretrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(config.composers)
    assert pretrain.main(config) == 0
    out = capsys.readouterr().out
    assert "step    40/40 · loss" in out
    assert "triplets/s · held-out R@1" in out
    assert "published v1 (released)" in out
    page = f"report: {Path(config.runs) / 'run' / 'report.md'}"
    assert out.splitlines()[-1] == page
    assert Path(page.removeprefix("report: ")).read_text(encoding="utf-8").startswith("# run\n")
    assert registry.released() == "v1"
    assert pretrain.main(dataclasses.replace(config, json=True)) == 0  # finished: nothing is trained
    assert job_result.read(capsys.readouterr().out.splitlines()[-1]) == {"version": "v1"}
    about = registry.config("v1")
    assert (about["encoder_id"], about["dim"], about["training"]["run"]) == (ENCODER, 32, "run")
    assert registry.metrics("v1")["recall@10"] > 0.1

    assert pretrain.main(config) == 0
    out = capsys.readouterr().out
    assert "run run is finished" in out
    assert out.splitlines()[-1] == page
    assert registry.versions() == ["v1"]
    assert pretrain.main(changed(config, republish=True, release=False)) == 0
    assert registry.versions() == ["v1", "v2"]
    assert registry.released() == "v1"

    events = [json.loads(line) for line in (Path(config.runs) / "run" / "progress.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["evaluated"]] == [20, 40]
    assert list((Path(config.runs) / "run" / "tensorboard").glob("events.*"))


def test_a_composer_that_loses_to_a_baseline_is_published_and_not_released(
    config: pretrain.PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain.main(changed(config, steps=1, lr=1e-9)) == 0
    out = capsys.readouterr().out
    metrics = Registry(config.composers).metrics("v1")
    best = max(value for name, value in metrics.items() if name.endswith("/recall@1") and "oracle" not in name)
    assert "held out: " in out
    assert "published v1 (not released)" in out
    assert (
        f"v1 is published and not released: its held-out recall@1 {metrics['recall@1']:.3f} is below the {best:.3f} of"
        in out
    )
    assert Registry(config.composers).released() is None


def test_captions_stand_in_for_images_and_the_run_says_how(
    config: pretrain.PretrainConfig, embeddings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = write_synthetic_cache(tmp_path / "others", synthetic_triplets(images=50, seed=3))
    for name, images in (("own", ""), ("other", str(others))):
        captions = changed(config, from_captions=1.0, images=images, name=name)
        assert pretrain.main(captions) == 0
        assert (
            "captions stand in for 100% of the references, moved by the gap of the means, " in capsys.readouterr().out
        )
    with pytest.raises(Conflict, match="was started with images None"):
        pretrain.main(changed(config, from_captions=1.0, images=str(others), name="own"))
    with pytest.raises(InvalidInput, match="--images needs --from-captions"):
        pretrain.main(changed(config, images=str(others)))


def test_a_run_that_was_killed_ends_as_one_that_was_not(config: pretrain.PretrainConfig, tmp_path: Path) -> None:
    long = changed(config, steps=400, patience=0)
    arguments = [sys.executable, "ray_jobs/pretrain.py", *command_line(long)]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "held-out" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert Registry(config.composers).versions() == []

    assert pretrain.main(long) == 0
    whole = changed(long, name="whole", runs=str(tmp_path / "other"))
    assert pretrain.main(whole) == 0
    registry = Registry(config.composers)
    resumed, uninterrupted = weights(registry, "v1"), weights(registry, "v2")
    for key, value in uninterrupted.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)


def test_a_version_published_by_a_killed_run_is_taken_up(config: pretrain.PretrainConfig) -> None:
    pretrain.main(config)
    (Path(config.runs) / "run" / "finished.json").unlink()
    assert pretrain.main(config) == 0
    assert Registry(config.composers).versions() == ["v1"]


def test_a_run_is_never_changed(config: pretrain.PretrainConfig) -> None:
    pretrain.main(config)
    with pytest.raises(Conflict, match=r"run was started with lr 0.003 \(now 0.01\): choose another --name"):
        pretrain.main(changed(config, lr=0.01))


def test_without_a_name_the_same_command_is_the_same_run(
    config: pretrain.PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = changed(config, name="", steps=20)
    pretrain.main(unnamed)
    pretrain.main(unnamed)
    assert "is finished" in capsys.readouterr().out
    pretrain.main(changed(unnamed, seed=1))
    assert Registry(config.composers).versions() == ["v1", "v2"]


def test_two_processes_do_not_share_a_run(config: pretrain.PretrainConfig) -> None:
    from scot.embeddings.cache import read_info
    from scot.training.run_folder import RunFolder

    settings = config.training
    run = RunFolder(config.runs, "run", settings, read_info(config.embeddings))
    with run.locked(), pytest.raises(Conflict, match="active in another process"):
        pretrain.main(config)


def test_bad_input_is_one_sentence(config: pretrain.PretrainConfig, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no embedding cache"):
        pretrain.main(changed(config, embeddings=str(tmp_path / "absent")))
    with pytest.raises(InvalidInput, match="not be negative"):
        pretrain.main(changed(config, num_workers=-1))
    with pytest.raises(InvalidInput, match="the width 32 of a transformer must be a multiple of its 3 heads"):
        pretrain.main(changed(config, architecture="transformer", projection=0, heads=3))
    with pytest.raises(InvalidInput, match="the run's name"):
        pretrain.main(changed(config, name="../x"))
    with pytest.raises(InvalidInput, match="--max-workers 2 needs --num-workers between 1 and it"):
        pretrain.main(changed(config, max_workers=2))
    (tmp_path / "file").touch()
    for field, said in (("runs", ".*/file/x/run"), ("composers", ".*/file/x")):
        with pytest.raises(Unavailable, match=f"{said} cannot be written: Not a directory"):
            pretrain.main(changed(config, **{field: str(tmp_path / "file" / "x")}))


def no_workers(*_: object, **__: object) -> None:
    raise AssertionError("workers were started")


def test_what_workers_would_stumble_over_is_told_before_any_starts(
    config: pretrain.PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.session.ray_session", no_workers)
    config = changed(config, name="")
    shared = changed(config, num_workers=3)
    with pytest.raises(InvalidInput, match="batch_size 64 cannot be shared evenly by 3 workers, but 63 or 66 can"):
        pretrain.main(shared)
    with pytest.raises(InvalidInput, match="every number of workers from 2 to 3, but 60 or 66 can"):
        pretrain.main(changed(config, num_workers=2, max_workers=3))
    data = synthetic_triplets(images=30)
    few = write_synthetic_cache(tmp_path / "few", synthetic_triplets(images=1))
    with pytest.raises(InvalidInput, match="4 triplets of 1 captions are too few to hold out"):
        pretrain.main(changed(config, num_workers=2, embeddings=str(few)))
    data.text_VD[3] = float("nan")
    broken = write_synthetic_cache(tmp_path / "nan", data)
    for limit in (1.0, 0.0):
        bad = changed(config, num_workers=2, embeddings=str(broken), memory_gib=limit, scratch=str(tmp_path))
        with pytest.raises(InvalidInput, match="texts/ holds vectors that are not of unit length"):
            pretrain.main(bad)
    with pytest.raises(Unavailable, match=r"scratch folder .* cannot be written: Not a directory"):
        pretrain.main(changed(config, num_workers=2, memory_gib=0.0, scratch="/dev/null/x"))
    assert Registry(config.composers).versions() == []


def test_a_mapped_run_is_the_run_in_memory(
    config: pretrain.PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain.main(config)
    mapped = changed(config, name="mapped", memory_gib=0.0, scratch=str(tmp_path / "scratch"))
    pretrain.main(mapped)
    registry = Registry(config.composers)
    for key, value in weights(registry, "v1").items():
        assert torch.equal(weights(registry, "v2")[key], value)
    assert len([path for path in (tmp_path / "scratch").iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU takes a C++ compiler")
def test_a_compiled_composer_trains_what_the_other_trains(config: pretrain.PretrainConfig) -> None:
    pretrain.main(config)
    pretrain.main(changed(config, name="compiled", compile=True))
    registry = Registry(config.composers)
    compiled = weights(registry, "v2")
    for key, value in weights(registry, "v1").items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-3, atol=1e-4)


def test_a_set_smaller_than_a_batch_is_said(
    config: pretrain.PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain.main(changed(config, batch_size=2000, steps=3))
    assert (
        "training triplets are fewer than a batch of 2000: a step uses them more than once" in capsys.readouterr().out
    )


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert flags.parse(pretrain.PretrainConfig, [], prog="pretrain.py").training == TrainConfig()
    with pytest.raises(SystemExit):
        flags.parse(pretrain.PretrainConfig, ["--help"], prog="pretrain.py")
    shown = capsys.readouterr().out
    settings = {field.name for kind in (TrainConfig, LossConfig) for field in dataclasses.fields(kind)} - {"loss"}
    assert {name for name in settings if f"--{name.replace('_', '-')} " not in shown.replace(",", " ")} == set()

    monkeypatch.setenv("SCOT_HARDNESS", "0.5")
    monkeypatch.setenv("SCOT_CAPTION_NEGATIVES", "no")
    argv = ["--lr", "0.5", "--direction-weight", "0.25", "--architecture", "film", "--depth", "2"]
    told = flags.parse(pretrain.PretrainConfig, argv, prog="pretrain.py").training
    loss = LossConfig(hardness=0.5, caption_negatives=False, direction_weight=0.25)
    assert told == TrainConfig(lr=0.5, architecture="film", depth=2, loss=loss)


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


GAUGES = (
    "loss", "step", "steps", "gradient_norm", "triplets_per_second", "data_wait_ratio", "checkpoint_seconds",
    "recall_at_1", "recall_at_10",
)  # fmt: skip


def published_gauges() -> set[str]:
    """The names that Ray's metrics endpoint shows once the last of :data:`GAUGES` is there."""
    import ray

    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(address) as answer:
            lines = answer.read().decode().splitlines()
        names = {line.partition("{")[0] for line in lines if 'run="two"' in line}
        if f"ray_scot_train_{GAUGES[-1]}" in names or time.monotonic() > deadline:
            return names
        time.sleep(0.5)


@pytest.mark.usefixtures("ray")
def test_two_ray_workers_train_what_one_process_trains(
    config: pretrain.PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain.main(config)
    assert pretrain.main(changed(config, name="two", num_workers=2)) == 0
    assert "step    40/40 · loss" in capsys.readouterr().out
    registry = Registry(config.composers)
    alone, together = weights(registry, "v1"), weights(registry, "v2")
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-3, atol=1e-4)
    assert published_gauges() >= {f"ray_scot_train_{name}" for name in GAUGES}


@pytest.mark.usefixtures("ray")
def test_workers_make_the_data_that_is_missing(
    config: pretrain.PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(DrawConfig("wardrobe", tmp_path / "drawn", "train", 60, num_workers=1))
    places = {"source": [str(tmp_path / "drawn")], "embeddings": str(tmp_path / "made")}
    assert pretrain.main(changed(config, num_workers=1, **places)) == 0
    assert "published v1" in capsys.readouterr().out
    assert (tmp_path / "made-triplets" / "_manifest.json").is_file()


@pytest.mark.usefixtures("ray")
def test_a_reason_to_stop_reaches_the_caller(
    config: pretrain.PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_synthetic_cache(tmp_path / "few", synthetic_triplets(images=1))
    arguments = command_line(changed(config, embeddings=str(few), num_workers=1))
    assert flags.run("pretrain.py", pretrain.main, pretrain.PretrainConfig, [*arguments, "--num-workers", "1"]) == 1
    assert "too few to hold out" in capsys.readouterr().err
    assert Registry(config.composers).versions() == []


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A real ``ray start --head`` with a dashboard on free ports; gives the address for ``ray job submit``."""
    gcs, dashboard = free_port(), free_port()
    environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment["RAY_AUTH_MODE"] = "disabled"
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={gcs}"]
    options = [
        "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=2",
        f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}",
        f"--object-store-memory={200 * 1024**2}", "--node-ip-address=127.0.0.1", "--disable-usage-stats",
        f"--ray-client-server-port={free_port()}", f"--metrics-export-port={free_port()}",
    ]  # fmt: skip
    log = (tmp_path / "ray.log").open("w")
    process = subprocess.Popen(
        [*program, *options], cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


@pytest.mark.slow
def test_it_runs_as_a_job_of_a_running_cluster(cluster: str, config: pretrain.PretrainConfig, tmp_path: Path) -> None:
    from ray.job_submission import JobSubmissionClient

    deadline = time.monotonic() + 120
    while True:
        try:
            client = JobSubmissionClient(cluster)
            break
        except (ConnectionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    assert client.list_jobs() == []
    submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster, "--working-dir", "."]
    excludes = json.dumps({"excludes": [".venv", ".git", "/scot/encoders/tiny", "/tests", "/docs", "/benchmarks"]})
    job = ["--runtime-env-json", excludes, "--", sys.executable, "ray_jobs/pretrain.py"]
    environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTHONPATH")}
    # Absolute paths: the job runs in the cluster's copy of the working directory.
    arguments = command_line(changed(config, num_workers=1))
    done = subprocess.run(
        [*submit, *job, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "published v1 (released)" in done.stdout
    assert "step    40/40" in done.stdout
    assert Registry(config.composers).released() == "v1"
