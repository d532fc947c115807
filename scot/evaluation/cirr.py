"""CIRR (Liu et al. 2021, arXiv 2108.04024): photos of daily life, and recall among six that look alike.

The reference does not compete. Recall@K is over all pictures of the split, Recall_subset@K over the five other members
of the query's ``img_set``; the quoted mean is (R@5 + R_subset@1) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from scot.evaluation.annotations import check_queries, check_split, find, read_entries, read_paths
from scot.evaluation.base import SUBSET, Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import ImageFile, find_images, located
from scot.evaluation.scoring import recalls

PUBLISHED = {"val": (4_181, 2_297), "test1": (4_148, 2_315)}
"""Queries and pictures of each split."""
RECALL_AT, SUBSET_AT = (1, 5, 10, 50), (1, 2, 3)

_CAPTIONS, _SPLITS = ("captions", "cirr/captions"), ("image_splits", "cirr/image_splits")


@dataclass(frozen=True)
class CirrConfig(BenchmarkConfig):
    """CIRR: score ranking files, or run a model on the images.

    Example: scot evaluate cirr --annotations CIRR --rankings recall.json --rankings recall_subset.json
    """

    keep_reference: bool = False
    """Deviation: let the reference compete (some early papers)."""
    soft_targets: bool = False
    """Deviation: Recall_subset counts target_soft, the best grade among the first K (CoVR's validation)."""


def load(config: CirrConfig) -> Benchmark:
    """Read and check the annotations of a split.

    Raises:
        NotFound, InvalidInput: a file is missing or incomplete, or the split is not one of CIRR's.
    """
    check_split("cirr", config.split, list(PUBLISHED))
    hidden = config.split == "test1"
    captions = find(config.folder(), f"cap.rc2.{config.split}.json", _CAPTIONS)
    fields: dict[str, type | tuple[type, ...]] = {"pairid": int, "reference": str, "caption": str, "img_set": dict}
    if not hidden:
        fields |= {"target_hard": str, "target_soft": dict}
    entries = read_entries(captions, fields)
    files = read_paths(find(config.folder(), f"split.rc2.{config.split}.json", _SPLITS))
    queries = tuple(
        Query(
            query_id=str(entry["pairid"]),
            reference=entry["reference"],
            edits=(entry["caption"],),
            texts=(entry["caption"],),
            targets=() if hidden else (entry["target_hard"],),
            subset=tuple(name for name in entry["img_set"].get("members", ()) if name != entry["reference"]),
            soft={} if hidden else entry["target_soft"],
        )
        for entry in entries
    )
    check_queries(captions, queries, files)
    deviations = (
        *size_deviation("queries", len(queries), PUBLISHED[config.split][0]),
        *size_deviation("pictures", len(files), PUBLISHED[config.split][1]),
        *(("keep_reference: the reference competes in the gallery",) if config.keep_reference else ()),
        *(("soft_targets: recall_subset is the best target_soft among the first K",) if config.soft_targets else ()),
    )
    return Benchmark(
        name="cirr",
        split=config.split,
        parts=(Part("", tuple(files), queries),),
        protocol={
            "gallery": f"the {len(files):,} pictures of split.rc2.{config.split}.json",
            "reference": "competes" if config.keep_reference else "left out of the ranking",
            "target": "target_hard",
            "subset": "the five other members of img_set",
            "edit": "the caption as written",
            "ties": "the picture earlier in the split file first",
        },
        measure=partial(_measure, soft=config.soft_targets),
        headline=_headline,
        locate=partial(_locate, files=files),
        deviations=deviations,
        subset_depth=SUBSET_AT[-1],
        drop_reference=not config.keep_reference,
    )


def _measure(query: Query, lists: Mapping[str, tuple[str, ...]], *, soft: bool) -> dict[str, float]:
    found = recalls(query, lists, whole_at=RECALL_AT, subset_at=SUBSET_AT)
    for k in SUBSET_AT if soft and SUBSET in lists else ():
        grades = [max(0.0, query.soft.get(name, 0.0)) for name in lists[SUBSET][:k]]
        found[f"recall_subset@{k}"] = max(grades, default=0.0)
    return found


def _headline(metrics: Mapping[str, float]) -> dict[str, float]:
    if "recall@5" not in metrics or "recall_subset@1" not in metrics:
        return {}
    return {"mean_r5_rsub1": (metrics["recall@5"] + metrics["recall_subset@1"]) / 2}


def _locate(images: Path, *, files: Mapping[str, str]) -> dict[str, dict[str, ImageFile]]:
    folders = dict.fromkeys(str(PurePosixPath(file).parent) for file in files.values())
    found = find_images(images, [place for folder in folders for place in (folder, f"images/{folder}", "")])
    return {"": located(files, found)}
