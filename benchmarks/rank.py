"""What ranking by a language model's log-probabilities does to the edits of captions: acceptance, and a sheet to judge.

    .venv-vllm/bin/python benchmarks/rank.py --captions captions.txt --engine vllm --model MODEL \
        --output rank.json --sheet sheet.txt

The slots engine edits every caption alone and with its edits ranked. The sheet has as many edits of each, drawn with a
fixed seed, shuffled, and without a word of which is which; the output has the key, for after the sheet is judged by the
rules in docs/edits.md. Captions are one a line.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.edits.engines import EngineConfig
from scot.edits.filters import TextFilters
from scot.edits.generators import EditGenerator, load_generator
from scot.edits.generators.slots import SlotsGenerator
from scot.edits.record import CaptionEdits
from scot.errors import InvalidInput

_AT_ONCE = 32  # captions in a call


@dataclass(frozen=True, slots=True)
class RankConfig:
    """Compare the slots engine alone with the same edits ranked by a model."""

    captions: Path = Path("captions.txt")
    """A file of captions, one a line."""
    engine: EngineConfig = field(default_factory=partial(EngineConfig, engine="vllm", model="model"))
    """The model: openai or vllm."""
    count: int = 4
    """Edits of each caption."""
    sheet_edits: int = 100
    """Edits of each arm on the sheet."""
    seed: int = 0
    """The seed of the edits and of the sheet."""
    sheet: Path = Path("sheet.txt")
    """The edits to judge."""
    output: Path = Path("rank.json")
    """The numbers, and the key to the sheet."""


def main(config: RankConfig) -> int:
    """Measure and write the sheet."""
    captions = [line.strip() for line in config.captions.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not captions:
        raise InvalidInput(f"{config.captions} has no caption")
    made = asyncio.run(_both(config, captions))
    numbers: dict[str, Any] = {name: _numbers(results, seconds) for name, (results, seconds) in made.items()}
    rng = random.Random(config.seed)
    rows = [row for name, (results, _) in made.items() for row in _drawn(name, captions, results, config, rng)]
    rng.shuffle(rows)
    config.sheet.write_text(
        "".join(f"{number}\t{row[1]}\t{row[2]}\t{row[3]}\n" for number, row in enumerate(rows)), encoding="utf-8"
    )
    config.output.write_text(json.dumps({**numbers, "key": [row[0] for row in rows]}, indent=1), encoding="utf-8")
    for name, values in numbers.items():
        print(f"{name}: {values}")
    return 0


async def _both(config: RankConfig, captions: list[str]) -> dict[str, tuple[list[CaptionEdits], float]]:
    alone = SlotsGenerator(TextFilters())
    made = {"alone": await _edits(alone, captions, config)}
    ranked = load_generator(replace(config.engine, rank=True))
    try:
        made["ranked"] = await _edits(ranked, captions, config)
    finally:
        await ranked.close()
    return made


async def _edits(generator: EditGenerator, captions: list[str], config: RankConfig) -> tuple[list[CaptionEdits], float]:
    results: list[CaptionEdits] = []
    started = time.process_time()
    for start in range(0, len(captions), _AT_ONCE):
        part = captions[start : start + _AT_ONCE]
        results += await generator.generate(part, count=config.count, seed=config.seed)
    return results, time.process_time() - started


def _numbers(results: list[CaptionEdits], seconds: float) -> dict[str, Any]:
    edited = sum(bool(result.edits) for result in results)
    refused = sum((result.refused for result in results), Counter[str]())
    return {
        "captions": len(results),
        "with_an_edit": edited,
        "share": edited / len(results),
        "edits": sum(len(result.edits) for result in results),
        "refused": dict(refused),
        "tokens_each": sum(result.prompt_tokens for result in results) / len(results),
        "cpu_seconds_here": seconds,
    }


def _drawn(
    name: str, captions: list[str], results: list[CaptionEdits], config: RankConfig, rng: random.Random
) -> list[tuple[str, str, str, str]]:
    pairs = zip(captions, results, strict=True)
    rows = [(name, caption, edit.edit, edit.edited_caption) for caption, result in pairs for edit in result.edits]
    return rng.sample(rows, min(config.sheet_edits, len(rows)))


if __name__ == "__main__":
    sys.exit(flags.run("rank.py", main, RankConfig))
