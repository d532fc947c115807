"""What int8 costs where hidden states are stored: ``python benchmarks/state_types.py --world scenes --seeds 3``.

Draws pictures, writes edits by rules, and encodes both with float16 and with int8 states. Then a token_combiner is
trained on each cache with the same seeds, and recalls what is held out: its own edits, and pairs of pictures (nan where
they are too few).
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from scot import flags
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.engines import EngineConfig
from scot.edits.generation import generate_triplets
from scot.embeddings import cache
from scot.embeddings.cache import TripletEmbeddings, load_cache
from scot.embeddings.encode import encode_triplets
from scot.embeddings.hidden_states import StateType
from scot.evaluation.pairs import find_pairs
from scot.machine import machine
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from scot.worlds.base import WorldName
from scot.worlds.drawing import DrawConfig, draw

_SHOWN = ("recall@1", "recall@10", "pairs/recall@1", "pairs/recall@10")


@dataclass(frozen=True, slots=True)
class StateTypesBenchmark:
    """Train on float16 and on int8 states.

    Example: python benchmarks/state_types.py --world scenes --seeds 3
    """

    world: WorldName = "scenes"
    """Which drawn world."""
    size: int = 3_000
    """Pictures."""
    steps: int = 250
    """Training steps of 256 triplets."""
    seeds: int = 3
    """Training seeds."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: StateTypesBenchmark) -> int:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    print(machine(), flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        caches = encoded(config, Path(folder))
        half, eighth = (caches[kind].image_states for kind in get_args(StateType))
        assert half is not None
        assert eighth is not None
        least = float(cosine_similarity(half.values_TW.float(), eighth.values_TW.float()).min())
        print(f"the least cosine of an image's states and their int8: {least:.5f}\n")
        print(f"| states | seed | {' | '.join(_SHOWN)} |\n|---|---|{'---|' * len(_SHOWN)}", flush=True)
        for seed in range(config.seeds):
            for kind, data in caches.items():
                rows.append({"states": kind, "seed": seed, **trained(config, data, seed)})
                numbers = " | ".join(f"{rows[-1].get(name, math.nan):.3f}" for name in _SHOWN)
                print(f"| {kind} | {seed} | {numbers} |", flush=True)
    for kind in caches:
        means = [np.mean([row.get(name, math.nan) for row in rows if row["states"] == kind]) for name in _SHOWN]
        print(f"| {kind} | mean | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def encoded(config: StateTypesBenchmark, folder: Path) -> dict[StateType, TripletEmbeddings]:
    """The same triplets with each type of states."""
    source, triplets = str(folder / "pictures"), str(folder / "triplets")
    with redirect_stdout(sys.stderr):
        draw(DrawConfig(config.world, Path(source), "train", config.size, 0, 0))
    rules = GenerationConfig(engine=EngineConfig(engine="rules"), edits_per_caption=4)
    generate_triplets([source], triplets, config=rules, num_workers=0)
    caches: dict[StateType, TripletEmbeddings] = {}
    for kind in get_args(StateType):
        out = folder / kind
        encode_triplets(
            [source], [triplets], str(out), num_workers=0, states=True, state_type=kind, find_pairs=find_pairs
        )
        size = sum(path.stat().st_size for name in cache.STATES.values() for path in (out / name).glob("*.parquet"))
        print(f"{kind}: {size / 1e6:.1f} MB of states", flush=True)
        caches[kind] = load_cache(out)
    return caches


def trained(config: StateTypesBenchmark, data: TripletEmbeddings, seed: int) -> dict[str, float]:
    """The held-out recalls of a run."""
    settings = TrainConfig(
        architecture="token_combiner", projection=128, hidden=256, batch_size=256, steps=config.steps,
        eval_every=config.steps, patience=0, seed=seed, held_out=0.15,
    )  # fmt: skip
    trainer = Trainer(data, settings)
    for _ in trainer.run():
        pass
    return trainer.best


if __name__ == "__main__":
    sys.exit(flags.run("state types benchmark", main, StateTypesBenchmark))
