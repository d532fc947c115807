"""What the captions of a gallery and a second look at the first hits are worth: ``python benchmarks/fuse.py``.

    python benchmarks/fuse.py --output fuse.json
    python benchmarks/fuse.py --gallery foreign/icons/gallery --encoder local-dir:foreign/icons/encoder \
        --composer foreign/icons/runs/pairs-600-0/composers/v1

Draws a gallery of each world, or takes galleries with exact answers, and ranks them exactly. Every weight is fitted on
one half of the queries and measured on the other, both ways round. The second table has what a gallery of sums must not
make worse: references that are indexed items, and searches without an edit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.nn.functional import normalize

from benchmarks.fuse_gallery import CAPTIONS, Captions, FuseGallery, read_fuse_gallery
from scot import flags
from scot.composers import composer_path, load_composer
from scot.encoders import load_encoder
from scot.evaluation.scoring import Scores, estimates
from scot.machine import machine
from scot.worlds import WORLDS
from scot.worlds.drawing import DrawConfig, draw

MEASURED = ("recall@1", "recall@10", "recall_subset@1")
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(16))
"""The weights that are tried."""
LOOKED_AT, RRF = 100, 60
"""The first hits that are looked at again, and the constant of reciprocal rank fusion (Cormack et al., SIGIR 2009)."""


@dataclass(frozen=True, slots=True)
class FuseBenchmark:
    """Measure galleries of pictures and captions."""

    gallery: tuple[Path, ...] = ()
    """Galleries that `scot draw --split eval` or benchmarks/foreign.py wrote; by default both worlds are drawn."""
    composer: str = "tiny-1"
    """The composer: tiny-1 or an artifact's folder."""
    encoder: str = "tiny"
    """Its encoder."""
    size: int = 4_000
    """Pictures of a gallery that is drawn; half as many queries."""
    weight: float = 0.5
    """The captions' weight in the second table."""
    seed: int = 0
    """Draws the galleries, and chooses which captions are missing or wrong."""
    cache: Path | None = None
    """A folder for galleries and embeddings, to use them again."""
    output: Path | None = None
    """Also write the numbers as JSON."""


Row = dict[str, Any]


def main(config: FuseBenchmark) -> int:
    """Measure and print two Markdown tables."""
    torch.set_num_threads(1)
    print(machine(), flush=True)
    encoder = load_encoder(config.encoder, device="cpu")
    path = config.composer if Path(config.composer).is_dir() else composer_path(config.composer, None)
    composer = load_composer(path, encoder_id=encoder.id, dim=encoder.dim)
    tables: dict[str, list[Row]] = {"ranked by": [], "started from": [], "without an edit": []}
    with tempfile.TemporaryDirectory() as scratch:
        home = config.cache or Path(scratch)
        for folder in config.gallery or [drawn(config, world, home) for world in WORLDS]:
            gallery = read_fuse_gallery(folder, encoder, composer, home / "cache", seed=config.seed)
            print(f"{gallery.world}: {gallery.about()}", flush=True)
            found = (ranked_by(gallery), started_from(gallery, config.weight), without_edit(gallery, config.weight))
            for table, rows in zip(tables.values(), found, strict=True):
                table += [{"world": gallery.world, **each} for each in rows]
    for name, table in tables.items():
        print_table(name, table)
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), **tables}, indent=1) + "\n", encoding="utf-8")
    return 0


def drawn(config: FuseBenchmark, world: str, home: Path) -> Path:
    """A drawn gallery, which is drawn if it is missing."""
    folder = home / world
    if not folder.exists():
        with redirect_stdout(sys.stderr):
            draw(DrawConfig(world, folder, "eval", config.size, config.size // 2, config.seed))  # type: ignore[arg-type]
    return folder


def ranked_by(gallery: FuseGallery) -> Iterator[Row]:
    """Composed queries of pictures, ranked in every way."""
    image_ND, query_QD = gallery.image_ND, gallery.query_QD
    by_picture_QN = query_QD @ image_ND.T
    yield row("the picture", gallery.scored(by_picture_QN))
    for weight in (0.2, 0.5, 1.0):
        yield row(f"one sum, weight {weight:g}", gallery.scored(query_QD @ gallery.summed(weight).T))
    for kind in CAPTIONS:

        def summed(weight: float, kind: Captions = kind) -> torch.Tensor:
            return query_QD @ gallery.summed(weight, kind).T

        def second(weight: float, kind: Captions = kind) -> torch.Tensor:
            caption_ND, has_N = gallery.captioned(kind)
            by_caption_QN = torch.where(has_N, query_QD @ caption_ND.T, by_picture_QN)
            return by_picture_QN + weight * by_caption_QN

        yield row(f"one sum, fitted, captions: {kind}", *fitted(gallery, summed))
        yield row(f"second vector, fitted, captions: {kind}", *fitted(gallery, second))
    by_caption_QN = query_QD @ gallery.caption_ND.T
    reciprocal_QN = 1 / (RRF + ranks(by_picture_QN)) + 1 / (RRF + ranks(by_caption_QN))
    yield row("second vector, reciprocal ranks", gallery.scored(reciprocal_QN))
    yield row("the picture, then directions", *fitted(gallery, directions(gallery, by_picture_QN)))
    sum_QN = query_QD @ gallery.summed(0.5).T
    yield row("one sum, weight 0.5, then directions", *fitted(gallery, directions(gallery, sum_QN)))
    yield row("T_u, the picture", gallery.scored(gallery.edited_QD @ image_ND.T))
    yield row("T_u, one sum, weight 0.5", gallery.scored(gallery.edited_QD @ gallery.summed(0.5).T))


def started_from(gallery: FuseGallery, weight: float) -> Iterator[Row]:
    """References that are indexed: their stored vectors are the start, with their pictures' patches or without."""
    image_ND = gallery.image_ND
    for patches, shown in ((True, "patches"), (False, "no patches")):
        by_picture_QD = gallery.composed(image_ND, patches=patches)
        for kind in CAPTIONS:
            stored_ND = gallery.summed(weight, kind)
            yield row(f"picture, {shown}, captions: {kind}", gallery.scored(by_picture_QD @ stored_ND.T))
            by_sum_QD = gallery.composed(stored_ND, patches=patches)
            yield row(f"stored sum, {shown}, captions: {kind}", gallery.scored(by_sum_QD @ stored_ND.T))


def without_edit(gallery: FuseGallery, weight: float) -> Iterator[Row]:
    """Searches by a picture alone: an altered copy finds its item first; and the others of its group are near."""
    copy_QD = gallery.altered()
    image_QD = gallery.image_ND[gallery.reference_Q]
    stored = {"pictures": gallery.image_ND}
    stored |= {f"sums, captions: {kind}": gallery.summed(weight, kind) for kind in CAPTIONS}
    for name, stored_ND in stored.items():
        found = (copy_QD @ stored_ND.T).argmax(dim=1) == gallery.reference_Q
        near = gallery.neighbours(image_QD @ stored_ND.T)
        like = gallery.neighbours(stored_ND[gallery.reference_Q] @ stored_ND.T)
        yield {
            "kind": name,
            "a copy finds its item": float(found.float().mean()),
            "neighbours of a picture": float(np.mean(near)),
            "neighbours of an item": float(np.mean(like)),
        }


def directions(gallery: FuseGallery, score_QN: torch.Tensor) -> Callable[[float], torch.Tensor]:
    """The first hits by their score and w cos(g - i, q - i): whether they lie where the query moved."""
    reference_QD = gallery.image_ND[gallery.reference_Q]
    moved_QD = normalize(gallery.query_QD - reference_QD, dim=-1)
    agreement_QN = torch.stack(
        [normalize(gallery.image_ND - i, dim=-1) @ m for i, m in zip(reference_QD, moved_QD, strict=True)]
    )
    last_Q1 = score_QN.topk(LOOKED_AT, dim=1).values[:, -1:]
    return lambda weight: torch.where(score_QN >= last_Q1, score_QN + weight * agreement_QN + 10, score_QN)


def ranks(score_QN: torch.Tensor) -> torch.Tensor:
    """The rank of each item, from 1."""
    return score_QN.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1


def fitted(gallery: FuseGallery, scores_of: Callable[[float], torch.Tensor]) -> tuple[Scores, list[float]]:
    """The metrics at the weight that is best for the other half of the queries, and the weights of both halves."""
    hits = {weight: gallery.first_is_right(scores_of(weight)) for weight in WEIGHTS}
    weights = [max(WEIGHTS, key=lambda weight: (float(hits[weight][1 - half :: 2].sum()), -weight)) for half in (0, 1)]
    found = [gallery.scored(scores_of(weight)).per_query[half::2] for half, weight in enumerate(weights)]
    return Scores({}, (*found[0], *found[1])), weights


def row(kind: str, scores: Scores, weights: Sequence[float] = ()) -> Row:
    """A row of a table: values with their 95 % intervals."""
    found = estimates(scores)
    cells = {name: [found[name].value, found[name].low, found[name].high] for name in MEASURED}
    return {"kind": kind, **cells, "weights": list(weights)}


def print_table(title: str, rows: Sequence[Row]) -> None:
    """One line a kind, all worlds side by side."""
    worlds = list(dict.fromkeys(each["world"] for each in rows))
    columns = [name for name in rows[0] if name not in ("world", "kind", "weights")]
    print(f"\n| {title} | " + " | ".join(f"{world} {name}" for world in worlds for name in columns) + " | weights |")
    print("|---" * (2 + len(worlds) * len(columns)) + "|")
    for kind in dict.fromkeys(each["kind"] for each in rows):
        same = {each["world"]: each for each in rows if each["kind"] == kind}
        cells = [shown(same[world][name]) for world in worlds for name in columns]
        weights = " ".join(f"{weight:g}" for world in worlds for weight in same[world].get("weights", ()))
        print(f"| {kind} | {' | '.join(cells)} | {weights} |")


def shown(value: float | Sequence[float]) -> str:
    """A number, with half of its interval if it has one."""
    if isinstance(value, float):
        return f"{value:.3f}"
    mean, low, high = value
    return f"{mean:.3f} ±{(high - low) / 2:.3f}"


if __name__ == "__main__":
    sys.exit(flags.run("fuse benchmark", main, FuseBenchmark))
