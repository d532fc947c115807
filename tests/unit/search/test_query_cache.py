"""Query vectors that are cached: never those of another query, and never of a composer that no longer answers."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.v1 import search_pb2
from services.search.composer.messages import Composed
from services.search.gateway.query_cache import QueryCache, key_of
from services.search.rpc.query import SearchQuery, parse_query

DIM = 4


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def vector(*values: float) -> search_pb2.Vector:
    return search_pb2.Vector(values=values)


def query(**fields: Any) -> SearchQuery:
    request = search_pb2.ComposeSearchRequest(**fields)
    return parse_query(request, dim=DIM, collection=request.collection or "gallery")


def edited(text: str = "make it red", **more: Any) -> list[search_pb2.Edit]:
    return [search_pb2.Edit(text=text, **more)]


def by_image(colour: str = "red", **more: Any) -> search_pb2.Reference:
    return search_pb2.Reference(image=png(colour), **more)


STORED = {name: np.eye(DIM, dtype=np.float32)[n] for n, name in enumerate("abc")}
DIFFERENT = [
    query(reference=by_image(), edits=edited()),
    query(reference=by_image("blue"), edits=edited()),
    query(reference=by_image(weight=0.5), edits=edited()),
    query(reference=by_image(), edits=edited("make it blue")),
    query(reference=by_image(), edits=edited(weight=0.5)),
    query(reference=by_image(), edits=edited(negative=True)),
    query(reference=by_image(), edits=edited(), composer="sum"),
    query(reference=by_image(), edits=edited(), collection="other"),
    query(reference=by_image(), edits=edited(), like=["a"]),
    query(reference=by_image(), edits=edited(), dislike=["a"]),
    query(reference=by_image(), edits=edited(), like=["a", "b"]),
    query(reference=by_image(), edits=edited(), like=["a"], dislike=["b"]),
    query(reference=search_pb2.Reference(item_id="a"), edits=edited()),
    query(reference=search_pb2.Reference(item_id="b"), edits=edited()),
    query(reference=search_pb2.Reference(vector=vector(1, 0, 0, 0)), edits=edited()),
    query(references=[by_image(), by_image("blue")], edits=edited()),
    query(references=[by_image("blue"), by_image()], edits=edited()),
    query(turns=[search_pb2.Turn(references=[by_image()], edits=edited())], edits=edited()),
    query(turns=[search_pb2.Turn(references=[by_image()])], edits=edited()),
    query(edits=edited()),
]


def test_each_query_has_a_key_of_its_own() -> None:
    assert len({key_of(each, STORED) for each in DIFFERENT}) == len(DIFFERENT)
    by_item = DIFFERENT[12]
    assert key_of(by_item, STORED) != key_of(by_item, {**STORED, "a": STORED["b"]})  # its picture has changed


@pytest.mark.parametrize(
    "more", [{"limit": 3}, {"offset": 5}, {"session": "x"}, {"with_vectors": True}, {"score_threshold": 0.5}]
)
def test_what_does_not_change_the_vector_is_not_in_the_key(more: dict[str, Any]) -> None:
    whole = {"reference": by_image(), "edits": edited()}
    assert key_of(query(**whole, **more), STORED) == key_of(query(**whole), STORED)


class Service:
    """Which composer answers, and a cache in front."""

    def __init__(self, max_bytes: int = 10_000) -> None:
        self.name, self.now, self.asked = "v1", 0.0, 0
        self.counts = Counter[str]()
        self.cache = QueryCache(max_bytes, self.answering, self.count, lambda: self.now)

    def count(self, outcome: str) -> None:
        self.counts[outcome] += 1

    async def answering(self) -> str:
        self.asked += 1
        return self.name

    def search(self, wanted: SearchQuery, **composed: Any) -> bool:
        """Whether it came from the cache; if not, it is composed."""

        async def run() -> bool:
            key = self.cache.key(wanted, STORED)
            found = await self.cache.get(key, wanted.composer)
            if found is None:
                made = Composed(STORED["a"], wanted.composer or self.name, queue_s=1.0, compose_s=1.0, **composed)
                self.cache.put(key, made)
                return False
            assert (found.queue_s, found.compose_s) == (0.0, 0.0)
            np.testing.assert_array_equal(found.vector, STORED["a"])
            return True

        return asyncio.run(run())


def test_the_same_query_is_composed_once_and_the_composer_asked_for_now_and_then() -> None:
    service = Service()
    assert [service.search(DIFFERENT[0]) for _ in range(5)] == [False, True, True, True, True]
    assert service.asked == 1
    assert service.counts == {"miss": 1, "hit": 4}


def test_another_composer_answers_within_two_seconds() -> None:
    service = Service()
    assert [service.search(DIFFERENT[0]) for _ in range(2)] == [False, True]
    service.name = "v2"
    service.now = 2.1
    assert [service.search(DIFFERENT[0]) for _ in range(2)] == [False, True]
    service.now = 4.5
    service.name = ""  # queries are split, or have a shadow
    assert [service.search(DIFFERENT[0]) for _ in range(2)] == [False, False]


def test_a_query_that_names_its_composer_asks_nobody() -> None:
    service = Service()
    assert [service.search(DIFFERENT[6]) for _ in range(2)] == [False, True]
    assert service.asked == 0


@pytest.mark.parametrize("composed", [{"shadow": "v2"}, {"repeatable": False}])
def test_answers_that_may_be_others_next_time_are_not_kept(composed: dict[str, Any]) -> None:
    service = Service()
    assert [service.search(DIFFERENT[0], **composed) for _ in range(2)] == [False, False]


def test_its_size_is_limited_and_zero_is_no_cache() -> None:
    service = Service(max_bytes=2_000)  # three entries
    assert not any(service.search(each) for each in DIFFERENT[:4])
    assert service.search(DIFFERENT[3])
    assert not service.search(DIFFERENT[0])
    without = Service(max_bytes=0)
    assert not any(without.search(DIFFERENT[0]) for _ in range(3))
    assert not without.counts
