"""How fast a whole benchmark is ranked from cached embeddings: CIRCO test, 800 queries over 123,403 pictures, 768-d.

    python benchmarks/score.py --output score.json

The vectors are random unit vectors in the cache format of an encoding run. It compares the ranking of ``scot evaluate``
(read the shards, rank, keep the order of equal scores, leave out excluded rows) with a plain blocked matrix product
with top-k on a gallery in memory. They take turns in one process, so other load on the machine affects both; the
ratio is the median over the rounds, of wall-clock time and of processor time. The peak memory of each is measured in a
process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import normalize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.evaluation.embedding_store import SHARD, StoredVectors, write_shard
from scot.evaluation.topk import BLOCK, top_k
from scot.machine import machine

DEPTH = 50
NAMES = ("scot, from the cache on disk", "plain product and top-k, in memory")


@dataclass(frozen=True, slots=True)
class ScoreBenchmark:
    """Rank a synthetic CIRCO test from cached embeddings, against a plain matrix product with top-k.

    Example: python benchmarks/score.py --rounds 5
    """

    queries: int = 800
    """Queries."""
    pictures: int = 123_403
    """Pictures of the gallery."""
    dim: int = 768
    """Width of the vectors."""
    rounds: int = 5
    """Rounds; the medians count."""
    threads: int = 0
    """Threads of PyTorch; 0: as many as it takes."""
    output: Path | None = None
    """Also write the numbers as JSON."""


Ranks = Callable[[], torch.Tensor]
Prepare = Callable[[torch.Tensor, StoredVectors], Ranks]


def main(config: ScoreBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(machine(), flush=True)
    if config.threads:
        torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as folder:
        stored, query_QD = synthetic(config, Path(folder))
        memory = [in_a_process(peak_mib, prepare, query_QD, stored) for prepare in (scot_ranks, plain_ranks)]
        runs = [prepare(query_QD, stored) for prepare in (scot_ranks, plain_ranks)]
        same = float((runs[0]() == runs[1]()).float().mean())  # and both are warm now
        rounds = [[timed(run) for run in runs] for _ in range(config.rounds)]
    print("\n| | wall s | processor s | peak memory, MiB |\n|---|---|---|---|")
    for name, times, mib in zip(NAMES, zip(*rounds, strict=True), memory, strict=True):
        wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {mib:,.0f} |")
    wall, processor = (statistics.median(mine[n] / plain[n] for mine, plain in rounds) for n in (0, 1))
    print(f"\nratio {wall:.2f} in wall-clock time, {processor:.2f} in processor time (medians of {len(rounds)} rounds)")
    print(f"{same:.4%} of the ranked places hold the same picture")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine(), "ratio": {"wall": wall, "processor": processor}, "seconds": rounds}
        text = json.dumps({**result, "peak_mib": dict(zip(NAMES, memory, strict=True))}, indent=2)
        config.output.write_text(text + "\n", encoding="utf-8")
    return 0


def synthetic(config: ScoreBenchmark, folder: Path) -> tuple[StoredVectors, torch.Tensor]:
    """A cache of random unit vectors, and the queries ``(Q, D)``."""
    generator = torch.Generator().manual_seed(0)
    names = [str(number) for number in range(config.pictures)]
    files = []
    for start in range(0, config.pictures, SHARD):
        lot = names[start : start + SHARD]
        rows_BD = normalize(torch.randn(len(lot), config.dim, generator=generator), dim=1)
        files.append(folder / f"{start}.safetensors")
        write_shard(files[-1], rows_BD, lot, {})
    query_QD = normalize(torch.randn(config.queries, config.dim, generator=generator), dim=1)
    return StoredVectors(tuple(files), tuple(names), (config.dim,), {}), query_QD


def scot_ranks(query_QD: torch.Tensor, stored: StoredVectors) -> Ranks:
    """As ``scot evaluate`` ranks."""
    excluded = [[query] for query in range(len(query_QD))]
    return lambda: top_k(query_QD, stored.blocks(reuse=True), DEPTH, excluded)[0]


def plain_ranks(query_QD: torch.Tensor, stored: StoredVectors) -> Ranks:
    """The product by blocks of the gallery, the best of each block, and the best of those."""
    gallery_ND = torch.cat(list(stored.blocks()))

    def ranks() -> torch.Tensor:
        values, columns = [], []
        for start in range(0, len(gallery_ND), BLOCK):
            best = (query_QD @ gallery_ND[start : start + BLOCK].T).topk(DEPTH, dim=1)
            values.append(best.values)
            columns.append(best.indices + start)
        chosen = torch.cat(values, dim=1).topk(DEPTH, dim=1).indices
        return torch.cat(columns, dim=1).gather(1, chosen)

    return ranks


def timed(run: Ranks) -> tuple[float, float]:
    """Wall-clock and processor seconds of one run."""
    begun, worked = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun, time.process_time() - worked


def in_a_process(measure: Callable[..., float], *arguments: object) -> float:
    """Call it in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def peak_mib(prepare: Prepare, query_QD: torch.Tensor, stored: StoredVectors) -> float:
    """The most memory that preparing and running took beyond what the process held before, in MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prepare(query_QD, stored)()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    sys.exit(flags.run("score.py", main, ScoreBenchmark))
