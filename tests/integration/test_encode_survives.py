"""Encoding that is killed, at any write and at any time, ends byte for byte as encoding that is not."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from scot.data import atomic_io, storage
from scot.data.shards import MANIFEST
from scot.embeddings.cache import load_cache
from scot.embeddings.encode import encode_triplets
from scot.errors import Conflict, InvalidInput, Unavailable
from scot.progress import Progress
from tests.support.killed_encoding import EncodingProcess, content, write_pictures, write_their_triplets
from tests.support.random_encoder import save_random_encoder

PICTURES, CHUNK = 300, 16


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "sources": [write_pictures(folder / "pictures", PICTURES, broken=50)],
        "triplets": [write_their_triplets(folder / "triplets", PICTURES, each=2)],
        "encoder": save_random_encoder(folder / "encoder"),
        "num_workers": 0,
        "states": True,
        "chunk_size": CHUNK,
    }


@pytest.fixture(scope="module")
def whole(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    encode_triplets(**inputs, output=str(folder))
    return folder


@pytest.mark.parametrize("torn", [False, True], ids=["before a write", "in the midst of a write"])
def test_kills_at_writes_change_nothing(inputs: dict[str, Any], whole: Path, tmp_path: Path, torn: bool) -> None:
    runs = EncodingProcess({**inputs, "output": str(tmp_path / "out")}, tmp_path / "log")
    generator, kills = random.Random(int(torn)), 0
    while (code := runs.run(kill_at=generator.randint(4, 24), torn=torn)) != 0:
        assert code == -9
        kills += 1
        assert not (tmp_path / "out" / MANIFEST).exists()
    assert kills >= 5
    assert content(tmp_path / "out") == content(whole)
    once = EncodingProcess({**inputs, "output": str(tmp_path / "once")}, tmp_path / "log-once")
    assert once.run() == 0
    # Two chunks are in progress at a time, and both may be lost.
    assert runs.begun() - once.begun() <= kills * 2 * CHUNK


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_at_any_time_change_nothing(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    runs = EncodingProcess({**inputs, "output": str(tmp_path / "out")}, tmp_path / "log")
    generator = random.Random(0)
    killed = sum(runs.run(kill_after_s=generator.uniform(0.1, 2.0)) != 0 for _ in range(30))
    assert runs.run() == 0
    assert content(tmp_path / "out") == content(whole)
    once = EncodingProcess({**inputs, "output": str(tmp_path / "once")}, tmp_path / "log-once")
    assert once.run() == 0
    assert runs.begun() - once.begun() <= killed * 2 * CHUNK


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_of_ray_that_is_killed_changes_nothing(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = {
        "--source": inputs["sources"][0], "--triplets": inputs["triplets"][0], "--encoder": inputs["encoder"],
        "--output": str(out), "--chunk-size": str(CHUNK), "--num-workers": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "ray_jobs.encode", *chain(*flags.items()), "--states", "--no-pairs"]
    for shards_there in (3, 12):
        with subprocess.Popen(command) as driver:
            while len(list(out.glob("images/*.parquet"))) < shards_there:
                assert driver.poll() is None
                time.sleep(0.05)
            driver.kill()
    subprocess.run(command, check=True)
    assert content(out) == content(whole)


def test_what_lies_damaged_is_encoded_again(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    first, second, third = sorted((out / "images").glob("images-*.parquet"))[:3]
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    data = bytearray(third.read_bytes())
    data[len(data) // 2] ^= 1
    third.write_bytes(data)
    next((out / "text_states").glob("*.parquet")).unlink()
    (out / "texts" / "texts-00000-zzzzzzzz.parquet").write_bytes(b"something else")
    lines: list[str] = []
    done = encode_triplets(**inputs, output=str(out), progress=Progress(lines.append))
    said = [line for line in lines if "is damaged: its chunk is encoded again" in line]
    assert [line.split()[2] for line in said] == [f"images/{path.name}" for path in (first, second, third)]
    assert done.reused_images == done.info.counts["images"] - 3 * CHUNK + 0
    (out / "texts" / "texts-00000-zzzzzzzz.parquet").unlink(missing_ok=True)
    assert content(out) == content(whole)


def test_a_full_disk_is_one_sentence_and_the_next_run_continues(
    inputs: dict[str, Any], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def full(target: Path, data: bytes, **options: Any) -> None:
        number = next(writes)
        with atomic_io.atomic_file(target, **options) as temporary:
            if number == at:
                temporary.write_bytes(data[: len(data) // 2])
                raise OSError(28, "No space left on device")
            temporary.write_bytes(data)

    monkeypatch.setattr(storage, "write_bytes", full)
    for fails in (1, 2, 9, 40):
        at, writes = fails, itertools.count(1)
        with pytest.raises(Unavailable, match=r"^.*/out/\w+ cannot be written: No space left on device$"):
            encode_triplets(**inputs, output=str(out))
    at = 0
    done = encode_triplets(**inputs, output=str(out))
    assert done.reused_images > 0
    assert content(out) == content(whole)


def test_two_runs_into_one_output_are_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with (
        atomic_io.locked(tmp_path / "out" / ".lock"),
        pytest.raises(Conflict, match=r"another run writes .*/out: wait"),
    ):
        encode_triplets(**inputs, output=out)


def test_a_source_that_changes_while_it_is_read_is_refused(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(inputs["sources"][0], pictures)
    write_bytes, changed = atomic_io.write_bytes, []

    def touching(target: Path, data: bytes, **options: Any) -> None:
        if not changed:
            changed.append((pictures / "captions.parquet").touch())
        write_bytes(target, data, **options)

    monkeypatch.setattr(storage, "write_bytes", touching)
    changing = {**inputs, "sources": [str(pictures)], "output": str(tmp_path / "out")}
    with pytest.raises(
        InvalidInput, match="changed while it was read: wait until its writer has finished, and start again"
    ):
        encode_triplets(**changing)
    assert not (tmp_path / "out" / MANIFEST).exists()
    encode_triplets(**changing)
    assert len(load_cache(tmp_path / "out")) == 2 * (PICTURES - PICTURES // 50)


def test_int8_states_take_half_of_the_bytes_and_stay_close(inputs: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    encode_triplets(**inputs, output=str(tmp_path / "int8"), state_type="int8")
    half, eighth = load_cache(whole), load_cache(tmp_path / "int8")
    assert half.image_states is not None
    assert eighth.image_states is not None
    exact, stored = half.image_states.values_TW.float(), eighth.image_states.values_TW.float()
    scale = exact.abs().amax(dim=1, keepdim=True) / 127
    assert ((exact - stored).abs() <= 0.51 * scale + 2e-3).all()
    assert (exact != stored).any()
    assert (half.image_states.start_R == eighth.image_states.start_R).all()
    assert encode_triplets(**inputs, output=str(tmp_path / "int8"), state_type="int8").reused_images == len(
        half.image_ids
    )
