"""What captions in the place of images teach a composer, across a small and a large modality gap (docs/pretraining.md).

    python benchmarks/captions_alone.py --work captions-alone
    python benchmarks/captions_alone.py --work captions-alone --gaps large --rows images matched --seeds 0 1 2

Draws both worlds, writes edits by rules and encodes them with the packaged encoder, whose modality gap is small. The
large gaps are artificial: each image vector gets an offset and noise of its own, so that the means and the cosine of an
image and its caption are those of a real CLIP. The noise is isotropic (``large``), or lies along few directions
(``uneven``). Results are kept in ``--work``; what is there is not trained again.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch.nn.functional import normalize

from benchmarks.quality import call
from scot import flags
from scot.composers import tuned_baselines
from scot.data.atomic_io import write_json
from scot.embeddings.cache import TripletEmbeddings, load_cache, unit_rows
from scot.encoders import load_encoder
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.worlds import read_gallery
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig
from scot.worlds import WORLDS

SETTINGS = TrainConfig(projection=256, steps=200, eval_every=200, patience=0, loss=LossConfig(analogy_weight=10.0))
EDITS = 8
"""Edits of each caption."""
ROWS: Mapping[str, dict[str, Any]] = {
    "images": {},
    "as they are": {"from_captions": 1.0, "caption_noise": 0.0, "blind": True},
    "noise": {"from_captions": 1.0, "caption_noise": 0.03, "blind": True},
    "means": {"from_captions": 1.0, "caption_noise": 0.0},
    "means and noise": {"from_captions": 1.0, "caption_noise": 0.03},
    "matched": {"from_captions": 1.0},
    "half": {"from_captions": 0.5},
}
"""The settings of each row; ``blind``: no image says where images lie."""
GAPS: Mapping[str, tuple[float, float, float]] = {
    "small": (0.0, 0.0, 0.0), "large": (2.4, 1.4, 0.0), "uneven": (2.4, 1.4, 2.0),
}  # fmt: skip
"""Lengths of offset and noise, and how unevenly the noise lies: the decay of its axes in powers of e."""


@dataclass(frozen=True, slots=True)
class CaptionsAlone:
    """Train the rows that are not finished yet, and print the table."""

    work: Path = Path("captions-alone")
    """The folder of data and results."""
    gaps: tuple[str, ...] = tuple(GAPS)
    """The modality gaps: small, large, uneven."""
    rows: tuple[str, ...] = tuple(ROWS)
    """The references in training, by name."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds of each row."""
    size: int = 1_500
    """Captioned images of each world."""
    queries: int = 600
    """Queries of each world, over twice as many images."""


def main(config: CaptionsAlone) -> int:
    """Prepare, train, print."""
    data, galleries = prepare(config)
    for gap in config.gaps:
        place = Place(data, galleries, gap)
        print(f"## {gap}: {place.about}", flush=True)
        for name, found in place.references().items():
            print(f"{name}: {shown(found)}", flush=True)
        for row in config.rows:
            for seed in config.seeds:
                file = config.work / "results" / f"{gap}-{row.replace(' ', '-')}-{seed}.json"
                if not file.exists():
                    write_json(file, place.train(row, seed))
                print(f"{row}, seed {seed}: {shown(json.loads(file.read_bytes()))}", flush=True)
    return 0


def prepare(config: CaptionsAlone) -> tuple[TripletEmbeddings, list[EncodedBenchmark]]:
    """The embeddings of the drawn worlds, and their galleries; existing ones are reused."""
    work, here = config.work, ("--num-workers", "0")
    trains = [str(work / "train" / world) for world in WORLDS]
    for world, train in zip(WORLDS, trains, strict=True):
        draw = ("-m", "scot.cli", "draw", "--world", world, "--seed", "7")
        call(*draw, "--split", "train", "--size", str(config.size), "--output", train)
        size = ("--size", str(2 * config.queries), "--queries", str(config.queries))
        call(*draw, "--split", "eval", *size, "--output", str(work / "gallery" / world))
    triplets, embeddings = str(work / "triplets"), str(work / "embeddings")
    generate = ("ray_jobs/generate_edits.py", "--engine", "rules", "--edits-per-caption", str(EDITS))
    call(*generate, "--source", *trains, "--output", triplets, *here)
    call("ray_jobs/encode.py", "--source", *trains, "--triplets", triplets, "--output", embeddings, *here)
    encoder = load_encoder()
    folders = [work / "gallery" / world for world in WORLDS]
    encoded = [encode_benchmark(read_gallery(folder), encoder, folder, work / "cache") for folder in folders]
    return load_cache(embeddings), encoded


@dataclass(frozen=True, slots=True)
class Gallery:
    """One world's images ``(N, D)``, and of its queries the reference's row, the right rows, and the texts' vectors."""

    image_ND: torch.Tensor
    reference_Q: torch.Tensor
    target_QN: torch.Tensor
    edit_QD: torch.Tensor
    caption_QD: torch.Tensor
    edited_QD: torch.Tensor

    @classmethod
    def read(cls, encoded: EncodedBenchmark) -> Gallery:
        """The gallery of a world."""
        (part,) = encoded.benchmark.parts
        row = {name: n for n, name in enumerate(encoded.vectors[part.name].names)}
        target_QN = torch.zeros(len(part.queries), len(row), dtype=torch.bool)
        for n, query in enumerate(part.queries):
            target_QN[n, [row[name] for name in query.targets]] = True
        return cls(
            encoded.references(part.name),
            torch.tensor([row[query.reference] for query in part.queries]),
            target_QN,
            encoded.texts([query.edits[0] for query in part.queries]),
            encoded.texts([query.caption for query in part.queries]),
            encoded.texts([query.edited_caption for query in part.queries]),
        )

    def recall(self, query_QD: torch.Tensor) -> float:
        """R@1 over the gallery without the reference."""
        rows_Q = torch.arange(len(query_QD))
        score_QN = query_QD @ self.image_ND.T
        score_QN[rows_Q, self.reference_Q] = -2.0
        return float(self.target_QN[rows_Q, score_QN.argmax(1)].float().mean())


class Place:
    """The embeddings and galleries across one modality gap."""

    def __init__(self, data: TripletEmbeddings, galleries: list[EncodedBenchmark], gap: str) -> None:
        offset, noise, decay = GAPS[gap]
        generator = torch.Generator().manual_seed(0)
        offset_D = offset * normalize(torch.randn(data.dim, generator=generator), dim=0)
        axes_DD = torch.linalg.qr(torch.randn(data.dim, data.dim, generator=generator))[0]
        axes_DD = axes_DD * torch.linspace(0.0, -decay, data.dim).exp()

        def widened(image_ND: torch.Tensor) -> torch.Tensor:
            noise_ND = normalize(torch.randn(image_ND.shape, generator=generator) @ axes_DD.T, dim=-1)
            return normalize(image_ND + offset_D + noise * noise_ND, dim=-1)

        every_U = torch.arange(len(data.image_UD))
        self.data = dataclasses.replace(data, image_UD=widened(unit_rows(data.image_UD, every_U)).half())
        plain = [Gallery.read(encoded) for encoded in galleries]
        self.galleries = [dataclasses.replace(each, image_ND=widened(each.image_ND)) for each in plain]
        between = self.data.image_ND.mean(0) - self.data.caption_ND.mean(0)
        cosine = float((self.data.image_ND * self.data.caption_ND).sum(1).mean())
        self.about = f"means {float(between.norm()):.2f} apart, cosine of an image and its caption {cosine:.2f}"

    def train(self, row: str, seed: int) -> list[float]:
        """R@1 in each world after training one row."""
        settings = dict(ROWS[row])
        data = blind(self.data) if settings.pop("blind", False) else self.data
        trainer = Trainer(data, dataclasses.replace(SETTINGS, seed=seed, **settings))
        for _ in trainer.run():
            pass
        composer = trainer.best_composer()
        with torch.inference_mode():
            return [each.recall(composer(each.image_ND[each.reference_Q], each.edit_QD)) for each in self.galleries]

    def references(self) -> dict[str, list[float]]:
        """R@1 in each world of the best sum, and of what knows the captions."""
        best = []
        for each in self.galleries:
            image_QD = each.image_ND[each.reference_Q]
            tuned = [composer for group in tuned_baselines(each.image_ND, each.edit_QD) for composer in group.values()]
            best.append(max(each.recall(composer.compose(image_QD, each.edit_QD)) for composer in tuned))
        moved = [
            each.recall(normalize(each.image_ND[each.reference_Q] + each.edited_QD - each.caption_QD, dim=-1))
            for each in self.galleries
        ]
        return {"best sum": best, "oracle": [each.recall(each.edited_QD) for each in self.galleries], "moved": moved}


def blind(data: TripletEmbeddings) -> TripletEmbeddings:
    """The triplets as ``encode.py --captions-only`` writes them."""
    caption_C, image_N = torch.unique(data.caption_N, return_inverse=True)
    info = dataclasses.replace(data.info, captions_only=True)
    ids = [data.texts[row] for row in caption_C.tolist()]
    return dataclasses.replace(data, info=info, image_ids=ids, image_UD=data.text_VD[caption_C], image_N=image_N)


def shown(recalls: list[float]) -> str:
    """R@1 in each world."""
    return " / ".join(f"{recall:.3f}".removeprefix("0") for recall in recalls)


if __name__ == "__main__":
    sys.exit(flags.run("captions alone benchmark", main, CaptionsAlone))
