"""What the benchmarks have in common: queries over galleries, and what is measured of each query's ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scot.evaluation.images import Picture

WHOLE, SUBSET = "recall", "recall_subset"
"""What a ranking is over: the gallery, or a query's few candidates. The words of CIRR's submission files."""

Lists = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Part to query id to names, best first."""

Rankings = Mapping[str, Lists]
""":data:`WHOLE` or :data:`SUBSET`, or both, to the lists."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query. Every name is one of the part's pictures.

    ``edits`` are composed one by one and their unit query vectors averaged; ``targets`` are the right answers, the one
    the edit was written for first, or none where the benchmark keeps them secret; ``subset`` are the few pictures of
    ``recall_subset``, the reference not among them; ``candidates`` is a gallery of the query's own, empty for the
    part's; ``texts`` are what the annotators wrote of it; ``soft`` grades right and half-right answers;
    ``edited_caption`` is the caption of a right answer, which the oracle searches with.
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
    edited_caption: str = ""

    def names(self) -> set[str]:
        """Every picture that the query cannot be measured without."""
        return {self.reference, *self.targets, *self.subset, *self.candidates}


@dataclass(frozen=True, slots=True)
class Part:
    """Queries over one set of pictures: a category, a task, or, named "", all there is.

    ``gallery`` is every picture the queries name or search, in the order in which ties are settled; None where unknown.
    """

    name: str
    gallery: tuple[str, ...] | None
    queries: tuple[Query, ...]


Measure = Callable[[Query, Mapping[str, tuple[str, ...]]], dict[str, float]]
"""A query and its rankings (by :data:`WHOLE` and :data:`SUBSET`) to what is averaged over queries."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's queries and galleries, and its protocol as people read it."""

    name: str
    split: str
    parts: tuple[Part, ...]
    protocol: Mapping[str, Any]
    measure: Measure
    headline: Callable[[Mapping[str, float]], dict[str, float]]
    """From the means per part to the numbers that are quoted."""
    locate: Callable[[Path], dict[str, dict[str, Picture]]]
    """From the folder of the images to each part's pictures; what is not there is left out."""
    deviations: tuple[str, ...] = ()
    """How this run differs from the published protocol."""
    depth: int = 50
    """How many names a ranking needs."""
    subset_depth: int = 0
    """How many names a subset ranking needs; 0 where the benchmark has none."""
    drop_reference: bool = False
    """Whether the reference does not compete."""
    integers: bool = False
    """Whether files hold names as integers."""
    nested: bool = False
    """Whether files hold the queries of each part under its name."""
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """``part/query`` to other names of its candidates that files may use."""

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return sum(len(part.queries) for part in self.parts)

    @property
    def answered(self) -> bool:
        """Whether the right answers are known here, or only by the test server."""
        return all(query.targets for part in self.parts for query in part.queries)

    def protocol_and_deviations(self) -> dict[str, Any]:
        """The protocol with the deviations, for the result."""
        return {**self.protocol, "deviations": list(self.deviations)}

    def without(self, missing: Mapping[str, set[str]]) -> Benchmark:
        """The benchmark without some pictures of each part, and without the queries that need one of them."""
        if not any(missing.values()):
            return self
        parts = []
        for part in self.parts:
            gone = missing.get(part.name, set())
            queries = tuple(query for query in part.queries if not query.names() & gone)
            gallery = None if part.gallery is None else tuple(name for name in part.gallery if name not in gone)
            parts.append(replace(part, gallery=gallery, queries=queries))
        kept = replace(self, parts=tuple(parts))
        pictures, queries_gone = sum(map(len, missing.values())), self.queries - kept.queries
        said = (
            f"skip_missing: {pictures:,} pictures that are missing and {queries_gone:,} queries that need them left out"
        )
        skipped = {"pictures": pictures, "queries": queries_gone}
        return replace(kept, deviations=(*self.deviations, said), protocol={**self.protocol, "skipped": skipped})


def size_deviation(what: str, found: int, published: int) -> tuple[str, ...]:
    """A deviation to tell when the annotations are not all of the published ones."""
    return () if found == published else (f"size: {found:,} {what}, the published split has {published:,}",)
