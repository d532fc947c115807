"""Composers on data that nobody here drew: icons and flags of several vendors, searched at a vendor never seen.

    python benchmarks/foreign.py --work foreign --report docs/quality.md
    python benchmarks/foreign.py --work foreign --sets icons --runs rules pairs --seeds 0
    python benchmarks/foreign.py --work foreign --runs --report docs/quality.md  # of finished runs, without training

Builds the sets (:mod:`benchmarks.foreign_sets`), trains a small encoder on the vendors to learn from, and for each run
generates and encodes triplets, pretrains and evaluates with the project's jobs. What is finished is not done again. The
packages come from the npm registry (``npm pack`` puts them into ``--packages``). :mod:`benchmarks.foreign_encoder`
trains an encoder alone, on a GPU if there is one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.foreign_encoder import TRAINING, EncoderSettings
from benchmarks.foreign_report import write_report
from benchmarks.foreign_sets import write_encoder, write_set
from benchmarks.foreign_worlds import SETS
from benchmarks.quality import call
from scot import flags
from scot.composers import Registry
from scot.data.atomic_io import write_json
from scot.errors import InvalidInput
from scot.machine import machine

SETTINGS = ("--projection", "512", "--hidden", "1024", "--batch-size", "512", "--patience", "0")
"""The small Combiner of benchmarks/quality.py, with half of its batch."""
ANALOGY = ("--analogy-weight", "10")
MOVED = ("--contrastive-weight", "0", "--moved-weight", "1")
BOTH = ("--moved-weight", "1")
HALF = (*BOTH, *ANALOGY, "--from-captions", "0.5")
CAPTIONS = ("--from-captions", "1")
TOKENS = ("--architecture", "token_combiner", "--patch-dropout", "1")
"""Reads the edit's tokens, and no patches: those of vendors that it knows mislead it at another."""
NEAREST = ("--retrieved-weight", "1")
BOOTSTRAP = "bootstrap"
"""The packaged corpus and the set's gallery without captions, in the place of an engine."""


@dataclass(frozen=True, slots=True)
class Run:
    """One learned line of the table: the engine of its triplets, and settings of the pretraining."""

    engine: str
    pretrain: tuple[str, ...] = ()


RUNS: Mapping[str, Run] = {
    "rules": Run("rules"),
    "slots": Run("slots"),
    "pairs": Run("pairs"),
    "pairs, analogy": Run("pairs", ANALOGY),
    "pairs, to the moved image": Run("pairs", MOVED),
    "pairs, to the moved image, analogy": Run("pairs", (*MOVED, *ANALOGY)),
    "pairs, to both, analogy": Run("pairs", (*BOTH, *ANALOGY)),
    "pairs, to both, analogy, half from captions": Run("pairs", HALF),
    "pairs, to both, analogy, half from captions, tokens": Run("pairs", (*HALF, *TOKENS)),
    "pairs, to both and the nearest, analogy, half from captions, tokens": Run("pairs", (*HALF, *NEAREST, *TOKENS)),
    "pairs, to the moved image, captions alone": Run("pairs", (*MOVED, *CAPTIONS)),
    "bootstrap": Run(BOOTSTRAP),
}


@dataclass(frozen=True, slots=True)
class ForeignBenchmark:
    """Build the sets, train what is missing, and print or write the tables.

    Example: python benchmarks/foreign.py --sets icons --runs rules
    """

    work: Path = Path("foreign")
    """The folder of data and results."""
    packages: Path | None = None
    """The folder of the npm packages, which is filled with `npm pack`; by default in --work."""
    sets: tuple[str, ...] = tuple(SETS)
    """The sets: icons, flags."""
    runs: tuple[str, ...] = tuple(RUNS)
    """The learned lines to train; none: report finished ones."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds of each run."""
    steps: int = 600
    """Optimizer steps of each run; bootstrap has its own number."""
    edits: int = 8
    """Edits of each caption."""
    size: int = 12_000
    """Captioned pictures of each set to learn from."""
    queries: int = 1_200
    """Queries of each set, over twice as many pictures."""
    seed: int = 7
    """The seed of the sets."""
    num_workers: int = 1
    """Processes that draw."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    """How the encoders are trained that are missing."""
    report: Path | None = None
    """Also write the tables into this page, in the place of those it has."""


def main(config: ForeignBenchmark) -> int:
    """Prepare, train what is missing, report."""
    for what, given, known in (("--sets", config.sets, SETS), ("--runs", config.runs, RUNS)):
        if wrong := [name for name in given if name not in known]:
            raise InvalidInput(f"{what} knows {'; '.join(known)}, not {'; '.join(wrong)}")
    print(machine(), flush=True)
    packages = config.packages or config.work / "packages"
    pictures = f"{config.size:,} captioned pictures of each set with {config.edits} edits each"
    about = f"{machine()}; {pictures}; a small Combiner, {config.steps:,} steps of 512"
    encoders: list[str] = []
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in config.sets:
        folder = write_set(
            name, config.work, packages, size=config.size, queries=config.queries, seed=config.seed,
            num_workers=config.num_workers,
        )  # fmt: skip
        encoder = write_encoder(name, folder, packages, config.encoder, num_workers=config.num_workers)
        encoders.append(_about(name, json.loads((folder / "encoder" / TRAINING).read_text(encoding="utf-8"))))
        for run in config.runs:
            for seed in config.seeds:
                measure(config, folder, encoder, run, seed)
        results[name] = finished(folder, config.steps)
    write_json(config.work / "foreign.json", results)
    write_report(results, config.report, about=". ".join([about, *encoders]) + ".")
    return 0


def measure(config: ForeignBenchmark, folder: Path, encoder: str, name: str, seed: int) -> None:
    """Generate, encode, pretrain and evaluate one run with one seed, and keep the evaluation's results."""
    steps = 0 if RUNS[name].engine == BOOTSTRAP else config.steps
    place = folder / "runs" / f"{name.replace(', ', '-').replace(' ', '-')}-{steps}-{seed}"
    if (place / "results.json").exists():
        return
    composers = place / "composers"
    if RUNS[name].engine == BOOTSTRAP:
        bootstrap = ("--images", str(folder / "gallery"), "--work", str(folder / BOOTSTRAP), "--seed", str(seed))
        call("-m", "scot.cli", "composers", BOOTSTRAP, "--encoder", encoder, "--composers", str(composers), *bootstrap)
    else:
        _learn(config, folder, encoder, RUNS[name], seed=seed, place=place)
    registry = Registry(composers)
    version = registry.versions()[-1]
    evaluate = ("--gallery", str(folder / "gallery"), "--encoder", encoder, "--output", str(folder / "evaluation"))
    call("ray_jobs/evaluate.py", *evaluate, "--composer", str(registry.path(version)))
    (world,) = json.loads((folder / "evaluation" / "results.json").read_text(encoding="utf-8"))["worlds"].values()
    write_json(place / "results.json", {"run": name, "steps": steps, "seed": seed, "composer": version, **world})


def _learn(config: ForeignBenchmark, folder: Path, encoder: str, run: Run, *, seed: int, place: Path) -> None:
    """Generate, encode and pretrain from the captions of the set."""
    train = str(folder / "train")
    triplets, embeddings = folder / f"triplets-{run.engine}", folder / f"embeddings-{run.engine}"
    here = ("--num-workers", "0")
    generate = ("--source", train, "--output", str(triplets), "--engine", run.engine)
    call("ray_jobs/generate_edits.py", *generate, "--edits-per-caption", str(config.edits), *here)
    if not embeddings.exists() and (others := sorted(folder.glob("embeddings-*"))):
        shutil.copytree(others[0], embeddings)  # the images are the same
    encode = ("--source", train, "--triplets", str(triplets), "--output", str(embeddings), "--encoder", encoder)
    call("ray_jobs/encode.py", *encode, "--states", *here, *(("--use-gpu",) if config.encoder.device != "cpu" else ()))
    pretrain = ("--embeddings", str(embeddings), "--composers", str(place / "composers"), "--runs", str(place / "run"))
    settings = ("--steps", str(config.steps), "--seed", str(seed), *SETTINGS)
    call("ray_jobs/pretrain.py", *pretrain, *settings, *run.pretrain, *here)


def finished(folder: Path, steps: int) -> dict[str, list[dict[str, Any]]]:
    """The results of the finished runs of so many steps by name, one a seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((folder / "runs").glob("*/results.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["steps"] in (0, steps):
            found.setdefault(result["run"], []).append(result)
    return {name: found[name] for name in RUNS if name in found}


def _about(name: str, trained: Mapping[str, Any]) -> str:
    """How an encoder was trained, and what it finds."""
    steps, batch, pictures = (trained[each] for each in ("encoder_steps", "encoder_batch", "pictures"))
    seen, unseen = (trained[f"recall@1_of_{which}_vendors"] for which in ("seen", "unseen"))
    return (
        f"Encoder of {name}: {steps:,} steps of {batch:,} on {pictures:,} pictures; R@1 of 1,000 pictures for their "
        f"captions: {seen:.2f} at the vendors it knows and {unseen:.2f} at the other"
    )


if __name__ == "__main__":
    sys.exit(flags.run("foreign benchmark", main, ForeignBenchmark))
