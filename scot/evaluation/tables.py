"""How results are shown: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scot.data.storage import Folder
from scot.evaluation.base import Benchmark
from scot.evaluation.comparison import ORACLE, Comparison
from scot.evaluation.scoring import Scores

_SHORT = {"recall_subset@": "Rsub@", "recall@": "R@", "map@": "mAP@", "mean_r5_rsub1": "(R@5+Rsub@1)/2"}
"""What a table's columns are called in papers."""
_WIDE = 16
"""More columns than this have no room; then the numbers @K of every K are a row."""
_HEADINGS = re.compile("|".join(_SHORT))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print one world's table and the two ratios that matter."""
    size = f"{comparison.queries:,} queries over {comparison.gallery:,} pictures"
    title = f"{comparison.world}: {size} ({comparison.encoder})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("query vector")
    for metric in comparison.rows[0].metrics:
        table.add_column(_heading(metric), justify="right")
    for row in comparison.rows:
        cells = []
        for metric, estimate in row.metrics.items():
            half = (estimate.high - estimate.low) / 2
            cells.append(f"{estimate.value:.3f}{f' ±{half:.3f}' if metric.endswith('@1') else ''}")
        table.add_row(row.name, *cells, style="bold" if row.learned else None)
    console.print(table)
    best = comparison.best_baseline()
    for row in comparison.rows:
        if row.learned:
            of_oracle = row.metrics["recall@1"].value / max(comparison.value(ORACLE), 1e-9)
            times = row.metrics["recall@1"].value / max(best.metrics["recall@1"].value, 1e-9)
            ratios = f"{of_oracle:.2f} of the oracle, {times:.1f}x the best baseline ({best.name})"
            console.print(f"{comparison.world}: {row.name} R@1 is {ratios}")


def write_comparisons(file: Path, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Write every number at full precision; returns what is written."""
    result = {"worlds": {each.world: each.to_json() for each in comparisons}}
    _write_json(file, result)
    return result


def print_scores(benchmark: Benchmark, scores: Scores, console: Console) -> None:
    """The official table in percent, the protocol, and every deviation from it."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in scores.metrics.items():
        left, _, right = name.partition("/")
        row, column = (right, left) if "@" in left else (left, right) if right else ("", name)
        rows.setdefault(row, {})[column] = value
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    if len(columns) > _WIDE:
        rows = _by_cutoff(scores.metrics)
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    title = f"{benchmark.name} {benchmark.split}: {benchmark.queries:,} queries, percent"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(_heading(column), justify="right")
    for row, values in rows.items():
        table.add_row(row, *(f"{100 * values[column]:.2f}" if column in values else "" for column in columns))
    console.print(table)
    print_protocol(benchmark, console)


def _by_cutoff(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """A row for each K of ``metric@K``, and one for the metrics without."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        metric, _, cutoff = name.partition("@")
        rows.setdefault(cutoff and f"@{cutoff}", {})[metric] = value
    return rows


def print_protocol(benchmark: Benchmark, console: Console) -> None:
    """The protocol, and every deviation from it."""
    for key, value in benchmark.protocol.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        console.print(f"{key}: {text}", markup=False, highlight=False)
    for deviation in benchmark.deviations:
        console.print(f"not the published protocol: {deviation}", markup=False, highlight=False)


def write_result(
    file: Path,
    benchmark: Benchmark,
    scores: Scores | None,
    *,
    model: Mapping[str, str] | None = None,
    per_query: bool = False,
) -> None:
    """Write the result at full precision; ``scores`` is None where the answers are secret."""
    result: dict[str, Any] = {
        "benchmark": benchmark.name,
        "split": benchmark.split,
        **({"model": dict(model)} if model else {}),
        "protocol": benchmark.protocol_and_deviations(),
        "queries": benchmark.queries,
        "metrics": dict(scores.metrics) if scores else {},
        **({"per_query": list(scores.per_query)} if scores and per_query else {}),
    }
    _write_json(file, result)


def _heading(metric: str) -> str:
    return _HEADINGS.sub(lambda found: _SHORT[found[0]], metric)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    Folder(file.parent).write(file.name, (json.dumps(content, indent=2) + "\n").encode())
