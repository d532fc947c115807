"""The engine that ``auto`` stands for: the best of those that are there, for the captions at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scot.edits.engines import EngineConfig
from scot.edits.pairs import mine
from scot.edits.rules import RulesEngine
from scot.edits.slots import SlotsEngine

SAMPLE = 20_000
"""The captions on which ``auto`` decides whether a corpus has pairs."""
_TRIED = 200
_LEAST_WITH_PAIRS = 0.4
_LEAST_BY_RULES = 0.9


def choose_engine(config: EngineConfig, rows: Sequence[tuple[str, str]], *, seed: int) -> tuple[EngineConfig, str]:
    """The engine for a sample of a corpus (image id, caption), and why, in one line.

    A model, if one is configured; else the pairs of the corpus, if enough of the sample have one; else the rules, if
    they know nearly all of the captions; else the slots.
    """
    if config.model:
        name = "openai" if config.url else "vllm"
        does = "ranks the edits of the engine slots" if config.rank else "is configured"
        return replace(config, engine=name), f"engine {name}: the model {config.model} {does}"
    if config.url:
        return replace(config, engine="service"), f"engine service: {config.url} is configured"
    share = mine(rows, seed=seed).share_with_pairs()
    found = f"{share:.0%} of {len(rows):,} captions have another that differs in a few words"
    if share >= _LEAST_WITH_PAIRS:
        return replace(config, engine="pairs"), f"engine pairs: {found}"
    tried = [caption for _, caption in rows[:: max(1, len(rows) // _TRIED)]][:_TRIED]
    by_rules, by_slots = (_yield(engine, tried) for engine in (RulesEngine(), SlotsEngine()))
    name, edited = ("rules", by_rules) if by_rules >= max(_LEAST_BY_RULES, by_slots) else ("slots", by_slots)
    return replace(config, engine=name), f"engine {name}: it edits {edited:.0%} of a sample; only {found}"


def _yield(engine: RulesEngine | SlotsEngine, captions: Sequence[str]) -> float:
    """The share of captions that an engine edits."""
    return sum(bool(engine.edits(caption, count=1, seed=0).edits) for caption in captions) / max(1, len(captions))
