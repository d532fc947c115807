"""What all benchmarks share: queries over galleries, and the measure of a query's ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scot.evaluation.images import ImageFile

WHOLE, SUBSET = "recall", "recall_subset"
"""The two kinds of rankings: of the gallery, and of a query's subset. CIRR's submission files use these words."""

Lists = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Part to query id to names, best first."""

Rankings = Mapping[str, Lists]
""":data:`WHOLE` or :data:`SUBSET`, or both, to the lists."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query. Every name is one of the part's images.

    Attributes:
        query_id: unique in the part.
        reference: the image that the edits change.
        edits: composed one by one; the query is the average of their unit query vectors.
        targets: the right answers, the one that the edit was written for first; empty if they are secret.
        also: further references; the query starts at the sum of all.
        wrong: images that are marked as wrong answers.
        subset: the few images of ``recall_subset``, without the reference.
        candidates: a gallery of this query only; empty if the part's gallery is searched.
        aspects: CIRCO's semantic aspects.
        texts: what the annotators wrote.
        soft: a grade for right and half-right answers.
        caption: the reference's caption, with which the moved oracle searches.
        edited_caption: the caption of a right answer, with which both oracles search.
    """

    query_id: str
    reference: str
    edits: tuple[str, ...]
    targets: tuple[str, ...] = ()
    subset: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    soft: Mapping[str, float] = field(default_factory=dict)
    caption: str = ""
    edited_caption: str = ""
    also: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """All references, the first one first."""
        return (self.reference, *self.also)

    def names(self) -> set[str]:
        """Every image that measuring the query needs."""
        return {*self.references, *self.targets, *self.subset, *self.candidates}


@dataclass(frozen=True, slots=True)
class Part:
    """Queries over one set of images: a category, a task, or the whole benchmark, whose name is "".

    ``gallery`` is every image that is searched; of equal scores, the earlier one ranks first. It is None where the
    annotations do not list it. ``apart`` are references that are not searched.
    """

    name: str
    gallery: tuple[str, ...] | None
    queries: tuple[Query, ...]
    apart: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """Every image of the part, those that are searched first; none where the annotations do not list them."""
        return () if self.gallery is None else (*self.gallery, *self.apart)


Measure = Callable[[Query, Mapping[str, tuple[str, ...]]], dict[str, float]]
"""From a query and its rankings (by :data:`WHOLE` and :data:`SUBSET`) to the metrics that are averaged over queries."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's queries and galleries, and its protocol in words."""

    name: str
    split: str
    parts: tuple[Part, ...]
    protocol: Mapping[str, Any]
    measure: Measure
    locate: Callable[[Path], dict[str, dict[str, ImageFile]]]
    """From the folder of the images to the image files of each part that exist."""
    headline: Callable[[Mapping[str, float]], dict[str, float]] = lambda metrics: {}
    """From the means of each part to the numbers that papers quote."""
    over_queries: Callable[[Sequence[Mapping[str, Any]]], dict[str, float]] = lambda per_query: {}
    """From what each query contributed to numbers that are no means over the queries."""
    pooled: bool = False
    """Whether parts are galleries alone: metrics are means over all queries, whatever their part."""
    deviations: tuple[str, ...] = ()
    """How this run differs from the published protocol."""
    depth: int = 50
    """The number of names a ranking needs."""
    subset_depth: int = 0
    """The number of names a subset ranking needs; 0: the benchmark has no subsets."""
    drop_reference: bool = False
    """Whether the reference does not compete."""
    integers: bool = False
    """Whether ranking files have integer names."""
    nested: bool = False
    """Whether ranking files have the queries of each part under its name."""
    list_key: str = ""
    """The key of a query's list in ranking files; empty: the list stands alone."""
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """``part/query`` to other names that ranking files may use for its candidates."""

    @property
    def queries(self) -> int:
        """The number of queries of all parts."""
        return sum(len(part.queries) for part in self.parts)

    @property
    def answered(self) -> bool:
        """Whether the right answers are public; otherwise only the authors' server knows them."""
        return all(query.targets for part in self.parts for query in part.queries)

    def protocol_and_deviations(self) -> dict[str, Any]:
        """The protocol with its deviations, as the result file has it."""
        return {**self.protocol, "deviations": list(self.deviations)}

    def without(self, missing: Mapping[str, set[str]]) -> Benchmark:
        """The benchmark without the ``missing`` images of each part, and without the queries that need one of them."""
        if not any(missing.values()):
            return self
        parts = []
        for part in self.parts:
            left_out = missing.get(part.name, set())
            queries = tuple(query for query in part.queries if not query.names() & left_out)
            gallery = None if part.gallery is None else tuple(name for name in part.gallery if name not in left_out)
            apart = tuple(name for name in part.apart if name not in left_out)
            parts.append(replace(part, gallery=gallery, queries=queries, apart=apart))
        remaining = replace(self, parts=tuple(parts))
        skipped = {"pictures": sum(map(len, missing.values())), "queries": self.queries - remaining.queries}
        images, left = (f"{count:,}" for count in skipped.values())
        deviation = f"skip_missing: {images} pictures that are missing and {left} queries that need them left out"
        protocol = {**self.protocol, "skipped": skipped}
        return replace(remaining, deviations=(*self.deviations, deviation), protocol=protocol)


def size_deviation(what: str, found: int, published: int) -> tuple[str, ...]:
    """A deviation if the annotations have another number of ``what`` than the published split."""
    return () if found == published else (f"size: {found:,} {what}, the published split has {published:,}",)
