"""Encoding: its memory as the pictures grow, its speed beside the towers alone, and what kills cost.

    python benchmarks/encode.py --images 10000 100000 1000000
    python benchmarks/encode.py --speed 512 --model ViT-B-32
    python benchmarks/encode.py --kills 30
    python benchmarks/encode.py --s3 512 --model ViT-B-32

The first encodes tables of tiny pictures, a process for each number, and prints the peak of its memory: anonymous (what
the process alone holds) and resident (with the pages of mapped files, which the kernel takes back when it needs them).
The second lets the towers alone and a whole run take turns, on the same pictures and texts; the third kills runs at
random times, and compares the result and the work with those of a run that was not killed. The last lets runs take
turns whose pictures lie on the disk and on an S3 server that answers after ``--latency-ms``, as files of a table and
in tars; the server, in a process of its own, uses the same cores.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.encode_speed import plain, s3, speed
from benchmarks.memory_peak import Peak
from scot import flags
from scot.embeddings.encode import encode_triplets
from scot.machine import machine
from tests.support.killed_encoding import EncodingProcess, content, write_pictures, write_their_triplets
from tests.support.random_encoder import save_random_encoder


@dataclass(frozen=True, slots=True)
class EncodeBenchmark:
    """Memory by the number of pictures, speed beside the towers, or kills.

    Example: python benchmarks/encode.py --images 10000 100000
    """

    images: tuple[int, ...] = ()
    """Measure memory with these numbers of pictures."""
    states: bool = False
    """With hidden states."""
    speed: int = 0
    """Measure the speed with this number of pictures."""
    model: str = "tiny"
    """tiny, or an open_clip architecture with random weights, for the speed."""
    rounds: int = 3
    """Rounds, in which the towers alone and whole runs take turns."""
    kills: int = 0
    """Kill this many runs."""
    killed_images: int = 100_000
    """Pictures of the runs that are killed."""
    s3: int = 0
    """Compare reading this number of pictures from S3 and from the disk."""
    latency_ms: float = 50.0
    """The latency of each request to S3."""
    scratch: Path | None = None
    """Where inputs and results are written, and deleted at the end; by default in the temporary folder."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: EncodeBenchmark) -> int:
    """Measure and print Markdown."""
    print(f"{machine()}; PyTorch {torch.__version__}\n", flush=True)
    if config.scratch is not None:
        config.scratch.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(dir=config.scratch) as scratch:
        if config.images:
            numbers["memory"] = memory(config, Path(scratch))
        if config.speed:
            numbers["speed"] = plain(speed(config.model, config.speed, config.rounds, _new(scratch, "speed")))
        if config.kills:
            numbers["kills"] = kills(config, Path(scratch))
        if config.s3:
            numbers["s3"] = {
                kind: plain(taken)
                for kind, taken in s3(
                    config.model, config.s3, config.latency_ms, config.rounds, _new(scratch, "s3")
                ).items()
            }
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


def _new(scratch: str, name: str) -> Path:
    folder = Path(scratch, name)
    folder.mkdir()
    return folder


def memory(config: EncodeBenchmark, scratch: Path) -> list[dict[str, Any]]:
    """The peak of the memory of a whole process, for each number of pictures."""
    encoder = save_random_encoder(scratch / "encoder")
    print("| pictures | anonymous, peak | resident, peak | s | CPU s |\n|---|---|---|---|---|")
    rows = []
    for count in config.images:
        inputs = {
            "sources": [write_pictures(scratch / f"pictures-{count}", count)],
            "triplets": [write_their_triplets(scratch / f"triplets-{count}", count)],
            "output": str(scratch / f"out-{count}"), "encoder": encoder, "num_workers": 0, "states": config.states,
        }  # fmt: skip
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(_encode, (inputs,))
        rows.append({"images": count, **row})
        print(
            f"| {count:,} | {row['anonymous'] / 2**20:,.0f} MiB | {row['resident'] / 2**20:,.0f} MiB "
            f"| {row['seconds']:,.0f} | {row['cpu_s']:,.0f} |", flush=True,
        )  # fmt: skip
    for kind in ("anonymous", "resident"):
        peaks = [row[kind] for row in rows]
        print(f"\n{kind}: the largest is {max(peaks) / min(peaks):.3f} times the smallest")
    return rows


def _encode(inputs: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    with Peak() as peak:
        encode_triplets(**inputs)
    return {**peak.whole(), "cpu_s": time.process_time()}


def kills(config: EncodeBenchmark, scratch: Path) -> dict[str, Any]:
    """Runs that are killed at random times, spread over the time that an undisturbed run takes."""
    inputs = {
        "sources": [write_pictures(scratch / "pictures", config.killed_images, broken=100)],
        "triplets": [write_their_triplets(scratch / "triplets", config.killed_images)],
        "encoder": save_random_encoder(scratch / "encoder"), "num_workers": 0, "states": config.states,
        "chunk_size": 32,
    }  # fmt: skip
    once = EncodingProcess({**inputs, "output": str(scratch / "once")}, scratch / "log-once")
    begun = time.perf_counter()
    assert once.run() == 0
    seconds = time.perf_counter() - begun
    runs = EncodingProcess({**inputs, "output": str(scratch / "out")}, scratch / "log")
    generator = random.Random(0)
    killed = 0
    for _ in range(config.kills):
        killed += runs.run(kill_after_s=2 + generator.uniform(0, 2) * seconds / config.kills) != 0
    assert runs.run() == 0
    equal = content(scratch / "out") == content(scratch / "once")
    twice = runs.begun() / once.begun() - 1
    result = "byte-equal" if equal else "DIFFERENT"
    print(f"{killed} kills: the result is {result}, {twice:.2%} of the work was done twice")
    return {"kills": killed, "equal": equal, "twice": twice}


if __name__ == "__main__":
    sys.exit(flags.run("encode benchmark", main, EncodeBenchmark))
