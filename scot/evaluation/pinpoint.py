"""PinPoint (Mahadev et al., CVPR 2026, arXiv 2603.04598): several right answers, and named wrong ones.

Precision, recall and average precision over all right answers, the share of the wrong ones that is found, average
precision without them, and how much precision@10 differs between the wordings of one reference. The reference competes.
A query of two references starts from the sum of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scot.errors import InvalidInput
from scot.evaluation.annotations import check_queries, check_split, find, repeated, some
from scot.evaluation.base import WHOLE, Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import find_images, located
from scot.evaluation.scoring import average_precision

PUBLISHED = (7_635, 109_600)
"""Queries and pictures, as the authors' files have them; their readme counts 109,599."""
RANKS = (1, 5, 10, 50)
QUERIES, GALLERY = "pinpoint_licensed.parquet", "index_signatures.txt"
_COLUMNS = ("query_id", "query_image_signature", "query_image_signature2", "instruction")
_NONE = (None, "", "None")
"""How a query says that it has one reference."""
_ANSWERS = ("positive_candidates", "negative_candidates")


@dataclass(frozen=True)
class PinPointConfig(BenchmarkConfig):
    """PinPoint: score a ranking file, or run a model on the images.

    Example: scot evaluate pinpoint --annotations pinpoint-dataset --rankings results.json
    """


def load(config: PinPointConfig) -> Benchmark:
    """Read and check the queries and the list of the gallery.

    Raises:
        NotFound, InvalidInput: a file is missing or incomplete.
    """
    check_split("pinpoint", config.split, ["val"])
    file = find(config.folder(), QUERIES, ())
    gallery = tuple(find(config.folder(), GALLERY, ()).read_text(encoding="utf-8").split())
    if again := repeated(gallery):
        raise InvalidInput(f"{config.folder() / GALLERY} names {len(again):,} pictures twice: {some(again)}")
    queries = _read(file)
    # The authors' list has the pictures that are searched; references need not be among them.
    known = frozenset(gallery)
    references = dict.fromkeys(name for query in queries for name in query.references if name not in known)
    part = Part("", gallery, queries, tuple(references))
    check_queries(file, queries, part.images)
    return Benchmark(
        name="pinpoint",
        split=config.split,
        parts=(part,),
        protocol={
            "gallery": f"the {len(gallery):,} pictures of {GALLERY}",
            "reference": "competes, if it is in the gallery",
            "map@K": "over all positive_candidates, divided by min(|positive_candidates|, K)",
            "neg_recall@K": "of negative_candidates, divided by min(|negative_candidates|, K)",
            "map_no_neg@K": "of the ranking without negative_candidates",
            "ling_sens": "precision@10 over the queries of one reference: the mean of the ranges, of the deviations",
            "ties": f"the picture earlier in {GALLERY} first",
        },
        measure=_measure,
        headline=_headline,
        over_queries=partial(_sensitivity, queries),
        locate=partial(_locate, names=part.images),
        deviations=(
            *size_deviation("queries", len(queries), PUBLISHED[0]),
            *size_deviation("pictures", len(gallery), PUBLISHED[1]),
        ),
        list_key="retrieved_items",
    )


def _read(file: Path) -> tuple[Query, ...]:
    import pyarrow as pa  # not in the base package
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=[*_COLUMNS, *_ANSWERS])
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(f"{file} is not PinPoint's table of queries: {str(error).splitlines()[0]}") from None
    return tuple(_query(entry) for entry in table.to_pylist())


def _query(entry: Mapping[str, Any]) -> Query:
    query_id = str(entry["query_id"]).removeprefix("query_").zfill(5)
    second = entry["query_image_signature2"]
    return Query(
        query_id=query_id,
        reference=str(entry["query_image_signature"]),
        also=() if second in _NONE else (str(second),),
        edits=(str(entry["instruction"]),),
        texts=(str(entry["instruction"]),),
        targets=tuple(entry["positive_candidates"] or ()),
        wrong=tuple(entry["negative_candidates"] or ()),
    )


def _measure(query: Query, lists: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    ranking = lists[WHOLE]
    wrong = set(query.wrong)
    remaining = tuple(name for name in ranking if name not in wrong)
    found: dict[str, float] = {}
    for k in RANKS:
        hits = sum(name in query.targets for name in ranking[:k])
        traps = sum(name in wrong for name in ranking[:k])
        found[f"precision@{k}"] = hits / k
        found[f"recall@{k}"] = hits / len(query.targets) if query.targets else 0.0
        found[f"map@{k}"] = average_precision(ranking, query.targets, k) if query.targets else 0.0
        found[f"map_no_neg@{k}"] = average_precision(remaining, query.targets, k) if query.targets else 0.0
        found[f"neg_recall@{k}"] = traps / min(len(query.wrong), k) if query.wrong else 0.0
    return found


def _headline(metrics: Mapping[str, float]) -> dict[str, float]:
    return {"delta_map_no_neg@10": metrics["map_no_neg@10"] - metrics["map@10"]}


def _sensitivity(queries: Sequence[Query], per_query: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The spread of precision@10 over the wordings of one reference, or of one pair of references."""
    wordings: dict[tuple[str, ...], list[float]] = {}
    references = {query.query_id: query.references for query in queries}
    for each in per_query:
        wordings.setdefault(references[each["query"]], []).append(each["precision@10"])
    several = [scores for scores in wordings.values() if len(scores) > 1]
    if not several:
        return {}
    return {
        "ling_sens_range": float(np.mean([max(scores) - min(scores) for scores in several])),
        "ling_sens_std": float(np.mean([np.std(scores) for scores in several])),
    }


def _locate(images: Path, *, names: tuple[str, ...]) -> dict[str, Any]:
    return {"": located(names, find_images(images, ("images", "")))}
