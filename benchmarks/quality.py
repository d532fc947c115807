"""What makes a composer good: runs as data, several seeds, both worlds, against the oracle and against labels.

    python benchmarks/quality.py --work quality --report docs/quality.md
    python benchmarks/quality.py --work quality --only objective --seeds 0
    python benchmarks/quality.py --work quality --seeds --report docs/quality.md  # of finished runs, without training

Draws its own worlds (a seed that nothing was tuned on), generates and encodes triplets with the project's jobs, trains
every run of :mod:`benchmarks.quality_runs` in this process, and measures it on galleries of pictures whose combinations
of attributes were in no training data. A finished run is stored in ``--work`` and not trained again, so that the table
can grow over days.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.quality_data import labelled_triplets, on_pictures
from benchmarks.quality_report import write_report
from benchmarks.quality_runs import EDITS, ENCODERS, RUNS, Run
from scot import flags
from scot.composers import Composer, LearnedComposer
from scot.composers.base import States
from scot.embeddings.cache import TripletEmbeddings, load_cache
from scot.encoders import load_encoder
from scot.errors import InvalidFlag, InvalidInput, ScotError
from scot.evaluation.comparison import ORACLE, ORACLE_MOVED, compare, measure
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.scoring import Estimate
from scot.evaluation.worlds import read_gallery
from scot.machine import machine
from scot.training.loop import Trainer
from scot.worlds import WORLDS

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class QualityBenchmark:
    """Train the runs that are not finished yet, and print or write the tables.

    Example: python benchmarks/quality.py --only composer --seeds 0 1 2
    """

    work: Path = Path("quality")
    """The folder of data and results."""
    only: tuple[str, ...] = ()
    """Groups to train: composer, objective, supervision, data, encoder; none: all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each run; none: report finished runs. Processes with seeds or groups of their own may share
    ``work`` once its data is encoded."""
    size: int = 8_000
    """Captioned pictures of each world to learn from."""
    queries: int = 2_000
    """Evaluation queries of each world, over twice as many pictures."""
    encoder: str = "tiny"
    """The frozen encoder; each has its own results."""
    seed: int = 7
    """The seed of the worlds."""
    report: Path | None = None
    """Also write the tables and plots as a page."""


def main(config: QualityBenchmark) -> int:
    """Prepare, train what is missing, report."""
    if wrong := set(config.only) - {run.group for run in RUNS}:
        raise InvalidFlag(f"--only knows {', '.join(dict.fromkeys(run.group for run in RUNS))}, not {', '.join(wrong)}")
    print(machine(), flush=True)
    if config.seeds:
        prepare(config)
    wanted = [run for run in RUNS if not config.only or run.group in config.only]
    places = {0: Place(config, config.encoder)}
    results = places[0].results
    for seed in config.seeds:
        for run in wanted:
            if (results / f"{run.key}-{seed}.json").exists():
                continue
            if run.width not in places:
                places[run.width] = Place(config, tiny(config, run.width))
            train(run, seed, places[run.width], config, results)
    if not (results / "references.json").exists():
        raise InvalidInput(f"{config.work} has no results yet")
    pictures = f"{len(WORLDS) * config.size:,} captioned pictures with {EDITS} edits each"
    about = f"{machine()}; encoder {places[0].encoder.id}; {pictures}"
    write_report(RUNS, results, config.report, about=about)
    return 0


def prepare(config: QualityBenchmark) -> None:
    """Worlds and triplets, by the public commands; existing ones are reused."""
    work = config.work
    for world in WORLDS:
        draw = ["-m", "scot.cli", "draw", "--world", world, "--seed", str(config.seed)]
        call(*draw, "--split", "train", "--size", str(config.size), "--output", str(work / "train" / world))
        size = ("--size", str(2 * config.queries), "--queries", str(config.queries))
        call(*draw, "--split", "eval", *size, "--output", str(work / "gallery" / world))


def triplets(config: QualityBenchmark, edits: int) -> Path:
    """The folder of the triplets with so many edits of each caption; existing ones are reused."""
    folder = config.work / f"triplets-{edits}"
    generate = ["ray_jobs/generate_edits.py", "--source", *sources(config), "--edits-per-caption", str(edits)]
    call(*generate, "--engine", "rules", "--output", str(folder))
    return folder


def sources(config: QualityBenchmark) -> list[str]:
    """The folders of captioned pictures."""
    return [str(config.work / "train" / world) for world in WORLDS]


def tiny(config: QualityBenchmark, width: int) -> str:
    """The name of the tiny encoder of that width, which is trained if it does not exist yet."""
    folder = config.work / f"tiny-w{width}"
    if not (folder / "open_clip_model.safetensors").exists():
        size = [word for name, value in ENCODERS[width].items() for word in (f"--{name}", str(value))]
        call("-m", "tools.tiny_encoder.train", "--out", str(folder), "--width", str(width), *size)
    return f"local-dir:{folder}"


class Place:
    """One encoder's embeddings and galleries, made on first use."""

    def __init__(self, config: QualityBenchmark, name: str) -> None:
        self._config, self._name = config, name
        self.encoder = load_encoder(name)
        self.folder = config.work / self.encoder.id.partition("@")[2]
        self.results = self.folder / f"results-{config.size}-{config.queries}"
        self.results.mkdir(parents=True, exist_ok=True)
        self._loaded: tuple[int, TripletEmbeddings] | None = None

    def captions(self, edits: int = EDITS) -> TripletEmbeddings:
        """The triplets with their vectors and hidden states; the last ones used stay in memory."""
        if self._loaded is None or self._loaded[0] != edits:
            embeddings, base = (self.folder / f"embeddings-{count}" for count in (edits, EDITS))
            if base.exists() and not embeddings.exists():
                shutil.copytree(base, embeddings)  # the pictures are the same, and half of the texts
            encode = ["ray_jobs/encode.py", "--triplets", str(triplets(self._config, edits))]
            encode += ["--output", str(embeddings), "--source", *sources(self._config)]
            call(*encode, "--encoder", self._name, "--states")
            self._loaded = edits, load_cache(embeddings, self.encoder.id)
        return self._loaded[1]

    @cached_property
    def galleries(self) -> list[EncodedBenchmark]:
        """The galleries; the oracle and the baselines at their best weights are measured once."""
        folders = [self._config.work / "gallery" / world for world in WORLDS]
        cache = self.folder / "cache"
        encoded = [encode_benchmark(read_gallery(folder), self.encoder, folder, cache) for folder in folders]
        references(self.results, encoded)
        return [dataclasses.replace(gallery, cached_states={}) for gallery in encoded]


def call(*command: str) -> None:
    """Run a Python command of the project."""
    if subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode:
        raise ScotError(f"this failed: python {' '.join(command)}")


def references(results: Path, galleries: Sequence[EncodedBenchmark]) -> None:
    """Both oracles and the baselines at their best weights, once."""
    file = results / "references.json"
    if file.exists():
        return
    found = {}
    for encoded in galleries:
        result = compare(encoded, [])
        best = result.best_baseline()
        oracles = {row.name: row for row in result.rows if row.name in (ORACLE, ORACLE_MOVED)}
        named = {**oracles, f"best baseline ({best.name})": best}
        found[result.world] = {name: as_json(row.metrics) for name, row in named.items()}
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def train(run: Run, seed: int, place: Place, config: QualityBenchmark, results: Path) -> None:
    """Train one run with one seed and store its metrics; if the composer reads states, also without the reference's."""
    if run.labels:
        data = labelled_triplets(run.labels, place.encoder, place.folder, config.seed)
    else:
        data = on_pictures(place.captions(run.edits or EDITS), run.pictures)
    worlds = place.galleries
    begun = time.perf_counter()
    trainer = Trainer(data, run.config(seed), "cuda" if torch.cuda.is_available() else "cpu")
    for _ in trainer.run():
        pass
    seconds = time.perf_counter() - begun
    composer = LearnedComposer(run.name, trainer.config.architecture, place.encoder.id, trainer.best_composer())
    parameters = sum(parameter.numel() for parameter in composer.module.parameters())
    settings = dataclasses.asdict(run.config(seed))
    result: dict[str, Any] = {
        "run": run.name,
        "seed": seed,
        "triplets": len(data),
        "seconds": seconds,
        "parameters": parameters,
    }
    result |= {"best_step": trainer.best_step, "held_out": trainer.best, "settings": settings}
    result["references"] = json.loads((place.results / "references.json").read_text(encoding="utf-8"))
    for blind in (False, True) if composer.reads_states else (False,):
        measured: dict[str, dict[str, dict[str, float]]] = {}
        for encoded in worlds:
            (queries,) = encoded.compose(WithoutPatches(composer) if blind else composer)
            measured[encoded.benchmark.name] = as_json(measure(encoded, queries))
        result["worlds"] = measured
        file = results / f"{dataclasses.replace(run, blind=blind).key}-{seed}.json"
        file.write_text(json.dumps(result, indent=1), encoding="utf-8")
        recalls = ", ".join(f"{world} {found['recall@1']['value']:.3f}" for world, found in measured.items())
        print(f"{run.group}: {run.name}{', blind' * blind}, seed {seed}: R@1 {recalls} ({seconds:.0f} s)", flush=True)


class WithoutPatches:
    """A composer that sees references by their vectors alone, as the items of an index are."""

    reads_states = True

    def __init__(self, composer: Composer) -> None:
        self.name, self.architecture, self.encoder_id = composer.name, composer.architecture, composer.encoder_id
        self._composer = composer

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``."""
        reference, edit = states
        hidden = reference._replace(mask_BL=torch.zeros_like(reference.mask_BL))
        return self._composer.compose(image_BD, text_BD, hidden, edit)


def as_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Estimates as JSON."""
    return {name: dataclasses.asdict(estimate) for name, estimate in metrics.items()}


if __name__ == "__main__":
    sys.exit(flags.run("quality benchmark", main, QualityBenchmark))
