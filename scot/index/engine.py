"""The interface of a vector engine, implemented by :mod:`scot.index.embedded` and :mod:`scot.index.remote`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from scot.index.config import CollectionConfig, SearchParams
from scot.index.filters import Filter

Vector = npt.NDArray[np.float32]  # (D,)


@dataclass(frozen=True, slots=True)
class Point:
    """A point: a UUID, its vector ``(D,)`` (None if not requested), its payload, and its cosine if it was searched."""

    id: str
    vector: Vector | None
    payload: Mapping[str, Any]
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A collection as its engine describes it."""

    points: int
    metadata: Mapping[str, Any]
    payload_index: Mapping[str, str]
    quantization: str
    ready: bool
    """Whether the indexes of all points are built, and a graph is to be built at all."""


@dataclass(frozen=True, slots=True)
class Mmr:
    """Maximal marginal relevance: choose among the ``candidates`` nearest by ``diversity``, 0 (similarity) to 1.

    Carbonell and Goldstein, SIGIR 1998, with lambda = 1 - diversity.
    """

    diversity: float
    candidates: int


@dataclass(frozen=True, slots=True)
class Search:
    """One nearest-neighbor query by cosine; ``exclude`` are point ids that must not be found."""

    vector: Vector
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    exclude: Sequence[str] = ()
    score_threshold: float | None = None
    with_vectors: bool = False
    mmr: Mmr | None = None
    with_payload: bool = True


class Engine(Protocol):
    """Collections of points, and aliases of collections. ``name`` may be an alias, except to create or drop.

    Every method raises :class:`~scot.errors.Unavailable` if the engine cannot be reached, and every method with a
    collection raises :class:`~scot.errors.NotFound` if it does not exist.
    """

    embedded: bool
    """Whether it runs in this process, on a folder that no other process can open at the same time."""

    async def create(
        self, name: str, dim: int, config: CollectionConfig, metadata: Mapping[str, Any], *, graph: bool = True
    ) -> None:
        """Create a collection with its payload indexes; one that exists stays as it is.

        Without ``graph`` a server builds none until :meth:`build_graph`, so that a large load is not indexed twice.

        Raises:
            InvalidInput: the name is not valid.
        """

    async def build_graph(self, name: str, config: CollectionConfig) -> None:
        """Let a collection that was created without a graph have one from now on; its building begins."""

    async def describe(self, name: str) -> Stored:
        """Describe a collection."""

    async def names(self) -> list[str]:
        """The names of all collections, sorted, without aliases."""

    async def aliases(self) -> dict[str, str]:
        """Every alias and its collection, sorted."""

    async def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        """Point aliases at collections, or remove those with ``None``, in one atomic step."""

    async def drop(self, name: str) -> None:
        """Delete a collection, its points and its aliases."""

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Insert or replace points. When it returns, they are durable and searches see them."""

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""

    async def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Point]:
        """The points that exist among ``ids``, in any order."""

    async def query(self, name: str, search: Search, params: SearchParams) -> list[Point]:
        """The nearest points, best first; the order of equal scores, and which of them end it, is the engine's."""

    async def count(self, name: str, filter: Filter | None = None) -> int:
        """The number of points that the filter leaves."""

    async def facet(
        self, name: str, field: str, kind: str, *, filter: Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        """The most frequent values of a field with an index of that kind, and their numbers of points."""

    async def scroll(
        self,
        name: str,
        *,
        after: str | None,
        limit: int,
        filter: Filter | None = None,
        keys: Sequence[str] | None = None,
    ) -> tuple[list[Point], str | None]:
        """Up to ``limit`` points in the order of their ids, from ``after`` on, and the next id; None at the end.

        Without vectors, and with the payload of ``keys`` only, if they are given.
        """

    async def optimize(self, name: str) -> None:
        """Wait until the indexes of all points are built."""

    async def close(self) -> None:
        """Close the engine."""
