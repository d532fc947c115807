"""FashionIQ (Wu et al. 2021, arXiv 1905.12794): garments of three categories, two captions a query.

The gallery of a category is all of its split file ("original split") and holds the reference. The captions are joined
as "c0 and c1" after ``.?, `` was stripped from both; the query vectors of the two orders are averaged, as SEARLE
(arXiv 2303.15247) and LinCIR (arXiv 2312.01998) do. Quoted are Recall@10 and @50, and their mean over the categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from scot.errors import InvalidInput
from scot.evaluation.annotations import check_queries, check_split, find, read_entries, read_names, some
from scot.evaluation.base import Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import ImageFile, find_images, located
from scot.evaluation.scoring import mean_over, recalls

PUBLISHED = {"dress": (2_017, 3_817), "shirt": (2_038, 6_346), "toptee": (1_961, 5_373)}
"""Queries and pictures of each category's validation split."""
RECALL_AT = (10, 50)

_PLACES = ("captions", "image_splits")


@dataclass(frozen=True)
class FashionIqConfig(BenchmarkConfig):
    """FashionIQ: score a ranking file, or run a model on the images.

    Example: scot evaluate fashioniq --annotations FashionIQ --rankings fashioniq.json
    """

    gallery_split: Literal["original", "val"] = "original"
    """Deviation "val": the gallery holds only the candidates and targets of the queries, which is easier."""
    caption_order: Literal["both", "first"] = "both"
    """Deviation "first": only "c0 and c1" is encoded, not both orders."""
    remove_reference: bool = False
    """Deviation: the reference does not compete (CoVR's masking)."""


def load(config: FashionIqConfig) -> Benchmark:
    """Read and check the annotations of the three categories.

    Raises:
        NotFound, InvalidInput: a file is missing or incomplete, or the answers of the split are not public.
    """
    check_split("fashioniq", config.split, ["val"])
    parts: list[Part] = []
    deviations: list[str] = []
    for category, (queries, images) in PUBLISHED.items():
        part, gallery = _part(config, category)
        parts.append(part)
        deviations += size_deviation(f"queries of {category}", len(part.queries), queries)
        deviations += size_deviation(f"pictures of {category}", len(gallery), images)
    if config.gallery_split == "val":
        deviations.append("gallery_split=val: the gallery holds only the candidates and targets of the queries")
    if config.caption_order == "first":
        deviations.append('caption_order=first: only "c0 and c1", not both orders averaged')
    if config.remove_reference:
        deviations.append("remove_reference: the reference does not compete")
    sizes = " / ".join(f"{len(part.gallery or ()):,}" for part in parts)
    both = '"c0 and c1" and "c1 and c0", unit query vectors averaged'
    return Benchmark(
        name="fashioniq",
        split=config.split,
        parts=tuple(parts),
        protocol={
            "gallery": f"{config.gallery_split} split: {sizes} pictures of {' / '.join(PUBLISHED)}",
            "reference": "left out of the ranking" if config.remove_reference else "competes",
            "edit": f'{both if config.caption_order == "both" else "c0 and c1"}, ".?, " stripped from each',
            "mean": "unweighted over the three categories",
            "ties": "the picture earlier in the split file first",
        },
        measure=partial(recalls, whole_at=RECALL_AT),
        headline=partial(mean_over, parts=list(PUBLISHED), names=[f"recall@{k}" for k in RECALL_AT]),
        locate=partial(_locate, parts=tuple(parts)),
        deviations=tuple(deviations),
        drop_reference=config.remove_reference,
        nested=True,
    )


def joined(first: str, second: str) -> str:
    """Two captions as one text."""
    return f"{first.strip('.?, ')} and {second.strip('.?, ')}"


def _part(config: FashionIqConfig, category: str) -> tuple[Part, list[str]]:
    """The part, and all names of its split file; with ``gallery_split=val`` the part's gallery has fewer."""
    captions = find(config.folder(), f"cap.{category}.{config.split}.json", _PLACES)
    entries = read_entries(captions, {"target": str, "candidate": str, "captions": list})
    broken = [
        number
        for number, entry in enumerate(entries)
        if len(entry["captions"]) != 2 or not all(isinstance(text, str) for text in entry["captions"])
    ]
    if broken:
        raise InvalidInput(f"{captions} has {len(broken):,} entries without two captions: {some(broken)}")
    gallery = read_names(find(config.folder(), f"split.{category}.{config.split}.json", _PLACES))
    queries = []
    for number, entry in enumerate(entries):
        c0, c1 = entry["captions"]
        edits = (joined(c0, c1), joined(c1, c0)) if config.caption_order == "both" else (joined(c0, c1),)
        queries.append(Query(str(number), entry["candidate"], edits, (entry["target"],), texts=(c0, c1)))
    check_queries(captions, queries, gallery)
    used = {name for query in queries for name in query.names()}
    searched = gallery if config.gallery_split == "original" else [name for name in gallery if name in used]
    return Part(category, tuple(searched), tuple(queries)), gallery


def _locate(images: Path, *, parts: tuple[Part, ...]) -> dict[str, dict[str, ImageFile]]:
    return {
        part.name: located(part.gallery or (), find_images(images, ["images", "", part.name, f"images/{part.name}"]))
        for part in parts
    }
