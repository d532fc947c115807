"""``scot evaluate BENCHMARK``: score ranking files or run a model; print the official table and write JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scot.composers import BASELINES, Composer, baseline
from scot.data.shards import Folder
from scot.encoders import Encoder, load_encoder
from scot.errors import InvalidInput
from scot.evaluation import circo, cirr, fashioniq, genecis, worlds
from scot.evaluation.base import Benchmark
from scot.evaluation.best_and_worst import best_and_worst
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.contact_sheet import save_sheet
from scot.evaluation.model import run_model
from scot.evaluation.rankings import read_rankings, write_rankings
from scot.evaluation.report import report_console
from scot.evaluation.scoring import Scores, score
from scot.evaluation.submissions import check_submission
from scot.evaluation.world_run import chosen_composers

_LOADERS: dict[type[BenchmarkConfig], Callable[[Any], Benchmark]] = {
    cirr.CirrConfig: cirr.load,
    fashioniq.FashionIqConfig: fashioniq.load,
    circo.CircoConfig: circo.load,
    genecis.GenecisConfig: genecis.load,
    worlds.WardrobeConfig: worlds.load,
    worlds.ScenesConfig: worlds.load,
}

_SHORT = {"recall_subset@": "Rsub@", "recall@": "R@", "map@": "mAP@", "mean_r5_rsub1": "(R@5+Rsub@1)/2"}
"""What a table's columns are called in papers."""
_HEADINGS = re.compile("|".join(_SHORT))


def evaluate_benchmark(config: BenchmarkConfig) -> int:
    """Score ``config.rankings``, or run a model on ``config.images``.

    Raises:
        ScotError: annotations, rankings, images, encoder or composer cannot be used; the message says which and why.
    """
    files = [file for group in config.rankings for file in group]
    drawn = isinstance(config, worlds.WorldConfig)
    if files and config.images is not None:
        raise InvalidInput("--rankings and --images are two ways to use this command: give one of them")
    if not files and config.images is None and not drawn:
        raise InvalidInput("give --rankings FILE to score, or --images DIR to run a model on")
    console = report_console()
    benchmark = _LOADERS[type(config)](config)
    if files:
        rankings = read_rankings(files, benchmark)
        scores = score(benchmark, rankings)
        print_scores(benchmark, scores, console)
        if config.json is not None:
            write_result(config.json, benchmark, scores, per_query=config.per_query)
        return 0
    return _run(config, benchmark, console)


def print_scores(benchmark: Benchmark, scores: Scores, console: Console) -> None:
    """The official table in percent, the protocol, and every deviation from it."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in scores.metrics.items():
        left, _, right = name.partition("/")
        row, column = (right, left) if "@" in left else (left, right) if right else ("", name)
        rows.setdefault(row, {})[column] = value
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    title = f"{benchmark.name} {benchmark.split}: {benchmark.queries:,} queries, percent"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(_HEADINGS.sub(lambda found: _SHORT[found[0]], column), justify="right")
    for row, values in rows.items():
        table.add_row(row, *(f"{100 * values[column]:.2f}" if column in values else "" for column in columns))
    console.print(table)
    print_protocol(benchmark, console)


def print_protocol(benchmark: Benchmark, console: Console) -> None:
    """The protocol, and every deviation from it."""
    for key, value in benchmark.protocol.items():
        told = ", ".join(map(str, value)) if isinstance(value, list) else value
        console.print(f"{key}: {told}", markup=False, highlight=False)
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
        "protocol": benchmark.told(),
        "queries": benchmark.queries,
        "metrics": dict(scores.metrics) if scores else {},
        **({"per_query": list(scores.per_query)} if scores and per_query else {}),
    }
    Folder(file.parent).write(file.name, (json.dumps(result, indent=2) + "\n").encode())


def _run(config: BenchmarkConfig, benchmark: Benchmark, console: Console) -> int:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    encoder = load_encoder(config.encoder)
    composer = _composer(config, encoder)
    images = config.images or config.annotations or config.output
    cache = config.output / "cache"
    run = run_model(benchmark, encoder, composer, images, cache, skip_missing=config.skip_missing, on_progress=say)
    model = {"encoder": encoder.id, "composer": composer.name}
    written = write_rankings(config.output, run.benchmark, run.rankings)
    scores = score(run.benchmark, run.rankings) if benchmark.answered else None
    if scores is not None:
        print_scores(run.benchmark, scores, console)
        sheet = config.output / f"{benchmark.name}-{benchmark.split}.png"
        save_sheet(best_and_worst(run, scores, title=f"{benchmark.name} {benchmark.split} · {composer.name}"), sheet)
        say(f"contact sheet: {sheet}")
    else:
        print_protocol(run.benchmark, console)
        for file in written:
            check_submission(file, run.benchmark)
        say("the answers are the authors' server's: send it the ranking files")
    say(f"composer {composer.name}, encoder {encoder.id}; ranking files: {', '.join(map(str, written))}")
    results = [config.output / f"{benchmark.name}-{benchmark.split}-result.json"]
    for result in results + ([config.json] if config.json is not None else []):
        write_result(result, run.benchmark, scores, model=model, per_query=config.per_query)
    return 0


def _composer(config: BenchmarkConfig, encoder: Encoder) -> Composer:
    if config.composer.partition(":")[0] in BASELINES:
        return baseline(config.composer)
    names = [config.composer] if config.composer else []
    found = chosen_composers(config.composers, names, encoder.id, encoder.dim)
    if not found:
        raise InvalidInput(
            f"name a --composer: a baseline ({', '.join(BASELINES)}), an artifact folder or a version of --composers"
        )
    return found[0]
