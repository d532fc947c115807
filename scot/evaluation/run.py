"""``scot evaluate``: composers side by side on drawn galleries, or one benchmark by its own protocol."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from scot.baselines import BASELINES, NATIVE
from scot.composers import Composer, Registry, baseline, open_composer
from scot.data.filesystems import is_url
from scot.data.mirror import working_folder
from scot.data.places import Place, open_place
from scot.encoders import Encoder, load_encoder
from scot.errors import InvalidFlag, InvalidInput, NotFound
from scot.evaluation.base import Benchmark, Rankings
from scot.evaluation.benchmarks import entry_of
from scot.evaluation.comparison import Comparison, compare
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.contact_sheet import save_sheet
from scot.evaluation.model import encode_benchmark
from scot.evaluation.pairs import read_pairs
from scot.evaluation.query_sheet import best_and_worst, even_sample
from scot.evaluation.rankings import read_rankings, write_rankings
from scot.evaluation.rerank import Images, rerank_benchmark
from scot.evaluation.scoring import score
from scot.evaluation.submissions import check_submission
from scot.evaluation.tables import (
    print_comparison,
    print_protocol,
    print_scores,
    write_comparisons,
    write_result,
)
from scot.evaluation.worlds import read_gallery
from scot.progress import Progress, report_console
from scot.results import print_json


@dataclass(frozen=True)
class ComparisonConfig:
    """Composers side by side with the baselines and the oracles."""

    composers: str | None = None
    """A registry of composers, a folder or a URL; its released one is evaluated."""
    composer: list[str] = field(default_factory=list)
    """Versions of the registry, tiny-1 (the packaged composer), native (an embedder's own), or artifacts' folders or
    URLs, to evaluate instead."""
    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO, local-dir:PATH, blip2:… or st:…"""
    best_of_vectors: bool = False
    """Rank by the best of an encoder's several vectors a picture (BLIP-2), not by the one that is indexed."""
    output: str = "evaluation"
    """Folder or URL for results.json, the contact sheets and the cached embeddings."""
    json: bool = False
    """Print one line of JSON, the content of results.json."""


@dataclass(frozen=True)
class EvaluateConfig(ComparisonConfig):
    """Measure composers, the baselines and the oracles on drawn galleries with exact answers.

    The published benchmarks have commands of their own: `scot evaluate cirr --help`.

    Example: scot evaluate --gallery data/wardrobe data/scenes --composers data/composers
    """

    gallery: list[str] = field(default_factory=list)
    """Galleries drawn by `scot draw --split eval`: folders or URLs."""


@dataclass(frozen=True)
class PairsConfig(ComparisonConfig):
    """Measure composers, the baselines and the oracles on your own captioned images, without labels.

    Queries are pairs of images whose captions differ in a few words; the right answer is the other image.

    Example: scot evaluate pairs --source catalogue --composers work/composers --encoder local-dir:my-model
    """

    source: list[str] = field(default_factory=list)
    """Captioned images, as folders or tables, to search and to take the queries from."""
    queries: int = 1_000
    """Queries at most."""
    held_out: float = 0.0
    """Take the references from this share of the captions, those that pretrain.py holds out with the same --held-out;
    0: from all, for images that were not trained on."""
    seed: int = 0
    """Chooses among the pairs of a caption, and among ways of saying an edit."""


def evaluate(config: EvaluateConfig) -> int:
    """Evaluate on drawn galleries, print the tables, and write everything into ``config.output``.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    if not config.gallery:
        raise InvalidFlag("--gallery is missing: draw one with `scot draw --world wardrobe --split eval --output DIR`")
    return _side_by_side(config, [(open_place(folder), partial(read_gallery, folder)) for folder in config.gallery])


def evaluate_pairs(config: PairsConfig) -> int:
    """Evaluate on pairs of captioned images, print the table, and write everything into ``config.output``.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a source, composer or encoder cannot be used, or there are few pairs.
    """
    if not config.source:
        raise InvalidFlag("--source is missing: a folder or table of captioned images")
    if config.queries < 1 or not 0.0 <= config.held_out < 1.0:
        raise InvalidFlag("--queries must be at least 1, and --held-out at least 0 and below 1")
    read = partial(read_pairs, config.source, queries=config.queries, held_out=config.held_out, seed=config.seed)
    return _side_by_side(config, [(Path(), read)], skip_missing=True)


def _side_by_side(
    config: ComparisonConfig, benchmarks: Sequence[tuple[Place, Callable[[], Benchmark]]], *, skip_missing: bool = False
) -> int:
    """Compare on benchmarks, each with the folder of its images."""
    console = report_console(stderr=config.json)
    encoder = load_encoder(config.encoder)
    composers = load_composers(config.composers, config.composer, encoder)
    with working_folder(config.output) as output:
        parts: Any = {"encoder": encoder, "composers": composers, "output": output, "console": console}
        results = [_compare(config, folder, read, skip_missing=skip_missing, **parts) for folder, read in benchmarks]
        written = write_comparisons(output / "results.json", results)
    if config.json:
        print_json(written)
    return 0


def _compare(
    config: ComparisonConfig,
    folder: Place,
    read: Callable[[], Benchmark],
    *,
    encoder: Encoder,
    composers: Sequence[Composer],
    output: Path,
    skip_missing: bool,
    console: Console,
) -> Comparison:
    """Compare on one benchmark: print the table, and draw the contact sheet."""
    encoded = encode_benchmark(
        read(),
        encoder,
        folder,
        output / "cache",
        best_of_vectors=config.best_of_vectors,
        skip_missing=skip_missing,
        progress=Progress.on(sys.stderr),
    )
    names = [composer.name for composer in composers]
    composed = list(zip(names, encoded.compose(*composers), strict=True))
    result = compare(encoded, composed)
    print_comparison(result, console)
    for deviation in encoded.benchmark.deviations:
        _print(console, deviation)
    for name, queries in composed[:1]:
        sheet = even_sample(encoded, encoded.rank(queries), title=f"{result.world} · {name}")
        file = output / f"{result.world}.png"
        save_sheet(sheet, file)
        _print(console, f"contact sheet: {_shown(config.output, output, file)}")
    return result


def evaluate_benchmark(config: BenchmarkConfig) -> int:
    """Score ``config.rankings``, or run a model on ``config.images``.

    Raises:
        ScotError: annotations, rankings, images, encoder or composer cannot be used; the message says which and why.
    """
    files = [file for group in config.rankings for file in group]
    entry = entry_of(config)
    if files and config.images is not None and not config.rerank.rerank_url:
        raise InvalidFlag("--rankings and --images are two ways to use this command: give one of them")
    if not files and config.images is None and not entry.drawn:
        raise InvalidInput("give --rankings FILE to score, or --images DIR to run a model on")
    console = report_console()
    if is_url(config.output) and entry.drawn and config.annotations is None:
        raise InvalidFlag("--gallery is missing: a gallery is not drawn into a URL")
    benchmark = entry.load(config)
    if files:
        rankings = read_rankings(files, benchmark)
        if config.rerank.rerank_url:
            return _rerank_files(config, benchmark, rankings, console)
        scores = score(benchmark, rankings)
        print_scores(benchmark, scores, console)
        if config.json is not None:
            write_result(config.json, benchmark, scores, per_query=config.per_query)
        return 0
    with working_folder(config.output) as output:
        return _run(config, benchmark, output, console)


def load_composers(composers: str | Path | None, names: Sequence[str], encoder: Encoder) -> list[Composer]:
    """The named composers: versions of the registry ``composers``, packaged ones, artifacts or native; else its
    released one.

    Raises:
        NotFound, InvalidInput, EncoderMismatch: one of them cannot be used with this encoder.
    """
    registry = Registry(composers) if composers is not None else None
    if not names and registry is not None:
        version = registry.released()
        if version is None:
            raise NotFound(f"{composers} has no released composer yet; pretrain one first")
        names = [version]
    return [open_composer(name, None if is_url(name) or Path(name).is_dir() else registry, encoder) for name in names]


def _run(config: BenchmarkConfig, benchmark: Benchmark, output: Path, console: Console) -> int:
    encoder = load_encoder(config.encoder)
    composer = _composer(config, encoder)
    encoded = encode_benchmark(
        benchmark,
        encoder,
        config.images or config.annotations or output,
        output / "cache",
        skip_missing=config.skip_missing,
        progress=Progress.on(sys.stderr),
    )
    benchmark = encoded.benchmark  # without what is missing
    (queries,) = encoded.compose(composer)
    rankings = encoded.rank(queries)
    if config.rerank.rerank_url:
        rankings = _reranked(config, benchmark, rankings, encoded.images, console)
    written = write_rankings(output, benchmark, rankings)
    scores = score(benchmark, rankings) if benchmark.answered else None
    if scores is not None:
        print_scores(benchmark, scores, console)
        title = f"{benchmark.name} {benchmark.split} · {composer.name}"
        file = output / f"{benchmark.name}-{benchmark.split}.png"
        save_sheet(best_and_worst(encoded, rankings, scores, title=title), file)
        _print(console, f"contact sheet: {_shown(config.output, output, file)}")
    else:
        print_protocol(benchmark, console)
        for file in written:
            check_submission(file, benchmark)
        _print(console, "only the authors' server knows the answers: send it the ranking files")
    files = ", ".join(_shown(config.output, output, file) for file in written)
    _print(console, f"composer {composer.name}, encoder {encoder.id}; ranking files: {files}")
    model = {"encoder": encoder.id, "composer": composer.name} | _reranker(config)
    results = [output / f"{benchmark.name}-{benchmark.split}-result.json"]
    for result in results + ([config.json] if config.json is not None else []):
        write_result(result, benchmark, scores, model=model, per_query=config.per_query)
    return 0


def _rerank_files(config: BenchmarkConfig, benchmark: Benchmark, rankings: Rankings, console: Console) -> int:
    """Rerank somebody's rankings, write them again, and score them where the answers are public."""
    images = config.images or config.annotations
    if images is None or not images.is_dir():
        raise InvalidInput("give --images DIR: the reranker looks at the pictures of the rankings")
    with working_folder(config.output) as output:
        rankings = _reranked(config, benchmark, rankings, benchmark.locate(images), console)
        written = write_rankings(output, benchmark, rankings)
        files = ", ".join(_shown(config.output, output, file) for file in written)
    _print(console, f"ranking files: {files}")
    scores = score(benchmark, rankings) if benchmark.answered else None
    if scores is not None:
        print_scores(benchmark, scores, console)
    if config.json is not None:
        write_result(config.json, benchmark, scores, model=_reranker(config), per_query=config.per_query)
    return 0


def _reranked(
    config: BenchmarkConfig, benchmark: Benchmark, rankings: Rankings, images: Images, console: Console
) -> Rankings:
    """The rankings after the second look; prints what was before, what was judged, and which weight fits."""
    if benchmark.answered:
        _print(console, "before reranking")
        print_scores(benchmark, score(benchmark, rankings), console)
    found = asyncio.run(rerank_benchmark(benchmark, rankings, images, config.rerank, Progress.on(sys.stderr)))
    kept = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.kept.items()))
    about = f"{found.asked:,} verdicts, {found.prompt_tokens:,} tokens read and {found.completion_tokens:,} written"
    _print(console, f"reranked by {config.rerank.rerank_model}: {about}; first order kept: {kept or 'never'}")
    if found.weights:
        fitted = " and ".join(f"{weight:g}" for weight in found.weights)
        _print(console, f"rerank_weight {config.rerank.rerank_weight:g}; the weights that fit either half: {fitted}")
    return found.rankings


def _reranker(config: BenchmarkConfig) -> dict[str, str]:
    rerank = config.rerank
    if not rerank.rerank_url:
        return {}
    about = f"{rerank.rerank_model}, {rerank.rerank_prompt}, first {rerank.rerank_top}, weight {rerank.rerank_weight:g}"
    return {"reranker": about}


def _composer(config: BenchmarkConfig, encoder: Encoder) -> Composer:
    if config.composer.partition(":")[0] in BASELINES:
        return baseline(config.composer)
    found = load_composers(config.composers, [config.composer] if config.composer else [], encoder)
    if not found:
        raise InvalidInput(
            f"name a --composer: a baseline ({', '.join(BASELINES)}), tiny-1, {NATIVE}, an artifact folder or a "
            "version of --composers"
        )
    return found[0]


def _shown(name: str, output: Path, file: Path) -> str:
    """A file of the output as its user knows it."""
    return f"{name.rstrip('/')}/{file.relative_to(output).as_posix()}" if is_url(name) else str(file)


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)
