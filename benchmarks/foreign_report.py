"""The tables of the foreign benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import foreign_flags, foreign_icons
from benchmarks.quality_report import replace_section

_METRICS = {"recall@1": "R@1", "recall@10": "R@10", "recall_subset@1": "Rsub@1"}
_TITLE = "## On data nobody here drew"
_HEAD = """\
Two sets whose pictures come from packages: *icons*, whose names and styles (outlined, filled) are those of icon
packages, in a color and on a ground that the caption tells; *flags*, two in a picture, in frames and on a ground. The
pictures to search are those of one vendor more, whose drawings neither the encoder nor the composers saw. `python
benchmarks/foreign.py --work foreign --report docs/quality.md` writes this section. The encoder of each set is a small
open_clip model trained from nothing on the vendors to learn from. Before, its text tower learned to tell the words
of captions and edits, those of the sets, of the engine `pairs` and of the corpus of `bootstrap`, as a real CLIP's tells
them. *T_u* searches with the true edited caption, *I + T_u − T_o* moves the picture by the true captions. The intervals
are 95 % over the queries.

The encoders are weaker than a real CLIP, so only lines of one table can be compared. A set without a table, and a run
without a line, has not been measured."""

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Of each set and run, the evaluations, one a seed."""


def write_report(results: Results, page: Path | None, *, about: str) -> None:
    """Print the tables; with ``page``, put them into its section."""
    parts = [_HEAD, about, *(table(name, runs) for name, runs in results.items() if runs), packages()]
    text = "\n\n".join(parts)
    print(text)
    if page is not None:
        replace_section(page, _TITLE, text)


def table(name: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The oracles, the learned composers and the baselines of one set, with R@1 over the references'."""
    first = next(iter(runs.values()))[0]
    rows = dict(first["rows"])
    rows.pop(first["composer"])
    oracles = {key: rows.pop(key) for key in ("oracle_moved", "oracle") if key in rows}
    learned = {run: [_learned(each) for each in seeds] for run, seeds in runs.items()}
    best = max(rows, key=lambda key: rows[key]["recall@1"]["value"])
    over = {"oracle": oracles["oracle"], "I + T_u − T_o": oracles.get("oracle_moved"), "best baseline": rows[best]}
    over = {key: row for key, row in over.items() if row}
    size = f"{first['queries']:,} queries over {first['gallery']:,} pictures"
    head = [f"{name}: {size}", *_METRICS.values(), *(f"R@1 ÷ {key}" for key in over)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    shown = [(_name(key), [row]) for key, row in oracles.items()]
    shown += [(f"composer: {run}{_seeds(seeds)}", seeds) for run, seeds in learned.items()]
    shown += [(_name(key), [row]) for key, row in rows.items()]
    for label, seeds in shown:
        cells = [_cell(seeds, metric) for metric in _METRICS]
        cells += [f"{_mean(seeds, 'recall@1') / max(row['recall@1']['value'], 1e-9):.2f}" for row in over.values()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def packages() -> str:
    """What the sets are made of: packages, versions, licenses, and who is learned from."""
    lines = ["| package | version | license | |", "|---|---|---|---|"]
    for name, world in (("icons", foreign_icons), ("flags", foreign_flags)):
        for what, group in (("to learn from", world.TRAIN), ("to search", world.EVALUATION)):
            lines += [f"| `{each.name}` | {each.version} | {each.license} | {name} {what} |" for each in group]
    names = foreign_flags.NAMES
    lines.append(f"| `{names.name}` | {names.version} | {names.license} | the countries' names |")
    return "\n".join(lines)


def _learned(result: Mapping[str, Any]) -> Mapping[str, Any]:
    row: Mapping[str, Any] = result["rows"][result["composer"]]
    return row


def _mean(seeds: Sequence[Mapping[str, Any]], metric: str) -> float:
    return statistics.mean(float(row[metric]["value"]) for row in seeds)


def _cell(seeds: Sequence[Mapping[str, Any]], metric: str) -> str:
    half = statistics.mean((row[metric]["high"] - row[metric]["low"]) / 2 for row in seeds)
    return f"{_mean(seeds, metric):.3f} ± {half:.3f}"


def _seeds(seeds: Sequence[object]) -> str:
    return f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""


def _name(key: str) -> str:
    return {"oracle_moved": "I + T_u − T_o of the true captions", "oracle": "T_u of the true edited captions"}.get(
        key, key
    )
