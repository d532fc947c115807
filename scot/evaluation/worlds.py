"""The drawn worlds as benchmarks: recall over the gallery and among the six images of a query's subset, as in CIRR.

Every image that fits the edit is a right answer; the reference does not compete.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from scot.data.captioned import read_captioned
from scot.data.filesystems import is_url
from scot.data.places import open_place
from scot.data.read_ahead import read_ahead
from scot.data.records import CaptionedImage, Refusals
from scot.errors import InvalidFlag, InvalidInput
from scot.evaluation.annotations import check_queries, check_split
from scot.evaluation.base import Benchmark, Part, Query
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import ImageFile, is_there
from scot.evaluation.scoring import recalls
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.queries import QUERIES, read_queries

RECALL_AT, SUBSET_AT = (1, 5, 10, 50), (1, 2, 3)


@dataclass(frozen=True)
class WorldConfig(BenchmarkConfig):
    """A drawn world: score ranking files, or run a model."""

    annotations: Annotated[Path | None, tyro.conf.arg(name="gallery", aliases=["--annotations"])] = None
    """A gallery that `scot draw --split eval` wrote; without one it is drawn into the output folder."""
    split: str = "eval"
    """Always eval."""

    world = ""


@dataclass(frozen=True)
class WardrobeConfig(WorldConfig):
    """The drawn world wardrobe: score ranking files, or run a model.

    Example: scot evaluate wardrobe --gallery data/wardrobe --composer sum
    """

    world = "wardrobe"


@dataclass(frozen=True)
class ScenesConfig(WorldConfig):
    """The drawn world scenes: score ranking files, or run a model.

    Example: scot evaluate scenes --gallery data/scenes --composer sum
    """

    world = "scenes"


def load(config: WorldConfig) -> Benchmark:
    """Read a drawn gallery's queries, drawing it first where none was named.

    Raises:
        NotFound, InvalidInput: the folder holds no gallery of this world.
    """
    check_split(config.world, config.split, ["eval"])
    folder = config.annotations
    if folder is None:
        if config.rankings:
            raise InvalidFlag("--gallery is missing: rankings are of a gallery that `scot draw --split eval` wrote")
        folder = Path(config.output) / "gallery" / config.world
        draw(DrawConfig("wardrobe" if config.world == "wardrobe" else "scenes", folder, "eval"))
    benchmark = read_gallery(folder)
    if benchmark.name != config.world:
        raise InvalidInput(f"{folder} is a gallery of {benchmark.name}, not of {config.world}")
    return benchmark


def read_gallery(folder: str | Path) -> Benchmark:
    """The benchmark of a gallery that ``scot draw --split eval`` wrote, named by its world: a folder or a URL.

    Raises:
        NotFound, InvalidInput: the folder holds no gallery, or not a whole one.
    """
    place = open_place(folder)
    world, drawn = read_queries(place)
    refusals = Refusals()
    read = read_captioned(folder, refusals)
    records = list(read_ahead(read, CaptionedImage.located) if is_url(folder) else read)
    files = {record.image_id: record.image for record in records}
    captions = {record.image_id: record.captions[0] for record in records}
    if refusals.total > refusals.counts["not_in_table"]:
        raise InvalidInput(f"{folder} is not a whole gallery: {refusals.summary()}")
    queries = tuple(
        Query(
            query_id=query.query_id,
            reference=query.reference_id,
            edits=(query.edit,),
            targets=tuple(sorted(query.targets)),
            subset=tuple(name for name in query.subset if name != query.reference_id),
            caption=captions.get(query.reference_id, ""),
            edited_caption=query.edited_caption,
        )
        for query in drawn
    )
    check_queries(place / QUERIES, queries, files)
    images = {name: ImageFile(file) for name, file in files.items() if is_there(file)}
    return Benchmark(
        name=world,
        split="eval",
        parts=(Part("", tuple(files), queries),),
        protocol={
            "gallery": f"the {len(files):,} drawn pictures",
            "reference": "left out of the ranking",
            "target": "any picture that fits the edit",
            "subset": "the five other pictures of the query's subset",
            "edit": "as written",
            "ties": "the picture drawn earlier first",
        },
        measure=partial(recalls, whole_at=RECALL_AT, subset_at=SUBSET_AT),
        locate=lambda folder: {"": images},
        subset_depth=SUBSET_AT[-1],
        drop_reference=True,
    )


def gallery_hash(folder: str | Path) -> str:
    """A short hash of a gallery's image ids and queries."""
    names = [record.image_id for record in read_captioned(folder, Refusals())]
    queries = (open_place(folder) / QUERIES).read_bytes().decode()
    return hashlib.sha256("\n".join([*names, queries]).encode()).hexdigest()[:16]
