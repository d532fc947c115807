"""Reranking in the service: a judge that knows a drawn world behind a real endpoint, and everything it can do wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.client import Edit, NewItem, Reference, Rerank, ScotClient, Turn
from scot.errors import InvalidInput, NotFound
from scot.index.embedded import EmbeddedEngine
from scot.index.thumbnails import Thumbnails
from scot.worlds import WORLDS
from scot.worlds.gallery import evaluation_gallery
from services.search.gateway import context, second_look
from services.search.settings import from_args
from tests.support import served_here as serving
from tests.support.chat_endpoint import chat_endpoint, said
from tests.support.drawn_judge import MODEL, DrawnJudge, expected_recall

TOP = 8
SIZE, QUERIES = 60, 24
COMPOSER = "sum:0.6"
PLEASE = ", please"


@dataclass
class Endpoint:
    """The judge, or whatever answers instead of it, and how long it takes."""

    judge: DrawnJudge
    instead: Callable[[Any], dict[str, Any]] | None = None
    seconds: float = 0.0
    questions: list[Any] = field(default_factory=list)

    def __call__(self, asked: Any) -> dict[str, Any]:
        self.questions.append(asked)
        time.sleep(self.seconds)
        return (self.instead or self.judge)(asked)


@dataclass(frozen=True)
class World:
    """A served gallery, its judge, and its queries."""

    client: ScotClient
    endpoint: Endpoint
    images: dict[str, Image.Image]
    queries: tuple[Any, ...]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, drawn = tmp_path_factory.mktemp("reranked"), WORLDS["wardrobe"]()
    gallery = evaluation_gallery(drawn, size=SIZE, queries=QUERIES, seed=5)
    images = {item.item_id: item.draw(drawn) for item in gallery.items}
    right = {(each.reference_id, each.edit + words): each.targets for each in gallery.queries for words in ("", PLEASE)}
    endpoint = Endpoint(DrawnJudge(images.items(), right))
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("NO_PROXY", "127.0.0.1")
        url = stack.enter_context(chat_endpoint(endpoint, MODEL))
        places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
        judged = {"rerank_url": url, "rerank_model": MODEL, "rerank_top": TOP, "rerank_deadline_s": 60.0}
        target = stack.enter_context(serving.served_here(from_args({"threads": 1, **places, **judged})))
        client = stack.enter_context(ScotClient(target))
        for start in range(0, SIZE, 16):
            some = list(images.items())[start : start + 16]
            assert not client.upsert([NewItem(name, image=image) for name, image in some]).refused
        yield World(client, endpoint, images, gallery.queries)


@pytest.fixture(autouse=True)
def _as_it_was(world: World) -> Iterator[None]:
    yield
    world.endpoint.instead, world.endpoint.seconds, world.endpoint.judge.error = None, 0.0, 0.0


def search(world: World, query: Any, **options: Any) -> Any:
    given = {"item_id": query.reference_id, "edits": query.edit, "composer": COMPOSER, "limit": TOP, **options}
    return world.client.search(**given)


def names(found: Any) -> list[str]:
    return [hit.item_id for hit in found.hits]


@pytest.mark.parametrize(("error", "politely"), [(0.0, ""), (0.1, PLEASE)])
def test_a_judge_lifts_recall_by_what_theory_says(world: World, error: float, politely: str) -> None:
    world.endpoint.judge.error = error  # politely: verdicts without errors are in the cache
    ranks, hits = [], []
    for query in world.queries:
        first = names(search(world, query, edits=query.edit + politely))
        ranks.append(frozenset(place for place, name in enumerate(first) if name in query.targets))
        found = search(world, query, edits=query.edit + politely, rerank=Rerank(weight=2.0))
        assert found.reranked or found.rerank_reason == "same_for_all"
        hits.append(found.hits[0].item_id in query.targets)
    expected, before = expected_recall(ranks, TOP, error), np.mean([0 in right for right in ranks])
    spread = 3 * np.sqrt(expected * (1 - expected) / len(ranks))
    assert abs(np.mean(hits) - expected) <= (spread if error else 1e-9)
    assert expected > before + 0.05


def test_a_page_is_cut_from_the_reranked_order_and_what_is_behind_the_top_stays(world: World) -> None:
    query = world.queries[0]
    whole = search(world, query, limit=20, rerank=Rerank())
    plain = search(world, query, limit=20)
    assert sorted(names(whole)[:TOP]) == sorted(names(plain)[:TOP])
    assert names(whole)[TOP:] == names(plain)[TOP:]
    pages = [search(world, query, limit=5, offset=offset, rerank=Rerank()) for offset in (0, 5, 10)]
    assert [name for page in pages for name in names(page)] == names(whole)[:15]
    assert [(page.reranked, page.rerank_reason) for page in pages] == [(True, ""), (True, ""), (False, "behind_top")]
    scores = {hit.item_id: hit.score for hit in plain.hits}
    assert all(hit.score == pytest.approx(scores[hit.item_id]) for hit in whole.hits)


def test_a_picture_a_text_and_an_item_can_be_judged_and_a_vector_cannot(world: World) -> None:
    query = world.queries[1]
    by_item = search(world, query, rerank=Rerank(weight=2.0))
    by_picture = search(world, query, item_id=None, image=world.images[query.reference_id], rerank=Rerank(weight=2.0))
    assert by_item.hits[0].item_id in query.targets
    best = next(name for name in names(by_picture) if name != query.reference_id)
    assert best in query.targets
    vector = world.client.get([query.reference_id], with_vectors=True)[query.reference_id].vector
    by_vector = search(world, query, item_id=None, vector=vector, rerank=Rerank())
    assert (by_vector.reranked, by_vector.rerank_reason) == (False, "no_reference_picture")
    world.endpoint.questions.clear()
    world.endpoint.instead = lambda asked: said("yes")
    text = search(
        world, query, item_id=None, edits=[Edit("a skirt"), Edit("dots", negative=True)], rerank=Rerank(top=2)
    )
    assert (text.reranked, text.rerank_reason) == (False, "no_probabilities")
    (system, user), *_ = [each["messages"] for each in world.endpoint.questions]
    assert [part["type"] for part in user["content"]].count("image_url") == 1
    assert any('"a skirt, and not dots"' in part.get("text", "") for part in user["content"])
    assert "describes a picture" in system["content"]


def test_a_slow_judge_costs_the_deadline_and_the_first_order_is_returned(world: World) -> None:
    query = world.queries[2]
    world.endpoint.seconds = 1.0
    plain = search(world, query)
    late = search(world, query, edits=f"{query.edit} now", rerank=Rerank(deadline_s=0.05))
    assert (late.reranked, late.rerank_reason) == (False, "late")
    assert len(late.hits) == len(plain.hits)
    assert late.timings["rerank"] >= 0.04
    assert late.timings["rerank"] <= late.timings["total"]
    assert names(late) == names(search(world, query, edits=f"{query.edit} now"))
    assert search(world, query).timings["rerank"] == 0.0


def test_a_slow_judge_leaves_places_to_others(world: World) -> None:
    world.endpoint.seconds = 0.5
    queries = [
        {
            "item_id": each.reference_id,
            "edits": f"{each.edit} at once",
            "composer": COMPOSER,
            "rerank": Rerank(deadline_s=3),
        }
        for each in world.queries[:20]
    ]
    with ThreadPoolExecutor(len(queries)) as threads:
        found = list(threads.map(lambda query: world.client.search(**query), queries))
    reasons = Counter(each.rerank_reason for each in found)
    assert reasons["busy"] >= 1
    assert reasons["busy"] < len(queries)
    assert all(each.hits for each in found)


@pytest.mark.parametrize("top", [1, 5])
def test_missing_thumbnails_leave_the_first_order(world: World, top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query = world.queries[3]
    read = Thumbnails.read
    lost = names(search(world, query))[0]
    monkeypatch.setattr(
        Thumbnails, "read", lambda self, place, ids: {k: v for k, v in read(self, place, ids).items() if k != lost}
    )
    found = search(world, query, rerank=Rerank(top=top))
    assert (found.reranked, found.rerank_reason) == (False, "no_candidate_picture")
    assert names(found)[0] == lost


def test_a_second_look_costs_no_call_and_no_store_query_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    for owner, steps in {
        context: ["decode_image"],
        second_look: ["decode_image"],
        EmbeddedEngine: ["query", "retrieve", "describe", "scroll", "count"],
        Thumbnails: ["read"],
    }.items():
        for name in steps:
            count(owner, name)
    handle = serving.Handle.__getattr__
    monkeypatch.setattr(
        serving.Handle, "__getattr__", lambda self, name: (counts.update(calls=1), handle(self, name))[1]
    )
    query = world.queries[4]
    image = world.images[query.reference_id]
    search(world, query, item_id=None, image=image, edits="in blue")
    plain = dict(counts)
    counts.clear()
    search(world, query, item_id=None, image=image, rerank=Rerank())
    assert counts == {**plain, "read": 1}
    asked = len(world.endpoint.questions)
    counts.clear()
    search(world, query, item_id=None, image=image, rerank=Rerank())
    assert len(world.endpoint.questions) == asked  # every verdict is cached, and so is the query vector
    assert counts == {"query": 1, "read": 1, "decode_image": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rerank": Rerank(top=101)}, "rerank.top: 101 are more than 100"),
        ({"rerank": Rerank(weight=-1.0)}, "rerank.weight: must be between 0 and 10"),
        ({"rerank": Rerank(weight=float("nan"))}, "rerank.weight"),
        ({"rerank": Rerank(deadline_s=0.0)}, "rerank.deadline: must be above 0 and at most 60 seconds"),
        ({"rerank": Rerank(), "diversity": 0.5}, "rerank: cannot be used with mmr"),
        ({"rerank": Rerank(), "group_by": "n"}, "rerank: cannot be used with group_by"),
        ({"rerank": Rerank(), "edits": []}, "rerank: needs an edit"),
        ({"rerank": Rerank(), "like": ["wardrobe-00001"]}, "rerank: needs a query of one turn"),
        ({"rerank": Rerank(), "turns": [Turn(edits="red")]}, "rerank: needs a query of one turn"),
        (
            {"rerank": Rerank(), "references": [Reference(item_id="wardrobe-00002")]},
            "rerank: needs a query of one turn",
        ),
    ],
)
def test_a_wrong_wish_is_one_sentence(world: World, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        search(world, world.queries[0], **options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_model_is_not_there(world: World) -> None:
    with pytest.raises(NotFound, match=r"rerank\.model: this service has no reranker 'gpt', but 'drawn-judge'"):
        search(world, world.queries[0], rerank=Rerank(model="gpt"))


def test_a_service_without_a_reranker_says_so(tmp_path: Path) -> None:
    with (
        serving.served_here(from_args({"threads": 1, "store": str(tmp_path / "qdrant")})) as target,
        ScotClient(target) as client,
        pytest.raises(InvalidInput, match="rerank: this service has no reranker"),
    ):
        client.search(edits="a shirt", rerank=Rerank())
