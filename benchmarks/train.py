"""Composer pretraining against a bare PyTorch loop, and its memory as the triplets grow; embeddings are synthetic.

    python benchmarks/train.py --ray-data --compile
    python benchmarks/train.py --triplets 1000000 10000000 --scratch /var/tmp/scot-bench

The first prints triplets/s of the trainer beside those of a bare loop (the same composer, loss and optimiser; float32
tensors of all triplets in memory), fifty steps of each in turn. The second trains on a memory-mapped cache of each
number of triplets, in a process of its own, and prints its peak memory: anonymous (what the process alone holds, and
the kernel cannot take back) and resident (with the pages of mapped files, which it can).
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import train_loops
from benchmarks.memory_peak import Peak
from benchmarks.synthetic_cache import write_cache
from benchmarks.train_loops import SEGMENT, Segment
from ray_jobs.session import ray_session
from scot import flags
from scot.embeddings.cache import load_cache
from scot.embeddings.memory_mapped import map_cache
from scot.machine import machine
from scot.training.config import TrainConfig

_EVALUATE = 3 * SEGMENT


@dataclass(frozen=True)
class TrainBenchmark:
    """Training speed against a bare loop, or memory by the number of triplets.

    Example: python benchmarks/train.py --rounds 20
    """

    triplets: tuple[int, ...] = ()
    """Measure memory with these numbers of triplets instead of speed."""
    size: int = 100_000
    """Triplets of the speed benchmark."""
    dim: int = 128
    """Width of the embeddings."""
    batch_size: int = 1024
    """The global batch."""
    rounds: int = 12
    """Rounds of fifty steps of every loop in turn."""
    precision: str = "bfloat16"
    """float32 or bfloat16."""
    compile: bool = False
    """Also measure the trainer with torch.compile."""
    ray_data: bool = False
    """Also measure the bare loop fed by Ray Data."""
    scratch: Path | None = None
    """Where synthetic caches are written, and deleted at the end; by default in the temporary folder."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: TrainBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(f"{machine()}; PyTorch {torch.__version__}, {torch.get_num_threads()} threads\n", flush=True)
    if config.scratch is not None:
        config.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.scratch) as scratch:
        numbers = memory(config, Path(scratch)) if config.triplets else speed(config, Path(scratch))
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps({"machine": machine(), "rows": numbers}, indent=2) + "\n", encoding="utf-8")
    return 0


def speed(config: TrainBenchmark, scratch: Path) -> list[dict[str, Any]]:
    """Every loop in turn, round after round. Other work on the machine only ever slows a segment: the best counts."""
    folder, copies = scratch / "cache", scratch / "mapped"
    write_cache(folder, config.size, config.dim)
    data, mapped = load_cache(folder), map_cache(folder, copies)
    steps = (config.rounds + 1) * SEGMENT
    settings = TrainConfig(
        batch_size=config.batch_size, steps=steps, eval_every=_EVALUATE, precision=config.precision, patience=0
    )
    between: list[float] = []
    loops: dict[str, Iterator[Segment]] = {
        "bare loop, tensors in memory": train_loops.bare(data, settings),
        "trainer, cache in memory": train_loops.trainer(data, settings, scratch, between),
        "trainer, cache memory-mapped": train_loops.trainer(mapped, settings, scratch, between),
    }
    if config.compile:
        compiled = dataclasses.replace(settings, compile=True)
        loops["trainer, memory-mapped, compiled"] = train_loops.trainer(mapped, compiled, scratch, [])
    found = _in_turn(loops, config.rounds)
    fed: dict[str, Callable[[], Iterator[Segment]]] = {
        "bare loop, Ray Data over row numbers": lambda: train_loops.ray_data_rows(data, settings, folder, copies),
        "bare loop, Ray Data over joined Parquet": lambda: train_loops.ray_data_joined(data, settings, scratch),
    }
    for name, start in fed.items() if config.ray_data else ():
        with ray_session():  # one at a time: a stream that waits for its turn would go on reading
            found |= _in_turn({name: start()}, config.rounds)
    print(f"{config.size:,} triplets, {config.dim} dimensions, batch {config.batch_size:,}, {config.precision}\n")
    print("| loop | triplets/s, best | median | ÷ bare loop | waiting for data |\n|---|---|---|---|---|")
    base = max(rate for rate, _ in found["bare loop, tensors in memory"])
    numbers = []
    for name, segments in found.items():
        rates, waits = zip(*segments, strict=True)
        row = {"loop": name, "best": max(rates), "median": statistics.median(rates), "ratio": max(rates) / base}
        row["data_wait"] = statistics.median(waits)
        numbers.append(row)
        print(f"| {name} | {row['best']:,.0f} | {row['median']:,.0f} | {row['ratio']:.3f} | {row['data_wait']:.1%} |")
    best = next(row["best"] for row in numbers if "memory-mapped" in row["loop"])
    steps_s, pause = _EVALUATE * config.batch_size / best, min(between)
    print(f"\nan evaluation with its checkpoint, every {_EVALUATE} steps: {pause:.2f} s, {pause / steps_s:.1%} of them")
    return [*numbers, {"loop": "evaluation and checkpoint", "seconds": pause, "share": pause / steps_s}]


def _in_turn(loops: dict[str, Iterator[Segment]], rounds: int) -> dict[str, list[Segment]]:
    """The segments of every loop, one of each in turn; the first warms up."""
    found: dict[str, list[Segment]] = {name: [] for name in loops}
    for turn in range(rounds + 1):
        for name, loop in loops.items():
            segment = next(loop)
            if turn:
                found[name].append(segment)
    return found


def memory(config: TrainBenchmark, scratch: Path) -> list[dict[str, Any]]:
    """Peak memory of the mapped copy's making and of training from it, for each number of triplets."""
    print("| triplets | | s | anonymous, peak | resident, peak | triplets/s | waiting |\n|---|---|---|---|---|---|---|")
    numbers: list[dict[str, Any]] = []
    spawn = multiprocessing.get_context("spawn")
    for triplets in config.triplets:
        for what in (write_cache_of, copy_of, train_on):
            with spawn.Pool(1) as pool:
                row = pool.apply(what, (config, scratch, triplets))
            if row is not None:
                numbers.append(row)
                speed = f"{row['triplets_per_s']:,.0f} | {row['data_wait']:.1%}" if "data_wait" in row else "|"
                print(
                    f"| {triplets:,} | {row['what']} | {row['seconds']:.0f} | {row['anonymous'] / 2**20:,.0f} MiB "
                    f"| {row['resident'] / 2**20:,.0f} MiB | {speed} |", flush=True,
                )  # fmt: skip
    return numbers


def write_cache_of(config: TrainBenchmark, scratch: Path, triplets: int) -> None:
    """The cache of one row of the table."""
    write_cache(scratch / f"cache-{triplets}", triplets, config.dim)


def copy_of(config: TrainBenchmark, scratch: Path, triplets: int) -> dict[str, Any]:
    """Write the mapped copy."""
    with Peak() as peak:
        map_cache(scratch / f"cache-{triplets}", scratch / "mapped")
    return {"triplets": triplets, "what": "writing the copy", **peak.numbers()}


def train_on(config: TrainBenchmark, scratch: Path, triplets: int) -> dict[str, Any]:
    """Train some steps from the mapped copy, with an evaluation and a checkpoint."""
    settings = TrainConfig(
        batch_size=config.batch_size, steps=config.rounds * SEGMENT, eval_every=_EVALUATE, precision=config.precision
    )
    between: list[float] = []
    with Peak() as peak:
        data = map_cache(scratch / f"cache-{triplets}", scratch / "mapped")
        rates, waits = zip(*train_loops.trainer(data, settings, scratch, between), strict=True)
    speed = {"triplets_per_s": statistics.median(rates), "data_wait": statistics.median(waits)}
    return {"triplets": triplets, "what": "training", **speed, **peak.numbers()}


if __name__ == "__main__":
    sys.exit(flags.run("train.py", main, TrainBenchmark))
