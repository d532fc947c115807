"""The metrics of the search service, at Ray's metrics endpoint: ``ray_scot_search_…`` (docs/metrics.md lists them).

Every label has few values, whatever callers send: an answer is counted under its composer, without the weight that a
baseline's name may carry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.serve.metrics import Counter, Gauge, Histogram

from scot.index.collections import CollectionInfo
from scot.rerank.reranker import Reranking
from scot.v1 import search_pb2
from services.search.serve_calls import public_error
from services.search.tracing import span

STAGES = ("decode", "queue", "compose", "search", "total")
_OVERLAPS = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0]  # of ten items: between the tenths
_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


class GatewayMetrics:
    """The metrics of one Gateway replica; create it inside the replica."""

    def __init__(self) -> None:
        labels: Any = ("method", "code")  # Ray's annotation allows one label only
        self._requests = Counter("scot_search_requests", "RPCs answered, by gRPC code.", labels)
        self._request_seconds = Histogram("scot_search_request_seconds", "Time of an RPC.", _SECONDS, ("method",))
        self._stage_seconds = Histogram("scot_search_stage_seconds", "Time of a query's stages.", _SECONDS, ("stage",))
        self._answers = Counter("scot_search_answers", "Queries answered, by composer.", ("composer",))
        self._thresholds = Counter(
            "scot_search_threshold_answers",
            "Answers to queries with a score threshold, by whether anything was over it.",
            ("found",),
        )
        self._items = Counter("scot_search_items", "Items indexed, refused and deleted.", ("outcome",))
        store_labels: Any = ("operation", "code")
        self._store_seconds = Histogram(
            "scot_search_store_seconds", "Time of a call to the vector store, by its outcome.", _SECONDS, store_labels
        )
        self._shadow_queries = Counter(
            "scot_search_shadow_queries",
            "Queries with a shadow, by what came of it.",
            ("outcome",),
        )
        self._shadow_overlap = Histogram(
            "scot_search_shadow_overlap",
            "Share of the ten best items that a shadow has in common with the answer.",
            _OVERLAPS,
            ("composer",),
        )
        self._reranks = Counter(
            "scot_search_reranks", "Queries that wanted a second look, by what came of it.", ("outcome",)
        )
        self._verdicts = Counter("scot_search_rerank_verdicts", "Hits judged, by where the verdict was.", ("source",))
        self._rerank_tokens = Counter("scot_search_rerank_tokens", "Tokens of the judge's answers.", ("kind",))
        self._collection_items = Gauge("scot_search_collection_items", "Items in the collection.", ("collection",))
        self._cache = _cache_counter()

    def request(self, method: str, code: str, seconds: float) -> None:
        """Count one RPC, or one query of a stream."""
        self._requests.inc(tags={"method": method, "code": code})
        self._request_seconds.observe(seconds, tags={"method": method})

    def answer(self, request: search_pb2.ComposeSearchRequest, response: search_pb2.ComposeSearchResponse) -> None:
        """Count the answer to a query."""
        for stage in (*STAGES, "rerank") if request.HasField("rerank") else STAGES:
            self._stage_seconds.observe(getattr(response.timings, stage), tags={"stage": stage})
        self._answers.inc(tags={"composer": response.composer.partition(":")[0]})
        if request.HasField("score_threshold"):
            self._thresholds.inc(tags={"found": "yes" if response.hits else "no"})

    @contextmanager
    def store(self, operation: str) -> Iterator[None]:
        """Time the block, by ``operation`` and the gRPC code of its result."""
        begun, code = time.perf_counter(), "OK"
        try:
            with span(f"store {operation}", db__system__name="qdrant", db__operation__name=operation):
                yield
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:
            code = public_error(error)[0]
            raise
        finally:
            self._store_seconds.observe(time.perf_counter() - begun, tags={"operation": operation, "code": code})

    def shadowed(self, outcome: str) -> None:
        """Count a query with a shadow: ``compared``, ``dropped``, ``failed``, or ``empty`` (both found nothing)."""
        self._shadow_queries.inc(tags={"outcome": outcome})

    def overlap(self, composer: str, share: float) -> None:
        """Record the share of items that a shadow has in common with an answer."""
        self._shadow_overlap.observe(share, tags={"composer": composer.partition(":")[0]})

    def query_looked_up(self, outcome: str) -> None:
        """Count a query by whether its vector was in the cache (hit) or not (miss)."""
        self._cache.inc(tags={"kind": "query", "outcome": outcome})

    def reranked(self, judged: Reranking, candidates: int) -> None:
        """Count a second look: reranked, or why not; the verdicts, and the tokens of those that were new."""
        self._reranks.inc(tags={"outcome": judged.reason or "reranked"})
        cached = candidates - judged.asked if judged.probabilities else 0
        for source, number in (("judge", judged.asked), ("cache", cached)):
            if number:  # Ray refuses to add nothing
                self._verdicts.inc(number, tags={"source": source})
        for kind, number in (("prompt", judged.prompt_tokens), ("completion", judged.completion_tokens)):
            if number:
                self._rerank_tokens.inc(number, tags={"kind": kind})

    def collection(self, info: CollectionInfo) -> None:
        """Set the number of items of a collection."""
        self._collection_items.set(info.items, tags={"collection": info.name})

    def items(self, outcome: str, number: int) -> None:
        """Count ``indexed``, ``refused`` or ``deleted`` items."""
        if number:  # Ray refuses to add nothing
            self._items.inc(number, tags={"outcome": outcome})


class ComposerMetrics:
    """The metrics of one Composer replica; create it inside the replica."""

    def __init__(self) -> None:
        self._batch_size = Histogram(
            "scot_search_batch_size", "Queries composed at once.", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
        )
        self._cache = _cache_counter()
        self._cache_bytes = Gauge("scot_search_cache_bytes", "Size of the embeddings kept.")

    def batch(self, size: int) -> None:
        """Count a batch of queries."""
        self._batch_size.observe(size)

    def looked_up(self, kind: str, outcome: str, number: int) -> None:
        """Count images or texts by whether their embedding was in the cache (hit) or not (miss)."""
        if number:  # Ray refuses to add nothing
            self._cache.inc(number, tags={"kind": kind, "outcome": outcome})

    def cache_size(self, size: int) -> None:
        """Set the size of the cached embeddings, in bytes."""
        self._cache_bytes.set(size)


def _cache_counter() -> Counter:
    labels: Any = ("kind", "outcome")
    return Counter("scot_search_cache", "Queries, pictures and texts looked up among the vectors kept.", labels)
