"""i-CIR (Psomas et al., NeurIPS 2025, arXiv 2510.25387): one object again, changed by a text, among hard negatives.

Each of 202 objects has a database of its own, in which its queries search; the right answers are the database's images
with the query's text. Quoted is the mean average precision over all queries. Precision is averaged between the places
before and after each right answer (trapezoids), as in the authors' code, so it is not CIRCO's.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from scot.errors import InvalidInput
from scot.evaluation.annotations import check_split, find, some
from scot.evaluation.base import WHOLE, Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import ImageFile

PUBLISHED = (1_883, 202)
"""Queries and objects."""
QUERIES, DATABASE = "query_files.csv", "database_files.csv"
_FOLDERS = ("annotations", "icir")
_NO_DIVISION_BY_ZERO = 1e-5
"""What the authors' code adds to the number of right answers."""


@dataclass(frozen=True)
class IcirConfig(BenchmarkConfig):
    """i-CIR: score a ranking file, or run a model on the images.

    Example: scot evaluate icir --annotations icir --images icir --composer sum
    """


class _Row(NamedTuple):
    """A line of the authors' tables: an image, the text that it is a right answer to, or is asked with; its object."""

    path: str
    text: str
    instance: str


def load(config: IcirConfig) -> Benchmark:
    """Read and check both tables.

    Raises:
        NotFound, InvalidInput: a table is missing, incomplete, or does not fit the other.
    """
    check_split("icir", config.split, ["val"])
    files = [find(config.folder(), name, _FOLDERS) for name in (QUERIES, DATABASE)]
    asked, stored = map(_read, files)
    databases: dict[str, list[tuple[str, str]]] = {}
    paths: dict[str, str] = {}
    for number, row in enumerate(stored):
        name = row.path if row.path not in paths else f"{row.path} (line {number + 1})"
        paths[name] = row.path
        databases.setdefault(row.instance, []).append((name, row.text))
    queries: dict[str, list[Query]] = {}
    unanswered = []
    for number, row in enumerate(asked):
        database = databases.get(row.instance, [])
        targets = tuple(name for name, text in database if text == row.text)
        if not targets:
            unanswered.append(f"line {number + 1}")
        paths.setdefault(row.path, row.path)
        found = queries.setdefault(row.instance, [])
        found.append(Query(str(number), row.path, (row.text,), targets, texts=(row.text,)))
    if unanswered:
        raise InvalidInput(
            f"{files[0]} has {len(unanswered):,} queries without a right answer in {files[1]}: {some(unanswered)}"
        )
    parts = tuple(
        _part(instance, tuple(name for name, _ in databases[instance]), tuple(found))
        for instance, found in queries.items()
    )
    return Benchmark(
        name="icir",
        split=config.split,
        parts=parts,
        protocol={
            "gallery": f"each object's own, {len(stored):,} pictures of {len(databases):,} objects",
            "reference": "is not in the gallery",
            "target": "the object's pictures with the query's text",
            "map": "over the whole ranking, by trapezoids; the mean over all queries",
            "mmap": "the mean over objects of the mean over their queries",
            "edit": "the text as written",
            "ties": f"the picture earlier in {DATABASE} first",
        },
        measure=_measure,
        over_queries=_over_objects,
        locate=partial(_locate, parts=parts, paths=paths),
        deviations=(
            *size_deviation("queries", len(asked), PUBLISHED[0]),
            *size_deviation("objects", len(parts), PUBLISHED[1]),
        ),
        depth=max(map(len, databases.values())),
        nested=True,
        pooled=True,
    )


def _part(instance: str, gallery: tuple[str, ...], queries: tuple[Query, ...]) -> Part:
    known = frozenset(gallery)
    references = dict.fromkeys(query.reference for query in queries if query.reference not in known)
    return Part(instance, gallery, queries, tuple(references))


def trapezoidal_precision(ranking: Sequence[str], targets: Collection[str]) -> float:
    """The area under precision over recall by trapezoids, as ``compute_ap`` of the authors' ``utils.py``."""
    ranks = [rank for rank, name in enumerate(ranking) if name in targets]
    steps = ((1.0 if rank == 0 else found / rank) + (found + 1) / (rank + 1) for found, rank in enumerate(ranks))
    return math.fsum(steps) / 2 / (len(ranks) + _NO_DIVISION_BY_ZERO)


def _read(file: Path) -> list[_Row]:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    if not rows or (
        broken := [f"line {number}" for number, row in enumerate(rows, 1) if len(row) != len(_Row._fields)]
    ):
        raise InvalidInput(f"{file} is not a table of path, text and object: {some(broken) if rows else 'it is empty'}")
    return [_Row(*row) for row in rows]


def _measure(query: Query, lists: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    return {"map": trapezoidal_precision(lists[WHOLE], set(query.targets))}


def _over_objects(per_query: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    objects: dict[str, list[float]] = {}
    for each in per_query:
        objects.setdefault(each["part"], []).append(each["map"])
    return {
        "mmap": math.fsum(math.fsum(each) / len(each) for each in objects.values()) / len(objects),
        "minmap": math.fsum(map(min, objects.values())) / len(objects),
    }


def _locate(images: Path, *, parts: Sequence[Part], paths: Mapping[str, str]) -> dict[str, dict[str, ImageFile]]:
    """The files by their paths in the tables, which may begin with the name of the data set's own folder."""

    def file(path: str) -> Path | None:
        places = (images / path, images.joinpath(*Path(path).parts[1:]))
        return next((place for place in places if place.is_file()), None)

    return {
        part.name: {name: ImageFile(found) for name in part.images if (found := file(paths[name])) is not None}
        for part in parts
    }
