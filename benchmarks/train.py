"""Composer pretraining against a bare PyTorch loop, and its memory as the triplets grow; embeddings are synthetic.

    python benchmarks/train.py
    python benchmarks/train.py --triplets 1000000 10000000 --scratch /var/tmp/scot-bench

The first prints triplets/s of the trainer beside those of a bare loop (the same composer, loss and optimiser; float32
tensors of all triplets in memory) and of the same loop fed by Ray Data, round after round in one process. The second
trains on a memory-mapped cache for each number of triplets, each in a process of its own, and prints its peak memory:
anonymous (what the process alone holds, and the kernel cannot take back) and resident (with the pages of mapped files,
which it can).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from machine import machine
from torch import nn

from scot.composers.architectures import build
from scot.training import cache
from scot.training.cache import CacheInfo, TripletEmbeddings, load_cache
from scot.training.checkpoint import checkpoint_name
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from scot.training.mapped import map_cache
from scot.training.objectives import Batch, ContrastiveLoss

_SHARD = 50_000


@dataclass(frozen=True)
class TrainBenchmark:
    """Training speed against a bare loop, or memory by the number of triplets.

    Example: python benchmarks/train.py --steps 100
    """

    triplets: tuple[int, ...] = ()
    """Measure memory with these numbers of triplets instead of speed."""
    dim: int = 128
    """Width of the embeddings."""
    batch_size: int = 1024
    """The global batch."""
    steps: int = 100
    """Steps of one round."""
    rounds: int = 5
    """Rounds, each of every loop in turn; the median counts."""
    size: int = 100_000
    """Triplets of the speed benchmark."""
    precision: str = "auto"
    """float32, bfloat16 or auto."""
    compile: bool = False
    """Also measure the trainer with torch.compile."""
    ray_data: bool = False
    """Also measure the loop fed by Ray Data."""
    scratch: Path | None = None
    """Where the synthetic caches are written, and deleted at the end; by default in the temporary folder."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: TrainBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(f"{machine()}; PyTorch {torch.__version__}, {torch.get_num_threads()} threads\n")
    if config.scratch is not None:
        config.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.scratch) as scratch:
        numbers = memory(config, Path(scratch)) if config.triplets else speed(config, Path(scratch))
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps({"machine": machine(), **numbers}, indent=2) + "\n", encoding="utf-8")
    return 0


def write_cache(folder: Path, triplets: int, dim: int, seed: int = 0) -> None:
    """Random unit vectors, a shard at a time: five edits a picture, an own caption each, half of the targets shared."""
    images, edits = max(40, triplets // 5), max(10, triplets // 100)
    texts = edits + images + triplets // 10
    about = {"encoder_id": f"synthetic@0-{dim}d", "dim": dim, "source": "synthetic"}

    def vectors(key: str, count: int, stream: int) -> Iterator[pa.Table]:
        rng = np.random.default_rng([seed, stream])
        for start in range(0, count, _SHARD):
            names = [f"{key}-{n:09d}" for n in range(start, min(count, start + _SHARD))]
            rows = rng.standard_normal((len(names), dim), np.float32)
            yield cache.vector_table(key, names, rows / np.linalg.norm(rows, axis=1, keepdims=True), dim)

    def rows() -> Iterator[pa.Table]:
        rng = np.random.default_rng([seed, 2])
        for start in range(0, triplets, _SHARD):
            number = np.arange(start, min(triplets, start + _SHARD))
            image = number % images
            columns = [
                image,
                rng.integers(0, edits, len(number)),
                edits + image,
                rng.integers(edits, texts, len(number)),
            ]
            ids = pa.array([f"triplet-{n:010d}" for n in number])
            yield pa.Table.from_arrays([ids, *map(pa.array, columns)], schema=cache.TRIPLET_SCHEMA)

    parts = [
        cache.write_vectors(folder, cache.IMAGES, vectors("image_id", images, 0), **about),
        cache.write_vectors(folder, cache.TEXTS, vectors("text", texts, 1), **about),
        cache.write_shards(f"{folder}/{cache.TRIPLETS}", "rows", rows(), shard_size=10 * _SHARD).hash,
    ]
    counts = {"images": images, "texts": texts, "triplets": triplets}
    cache.write_info(folder, CacheInfo(about["encoder_id"], dim, "synthetic", counts, {}, cache.content_hash(parts)))


# Speed


def speed(config: TrainBenchmark, scratch: Path) -> dict[str, Any]:
    """Every loop in turn, round after round."""
    write_cache(scratch / "cache", config.size, config.dim)
    data = load_cache(scratch / "cache")
    mapped = map_cache(scratch / "cache", scratch / "mapped")
    settings = TrainConfig(batch_size=config.batch_size, steps=config.steps, precision=config.precision)
    loops: dict[str, Callable[[], tuple[float, float]]] = {
        "bare loop, tensors in memory": lambda: bare(data, settings, joined(data)),
        "trainer, cache in memory": lambda: trained(data, settings, scratch),
        "trainer, cache memory-mapped": lambda: trained(mapped, settings, scratch),
    }
    if config.compile:
        compiled = TrainConfig(**{**asdict(settings), "loss": settings.loss, "compile": True})
        loops["trainer, cache memory-mapped, compiled"] = lambda: trained(mapped, compiled, scratch)
    if config.ray_data:
        loops |= ray_data_loops(data, settings, scratch)
    for loop in loops.values():  # the first round warms up
        loop()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in range(config.rounds):
        for name, loop in loops.items():
            found[name].append(loop())
    base = found["bare loop, tensors in memory"]
    print(
        f"{config.size:,} triplets of {config.dim} dimensions, batch {config.batch_size:,}, {config.steps} steps a round\n"
    )
    print("| loop | triplets/s | ÷ bare loop | waiting for data |\n|---|---|---|---|")
    numbers = {}
    for name, rounds in found.items():
        rate, wait = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(own[0] / bare_[0] for own, bare_ in zip(rounds, base, strict=True))
        print(f"| {name} | {rate:,.0f} | {ratio:.3f} | {wait:.1%} |")
        numbers[name] = {"triplets_per_s": rate, "ratio": ratio, "data_wait": wait}
    return {"loops": numbers}


def trained(data: TripletEmbeddings, settings: TrainConfig, scratch: Path) -> tuple[float, float]:
    """Triplets/s and the share of waiting of one run, its evaluation and checkpoint included."""
    trainer = Trainer(data, settings)
    waited, started = 0.0, time.perf_counter()
    before = started
    for event in trainer.run():
        waited += event.data_wait * (time.perf_counter() - before)
        if event.evaluated:
            trainer.save(scratch / checkpoint_name(event.step))
        before = time.perf_counter()
    seconds = time.perf_counter() - started
    return settings.steps * settings.batch_size / seconds, waited / seconds


@dataclass(frozen=True)
class Joined:
    """What a bare loop holds in memory: the four float32 vectors of every triplet."""

    vectors_ND: dict[str, torch.Tensor]
    texts_N: dict[str, torch.Tensor]


def joined(data: TripletEmbeddings) -> Joined:
    """All triplets gathered."""
    vectors = {f"{role}_BD": getattr(data, f"{role}_ND") for role in cache.ROLES}
    return Joined(vectors, {f"{role}_B": getattr(data, f"{role}_N") for role in cache.ROLES[1:]})


def bare(data: TripletEmbeddings, settings: TrainConfig, tensors: Joined) -> tuple[float, float]:
    """The loop that one would write by hand."""

    def batches() -> Iterator[Batch]:
        while True:
            order = torch.randperm(len(data))
            for start in range(0, len(data) - settings.batch_size + 1, settings.batch_size):
                rows = order[start : start + settings.batch_size]
                columns = {**tensors.vectors_ND, **tensors.texts_N}
                yield Batch(**{name: column[rows] for name, column in columns.items()})

    return fed(batches(), data.dim, settings)


def fed(batches: Iterator[Batch], dim: int, settings: TrainConfig) -> tuple[float, float]:
    """Triplets/s and the share of waiting of a loop over ready batches."""
    torch.manual_seed(0)
    composer = build(settings.architecture, {"dim": dim})
    loss = ContrastiveLoss(settings.loss)
    parameters = [*composer.parameters(), *loss.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.lr, fused=True)
    bfloat16 = Trainer.__init__.__globals__["_autocast"](settings.precision, torch.device("cpu"))
    next(batches)  # a stream's start is not its speed
    waited, started = 0.0, time.perf_counter()
    for _ in range(settings.steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            query_BD = composer(batch.image_BD, batch.edit_BD)
        value = loss(query_BD, batch)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
    seconds = time.perf_counter() - started
    return settings.steps * settings.batch_size / seconds, waited / seconds
