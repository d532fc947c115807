"""How a result is shown: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scot.evaluation.world_vectors import ORACLE, RECALL_AT, SUBSET_AT, WorldResult


def report_console() -> Console:
    """A console that is wide enough for the tables where it is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def print_result(result: WorldResult, console: Console) -> None:
    """Print one world's table and the two ratios that matter."""
    title = f"{result.world}: {result.queries:,} queries over {result.gallery:,} pictures ({result.encoder})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("query vector")
    for k in RECALL_AT:
        table.add_column(f"R@{k}", justify="right")
    for k in SUBSET_AT:
        table.add_column(f"Rsub@{k}", justify="right")
    for row in result.rows:
        cells = []
        for metric in (*(f"recall@{k}" for k in RECALL_AT), *(f"recall_subset@{k}" for k in SUBSET_AT)):
            estimate = row.metrics[metric]
            half = (estimate.high - estimate.low) / 2
            interval = f" ±{half:.3f}" if metric.endswith("@1") else ""
            cells.append(f"{estimate.value:.3f}{interval}")
        table.add_row(row.name, *cells, style="bold" if row.learned else None)
    console.print(table)
    best = result.best_baseline()
    for row in result.rows:
        if row.learned:
            of_oracle = row.metrics["recall@1"].value / max(result.value(ORACLE), 1e-9)
            times = row.metrics["recall@1"].value / max(best.metrics["recall@1"].value, 1e-9)
            ratios = f"{of_oracle:.2f} of the oracle, {times:.1f}x the best baseline ({best.name})"
            console.print(f"{result.world}: {row.name} R@1 is {ratios}")


def write_json(results: Sequence[WorldResult], file: Path, extra: dict[str, Any] | None = None) -> None:
    """Write every number at full precision."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**(extra or {}), "worlds": {result.world: result.to_json() for result in results}}, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
