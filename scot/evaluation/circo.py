"""CIRCO (Baldrati et al. 2023, arXiv 2303.15247): all of COCO 2017 unlabeled as the gallery, several right answers.

mAP@K over all right answers, Recall@K of the first only, and mAP@10 over the queries of each semantic aspect. The
reference stays in the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scot.errors import InvalidInput, NotFound
from scot.evaluation.annotations import check_queries, check_split, find, read_entries, read_json, some
from scot.evaluation.base import WHOLE, Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import ImageFile, find_images
from scot.evaluation.scoring import average_precision, recall_at

PUBLISHED = {"val": 220, "test": 800}
"""Queries of each split."""
GALLERY = 123_403
"""Pictures of COCO 2017 unlabeled."""
RANKS = (5, 10, 25, 50)
ASPECTS = (
    *("cardinality", "addition", "negation", "direct_addressing", "compare_change", "comparative_statement"),
    *("statement_with_conjunction", "spatial_relations_background", "viewpoint"),
)

_INFO = "image_info_unlabeled2017.json"
_INFO_PLACES = ("annotations", "COCO2017_unlabeled/annotations", "COCO2017_unlabeled")
_IMAGES = ("COCO2017_unlabeled/unlabeled2017", "unlabeled2017", "")


@dataclass(frozen=True)
class CircoConfig(BenchmarkConfig):
    """CIRCO: score a ranking file, or run a model on the images.

    Example: scot evaluate circo --annotations CIRCO --split val --rankings circo.json
    """

    shared_concept: bool = False
    """Deviation: the edit is "SHARED_CONCEPT that CAPTION"; the annotators gave the concept to settle doubts only."""
    remove_reference: bool = False
    """Deviation: the reference does not compete (CoVR's masking)."""


def load(config: CircoConfig) -> Benchmark:
    """Read and check the annotations of a split.

    Raises:
        NotFound, InvalidInput: a file is missing or incomplete, or the split is not one of CIRCO's.
    """
    check_split("circo", config.split, list(PUBLISHED))
    file = find(config.folder(), f"{config.split}.json", ("annotations",))
    fields: dict[str, type | tuple[type, ...]] = {
        "id": int,
        "reference_img_id": int,
        "relative_caption": str,
        "shared_concept": str,
    }
    if config.split == "val":
        fields |= {"target_img_id": int, "gt_img_ids": list, "semantic_aspects": list}
    queries = tuple(_query(entry, config) for entry in read_entries(file, fields))
    if unknown := [aspect for query in queries for aspect in query.aspects if aspect not in ASPECTS]:
        raise InvalidInput(f"{file} has semantic aspects that CIRCO does not: {some(dict.fromkeys(unknown))}")
    gallery = _gallery(config)
    check_queries(file, queries, gallery)
    deviations = (
        *size_deviation("queries", len(queries), PUBLISHED[config.split]),
        *(size_deviation("pictures", len(gallery), GALLERY) if gallery is not None else ()),
        *(('shared_concept: the edit is "SHARED_CONCEPT that CAPTION"',) if config.shared_concept else ()),
        *(("remove_reference: the reference does not compete",) if config.remove_reference else ()),
    )
    searched = f"the {len(gallery):,} pictures of {_INFO}" if gallery else f"not checked: the annotations lack {_INFO}"
    return Benchmark(
        name="circo",
        split=config.split,
        parts=(Part("", gallery, queries),),
        protocol={
            "gallery": searched,
            "reference": "left out of the ranking" if config.remove_reference else "competes",
            "map@K": "over all of gt_img_ids, divided by min(|gt_img_ids|, K)",
            "recall@K": "of target_img_id only",
            "edit": "SHARED_CONCEPT that CAPTION" if config.shared_concept else "the relative caption as written",
            "ties": "the smaller image id first",
        },
        measure=_measure,
        headline=lambda metrics: {},
        locate=partial(_locate, gallery=gallery),
        deviations=deviations,
        drop_reference=config.remove_reference,
        integers=True,
    )


def _query(entry: Mapping[str, object], config: CircoConfig) -> Query:
    caption, concept = str(entry["relative_caption"]), str(entry["shared_concept"])
    targets, aspects = entry.get("gt_img_ids", []), entry.get("semantic_aspects", [])
    assert isinstance(targets, list)
    assert isinstance(aspects, list)
    first = [] if config.split == "test" else [entry["target_img_id"]]
    return Query(
        query_id=str(entry["id"]),
        reference=str(entry["reference_img_id"]),
        edits=(f"{concept} that {caption}" if config.shared_concept else caption,),
        texts=(caption, concept),
        targets=tuple(dict.fromkeys(str(each) for each in (*first, *targets))),
        aspects=tuple(aspects),
    )


def _gallery(config: CircoConfig) -> tuple[str, ...] | None:
    """The ids of COCO's own list of the images, sorted, or None where it is neither here nor beside the images."""
    for folder in (config.folder(), config.images):
        try:
            file = None if folder is None else find(folder, _INFO, _INFO_PLACES)
        except NotFound:
            continue
        if file is not None:
            content = read_json(file)
            entries = content.get("images") if isinstance(content, dict) else None
            if not isinstance(entries, list) or not all(
                isinstance(each, dict) and isinstance(each.get("id"), int) for each in entries
            ):
                raise InvalidInput(f"{file} is not COCO's list of images: it needs 'images', each with an 'id'")
            return tuple(str(number) for number in sorted({each["id"] for each in entries}))
    if config.images is not None:
        raise NotFound(f"{config.annotations} and {config.images} lack {_INFO}, COCO's list of the gallery")
    return None


def _measure(query: Query, lists: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    ranking = lists[WHOLE]
    found = {f"map@{k}": average_precision(ranking, query.targets, k) for k in RANKS}
    found |= {f"recall@{k}": recall_at(ranking, query.targets[:1], k) for k in RANKS}
    return found | {f"map@10/{aspect}": found["map@10"] for aspect in query.aspects}


def _locate(images: Path, *, gallery: tuple[str, ...] | None) -> dict[str, dict[str, ImageFile]]:
    found = find_images(images, _IMAGES)
    stems = {name: f"{int(name):012d}" for name in gallery or ()}
    return {"": {name: ImageFile(found[stem]) for name, stem in stems.items() if stem in found}}
