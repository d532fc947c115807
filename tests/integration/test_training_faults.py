"""Whatever a cluster does to a run, it ends as the run that was left alone.

A cluster of several nodes on this machine; the job is the one that people start. With the same number of workers the
weights are the same to the last bit, with another number the recall is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from ray_jobs import pretrain
from scot.composers import Registry, load_composer
from scot.embeddings.cache import read_info
from scot.errors import InvalidInput, Unavailable
from scot.local_ray import LOCAL_RAY
from scot.training.launch import Source, train_with_ray
from scot.training.run_folder import RunFolder
from tests.integration.test_pretrain import command_line
from tests.support.flat_config import changed, configured
from tests.support.synthetic_triplets import ENCODER, synthetic_triplets, write_synthetic_cache

ROOT = Path(__file__).resolve().parents[2]
DIM = 16
# 640 training triplets or so: an epoch is ten steps, and no checkpoint falls on its end.
SETTINGS = {
    "projection": 32, "hidden": 32, "batch_size": 64, "eval_every": 203, "patience": 0, "held_out": 0.2, "lr": 3e-3,
    "dropout": 0.1, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = synthetic_triplets(images=200, dim=DIM)
    return write_synthetic_cache(tmp_path_factory.mktemp("cache") / "embeddings", data)


def settings(embeddings: Path, place: Path, **changes: object) -> pretrain.PretrainConfig:
    return configured(
        pretrain.PretrainConfig, embeddings=str(embeddings), composers=str(place / "composers"),
        runs=str(place / "runs"), name="run",
        **{**SETTINGS, **changes},
    )  # fmt: skip


def weights(config: pretrain.PretrainConfig) -> dict[str, torch.Tensor]:
    return load_composer(Registry(config.composers).path("v1"), encoder_id=ENCODER, dim=DIM).module.state_dict()


def recall(config: pretrain.PretrainConfig) -> float:
    return Registry(config.composers).metrics("v1")["recall@1"]


def assert_same(config: pretrain.PretrainConfig, undisturbed: pretrain.PretrainConfig) -> None:
    mine, other = weights(config), weights(undisturbed)
    assert mine.keys() == other.keys()
    assert [name for name in other if not torch.equal(mine[name], other[name])] == []
    assert recall(config) == recall(undisturbed)


def notes(config: pretrain.PretrainConfig) -> str:
    return (Path(config.runs) / "run" / "notes.txt").read_text(encoding="utf-8")


# In this process: what happens to the disk


@pytest.fixture
def config(embeddings: Path, tmp_path: Path) -> pretrain.PretrainConfig:
    return settings(embeddings, tmp_path / "mine", num_workers=0, steps=60, eval_every=17)


@pytest.fixture(scope="module")
def alone(embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> pretrain.PretrainConfig:
    """A run of one process that nothing happens to."""
    config = settings(embeddings, tmp_path_factory.mktemp("alone"), num_workers=0, steps=60, eval_every=17)
    assert pretrain.main(config) == 0
    return config


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_costs_what_came_after_the_last_checkpoint(
    config: pretrain.PretrainConfig,
    alone: pretrain.PretrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save, saved = torch.save, []

    def fills_up(*arguments: object) -> None:
        saved.append(arguments)
        (save if len(saved) < 3 else full_disk)(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fills_up)
        with pytest.raises(Unavailable, match=r"step-0000051 cannot be written: No space left on device"):
            pretrain.main(config)
    assert sorted(path.name for path in RunFolder.checkpoints(run_of(config)).iterdir()) == [
        "step-0000017",
        "step-0000034",
    ]
    assert pretrain.main(config) == 0
    assert "resuming from step 34 with 1 worker" in capsys.readouterr().out
    assert_same(config, alone)


def run_of(config: pretrain.PretrainConfig) -> RunFolder:
    return RunFolder(config.runs, config.name, config.training, read_info(config.embeddings))


def stopped_before_its_artifact(config: pretrain.PretrainConfig, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The checkpoints of a run whose disk was full when the composer was to be written, the newest first."""
    with monkeypatch.context() as patched:
        patched.setattr("scot.training.run_folder.save_composer", full_disk)
        with pytest.raises(Unavailable, match=r"run's folder .* cannot be written: No space left on device"):
            pretrain.main(config)
    return sorted(run_of(config).checkpoints().iterdir(), reverse=True)


def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(
    config: pretrain.PretrainConfig,
    alone: pretrain.PretrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    newest, before = stopped_before_its_artifact(config, monkeypatch)
    assert (newest.name, before.name) == ("step-0000060", "step-0000051")
    damaged = newest / "current.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\x00\x00\x80\x7f")
    assert pretrain.main(config) == 0
    out = capsys.readouterr().out
    assert "the checkpoint step-0000060 is damaged (ValueError); trying the one before" in out
    assert "resuming from step 51" in out
    assert_same(config, alone)


def test_without_a_whole_checkpoint_a_run_does_not_start_over_by_itself(
    config: pretrain.PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in stopped_before_its_artifact(config, monkeypatch):
        (path / "state.json").unlink()
    with pytest.raises(InvalidInput, match=r"none of the checkpoints .* can be used: delete them to start"):
        pretrain.main(config)


# On a cluster: what happens to workers, nodes and the driver


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and two nodes with one each."""
    before = dict(os.environ)
    os.environ |= {**LOCAL_RAY, "PYTHONPATH": str(ROOT)}
    head = {"num_cpus": 0, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            add_node(cluster)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.environ.clear()
        os.environ |= before


def add_node(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=100 * 1024**2)


def start(cluster: Cluster, config: pretrain.PretrainConfig) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "ray_jobs/pretrain.py", *command_line(config)],
        cwd=ROOT, env={**os.environ, "RAY_ADDRESS": cluster.address}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def finish(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    with job.stdout:
        out = job.stdout.read()
    assert job.wait() == 0, out
    return out


def after_a_checkpoint(job: subprocess.Popen[str], config: pretrain.PretrainConfig) -> None:
    """Wait until a run has a checkpoint and has said something since."""
    assert job.stdout is not None
    said = []
    for line in job.stdout:
        said.append(line)
        if list((Path(config.runs) / config.name / "checkpoints").glob("step-*")):
            return
    raise AssertionError("".join(said))


def workers(*nodes: Any) -> list[int]:
    """The process ids of the training workers on some of this cluster's nodes."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and b"RayTrainWorker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def undisturbed(
    cluster: Cluster, embeddings: Path, tmp_path_factory: pytest.TempPathFactory
) -> pretrain.PretrainConfig:
    """A run of two workers that nothing happens to."""
    config = settings(embeddings, tmp_path_factory.mktemp("undisturbed"), num_workers=2, steps=2000)
    finish(start(cluster, config))
    return config


def kill_worker(cluster: Cluster) -> None:
    found = workers(*cluster.worker_nodes)
    assert len(found) == 2
    os.kill(found[-1], signal.SIGKILL)


def kill_node(cluster: Cluster) -> None:
    add_node(cluster)
    node = next(node for node in cluster.worker_nodes if workers(node))
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kill", [kill_worker, kill_node])
def test_a_lost_worker_or_node_is_made_good(
    cluster: Cluster,
    undisturbed: pretrain.PretrainConfig,
    embeddings: Path,
    tmp_path: Path,
    kill: Callable[[Cluster], None],
) -> None:
    config = settings(embeddings, tmp_path, num_workers=2, steps=2000)
    job = start(cluster, config)
    after_a_checkpoint(job, config)
    kill(cluster)
    out = finish(job)
    assert "with 2 workers" in notes(config)
    assert "resuming from step" in out
    assert_same(config, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("then", [2, 1, 0])
def test_a_killed_driver_s_command_goes_on_with_any_number_of_workers(
    cluster: Cluster, undisturbed: pretrain.PretrainConfig, embeddings: Path, tmp_path: Path, then: int
) -> None:
    config = settings(embeddings, tmp_path, num_workers=2, steps=2000)
    job = start(cluster, config)
    after_a_checkpoint(job, config)
    job.send_signal(signal.SIGKILL)
    assert job.stdout is not None
    job.stdout.close()
    job.wait()
    assert Registry(config.composers).versions() == []
    out = finish(start(cluster, changed(config, num_workers=then)))
    assert f"with {max(1, then)} worker" in out
    if then == 2:
        assert_same(config, undisturbed)
    else:  # other dropout masks
        assert recall(config) == pytest.approx(recall(undisturbed), abs=0.06)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_disk_that_fills_up_under_workers_is_one_sentence(
    cluster: Cluster, undisturbed: pretrain.PretrainConfig, embeddings: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system of three megabytes takes the right to mount one")
    try:
        config = changed(settings(embeddings, tmp_path, num_workers=2, steps=2000), runs=str(small / "runs"))
        job = start(cluster, config)
        after_a_checkpoint(job, config)
        with (small / "filler").open("wb", buffering=0) as filler:
            for size in (2**14, 2**10, 1):
                try:
                    while filler.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue
        assert job.stdout is not None
        with job.stdout:
            out = job.stdout.read()
        assert job.wait() == 1
        assert re.search(
            r"^pretrain.py: the checkpoint .*/step-\d+ cannot be written: .*No space left on device", out, re.M
        )
        (small / "filler").unlink()
        assert "resuming from step" in finish(start(cluster, config))
        assert_same(config, undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_elastic_run_takes_up_a_node_that_joins(cluster: Cluster, embeddings: Path, tmp_path: Path) -> None:
    """From as many workers as there are CPUs to one more, and on from the newest checkpoint."""
    before = len(cluster.worker_nodes)
    config = settings(embeddings, tmp_path, batch_size=60, steps=5000, eval_every=250)
    run = run_of(config)
    run.open()
    said: list[str] = []
    measured = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if "held-out" in line:
            measured.set()

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with ThreadPoolExecutor(1) as thread:
            workers, source = (1, before + 1), Source(str(embeddings))
            training = thread.submit(train_with_ray, run, source, say, num_workers=workers, resize_every_s=1.0)
            assert measured.wait(300)
            add_node(cluster)
            training.result()
    finally:
        ray.shutdown()
    assert any(f"with {before + 1} workers" in line for line in said)
    assert run.trained()


@pytest.mark.slow
def test_a_machine_without_memory_is_told_in_one_sentence(embeddings: Path, tmp_path: Path) -> None:
    words = ["--embeddings", embeddings, "--runs", tmp_path / "runs", "--composers", tmp_path / "composers"]
    done = subprocess.run(
        [sys.executable, "ray_jobs/pretrain.py", *map(str, words), "--steps", "20", "--batch-size", "60"],
        cwd=ROOT, env={**os.environ, "RAY_memory_usage_threshold": "0.01"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "pretrain.py: training stopped because its machine or pod ran low on memory: give it more"
