"""How many captions a second the rules engine edits on one core.

    python benchmarks/rules.py --output rules.json

The captions are the drawn worlds', drawn before the clock starts. Each number is the best of several rounds, each with
a seed of its own, in processor time: what else the machine does then disturbs it least.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.edits.rules import RulesEngine
from scot.machine import machine
from scot.worlds import WORLDS, load_world

COUNTS = (1, 4)


@dataclass(frozen=True, slots=True)
class RulesBenchmark:
    """Measure the rules engine on captions of the drawn worlds.

    Example: python benchmarks/rules.py --captions 2000
    """

    captions: int = 2_000
    """Captions of each world."""
    rounds: int = 5
    """Rounds of each measurement; the best one counts."""
    seed: int = 0
    """Which captions."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: RulesBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(f"{machine()}\n\n| world | edits a caption | captions/s | µs a caption |\n|---|---|---|---|")
    rates: dict[str, dict[str, float]] = {}
    for world in WORLDS:
        captions = drawn(world, config.captions, config.seed)
        rates[world] = {f"count={count}": rate(captions, count, config.rounds) for count in COUNTS}
        for count, per_second in zip(COUNTS, rates[world].values(), strict=True):
            print(f"| {world} | {count} | {per_second:,.0f} | {1e6 / per_second:.1f} |", flush=True)
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        numbers = {"machine": machine(), "version": RulesEngine.prompt_version, "captions_per_second": rates}
        config.output.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 0


def drawn(name: str, count: int, seed: int) -> list[str]:
    """Captions of a world, without the pictures."""
    world, rng = load_world(name), random.Random(f"{name}-{seed}")
    return [world.caption(world.sample(rng), rng) for _ in range(count)]


def rate(captions: Sequence[str], count: int, rounds: int) -> float:
    """Captions per second of processor time in the best round."""
    engine = RulesEngine()
    seconds = []
    for seed in range(rounds):
        begun = time.process_time()
        for caption in captions:
            engine.edits(caption, count=count, seed=seed)
        seconds.append(time.process_time() - begun)
    return len(captions) / min(seconds)


if __name__ == "__main__":
    sys.exit(flags.run("rules.py", main, RulesBenchmark))
