"""What keeping embeddings saves: ``python benchmarks/cache.py --model ViT-B-32``.

Composes the same queries twice in one process, as a Composer replica does: cold, when every picture and text goes
through its tower, and warm, when all of them are found. ``--model`` is the packaged encoder or any architecture of
open_clip with random weights, which take as long as trained ones. The machine's line comes first, since the numbers
mean nothing without it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import open_clip
import torch
from PIL import Image

from scot import flags
from scot.client import Edit
from scot.composers import baseline
from scot.encoders import Encoder, load_encoder
from scot.encoders.clip import ClipEncoder
from scot.machine import machine
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import ComposeJob, ComposeTurn


@dataclass(frozen=True, slots=True)
class CacheBenchmark:
    """Measure queries whose embeddings are kept against queries whose are not."""

    model: str = "tiny"
    """tiny, or the name of an open_clip model, to be made with random weights."""
    queries: int = 64
    """Queries, each with a picture and a text of its own."""
    batch: int = 1
    """Queries composed at once."""
    rounds: int = 5
    """Times that both are measured; the medians count."""
    threads: int = 2
    """CPU threads of the towers."""
    output: Path | None = None
    """Where to write the numbers as JSON."""


def main(config: CacheBenchmark) -> int:
    """Measure and print."""
    torch.set_num_threads(config.threads)
    print(machine(), flush=True)
    encoder = made(config.model)
    noise = np.random.default_rng(0).integers(0, 255, (config.queries, 64, 64, 3), np.uint8)
    jobs = [
        ComposeJob(
            (
                ComposeTurn(
                    images=((encoder.preprocess(Image.fromarray(picture)), 1.0),),
                    edits=(Edit(f"make it {number} times larger, red and striped"),),
                ),
            ),
            "sum",
        )
        for number, picture in enumerate(noise)
    ]
    batches = [jobs[start : start + config.batch] for start in range(0, len(jobs), config.batch)]

    def milliseconds(encoder: CachedEncoder) -> float:
        begun = time.perf_counter()
        for batch in batches:
            compose_batch(encoder, baseline, batch)
        return (time.perf_counter() - begun) * 1_000 / len(jobs)

    milliseconds(CachedEncoder(encoder))
    times: dict[str, list[float]] = {"off": [], "cold": [], "warm": []}
    for _ in range(config.rounds):
        kept = CachedEncoder(encoder, 2**30)
        times["off"].append(milliseconds(CachedEncoder(encoder)))
        times["cold"].append(milliseconds(kept))
        times["warm"].append(milliseconds(kept))
    numbers: dict[str, Any] = {name: float(np.median(each)) for name, each in times.items()}
    numbers |= {"ratio": numbers["cold"] / numbers["warm"], "bytes": kept.size / (2 * len(jobs))}
    print(
        f"{config.model}, batches of {config.batch}, {config.threads} threads: "
        f"{numbers['off']:.2f} ms a query without, {numbers['cold']:.2f} cold, "
        f"{numbers['warm']:.2f} warm: {numbers['ratio']:.1f} times; {numbers['bytes']:.0f} bytes an embedding"
    )
    if config.output:
        config.output.write_text(json.dumps({"machine": machine(), **numbers}, indent=2), encoding="utf-8")
    return 0


def made(name: str) -> Encoder:
    """The packaged encoder, or an open_clip model with random weights."""
    if name == "tiny":
        return load_encoder("tiny", device="cpu")
    torch.manual_seed(0)
    model = open_clip.create_model(name, precision="fp32")
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    return ClipEncoder(name, model, {"size": size}, open_clip.get_tokenizer(name))


if __name__ == "__main__":
    sys.exit(flags.run("cache benchmark", main, CacheBenchmark))
