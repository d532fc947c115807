"""A conversation as a query vector: references, edits, likes, dislikes and turns, against the formulas in the proto."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.conversation import (
    Gallery,
    changing_the_mind,
    feedback,
    going_on_from_hits,
    most_alike,
    one_long_edit,
    packaged,
    recall,
    saying_more,
)
from scot.client import AsyncScotClient, Edit, Filter, Match, MatchAny, NewItem, Reference, ScotClient, Turn
from scot.composers import baseline
from scot.encoders import Encoder, load_encoder
from scot.errors import InvalidInput
from scot.worlds import load_world
from services.search.composer.compose_batch import compose_batch
from services.search.composer.conversation import CARRY, DISLIKE, LIKE
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import Composed, ComposeJob, ComposeTurn
from services.search.settings import from_args
from tests.support.served_here import served_here

Vector = npt.NDArray[np.float32]
DIM = 256


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny")


def unit(vector: Any) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def vectors(seed: int, count: int) -> list[Vector]:
    return [unit(row) for row in np.random.default_rng(seed).normal(size=(count, DIM))]


def composed(encoder: Encoder, *turns: ComposeTurn) -> Vector:
    (answer,) = compose_batch(CachedEncoder(encoder), lambda _: baseline("sum"), [ComposeJob(turns, "sum")])
    assert isinstance(answer, Composed)
    return answer.vector


def near(vector: Vector) -> Any:
    return pytest.approx(vector, abs=1e-5)


def test_references_are_added_by_their_weights(encoder: Encoder) -> None:
    a, b = vectors(0, 2)
    pixels = encoder.preprocess(Image.new("RGB", (80, 80), "olive"))
    image = encoder.encode_pixels([pixels])[0]
    turn = ComposeTurn(images=((pixels, 2.0),), vector=a - 0.5 * b, vector_weight=1.5)
    assert composed(encoder, turn) == near(unit(2 * image + a - 0.5 * b))
    assert composed(encoder, ComposeTurn(images=((pixels, 3.0),))) == near(image)


def test_small_weights_weigh_as_large_ones(encoder: Encoder) -> None:
    a, b = vectors(7, 2)
    tiny = 1e-7
    turn = ComposeTurn(vector=(tiny * (a + b)).astype(np.float32), vector_weight=2 * tiny)
    assert composed(encoder, turn) == near(unit(a + b))


def test_likes_and_dislikes_move_relative_to_the_query(encoder: Encoder) -> None:
    q, l, d = vectors(1, 3)  # noqa: E741  # as the formula has it
    start = {"vector": q, "vector_weight": 1.0}
    assert composed(encoder, ComposeTurn(**start, like=l, dislike=d)) == near(
        unit(q + LIKE * (l - q) - DISLIKE * (d - q))
    )
    assert composed(encoder, ComposeTurn(**start, dislike=d)) == near(unit(q - DISLIKE * (d - q)))
    assert composed(encoder, ComposeTurn(like=l)) == near(l)
    assert composed(encoder, ComposeTurn(**start, dislike=q)) == near(q)
    red = encoder.encode_texts(["red"])[0]
    edited = unit(q + red)
    assert composed(encoder, ComposeTurn(**start, edits=(Edit("red"),), like=l)) == near(
        unit(edited + LIKE * (l - edited))
    )


def test_turns_go_on_from_the_turn_before(encoder: Encoder) -> None:
    a, b = vectors(2, 2)
    red, blue = encoder.encode_texts(["red", "blue"])
    first = ComposeTurn(vector=a, vector_weight=1.0, edits=(Edit("red"),))
    end = unit(a + red)
    assert composed(encoder, first, ComposeTurn(edits=(Edit("blue"),))) == near(unit(end + blue))
    assert composed(encoder, first, ComposeTurn(vector=b, vector_weight=1.0)) == near(unit(b + CARRY * end))
    assert composed(encoder, ComposeTurn(edits=(Edit("red"),)), ComposeTurn(edits=(Edit("blue"),))) == near(
        unit(red + blue)
    )
    assert composed(encoder, ComposeTurn(edits=(Edit("red"),)), ComposeTurn(dislike=b)) == near(
        unit(red - DISLIKE * (b - red))
    )


def test_references_that_cancel_out_fail_alone(encoder: Encoder) -> None:
    a, b = vectors(3, 2)
    none = ComposeTurn(vector=a - a, vector_weight=2.0)
    one = ComposeTurn(vector=b, vector_weight=1.0)
    jobs = [ComposeJob((none,)), ComposeJob((one,)), ComposeJob((none, one))]
    answers = compose_batch(CachedEncoder(encoder), lambda _: baseline("sum"), jobs)
    assert isinstance(answers[0], InvalidInput)
    assert str(answers[0]).startswith("references: they cancel each other out")
    assert isinstance(answers[1], Composed)
    assert str(answers[2]).startswith("turns[0].references: ")


class CountingEncoder(CachedEncoder):
    """Counts the inputs of each call."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.calls: list[tuple[str, int]] = []

    def pixels(self, images: Sequence[Any], *, states: bool = False, keys: Any = None) -> Any:
        self.calls.append(("image", len(images)))
        return super().pixels(images, states=states, keys=keys)

    def texts(self, texts: Sequence[str], *, states: bool = False) -> Any:
        self.calls.append(("text", len(texts)))
        return super().texts(texts, states=states)


def test_a_batch_of_conversations_is_one_call_of_each_tower(encoder: Encoder) -> None:
    pixels = [encoder.preprocess(Image.new("RGB", (80, 80), color)) for color in ("olive", "navy")]
    composer, rows = packaged(encoder), []
    compose = composer.compose

    def counted(image_BD: Any, text_BD: Any, *states: Any) -> Any:
        rows.append(len(image_BD))
        return compose(image_BD, text_BD, *states)

    composer.compose = counted  # type: ignore[method-assign]
    images = tuple((each, 1.0) for each in pixels)
    trail = (
        ComposeTurn(images=images, edits=(Edit("red"), Edit("larger", 0.5))),
        ComposeTurn(edits=(Edit("blue"),)),
        ComposeTurn(images=images[:1], edits=(Edit("with dots"),)),
    )
    towers = CountingEncoder(encoder)
    answers = compose_batch(towers, lambda _: composer, [ComposeJob(trail[:n], "tiny-1") for n in (1, 2, 3)])
    assert towers.calls == [("image", 7), ("text", 9)]
    assert rows == [3, 3, 2, 1]
    for n, answer in enumerate(answers, 1):
        (alone,) = compose_batch(CachedEncoder(encoder), lambda _: composer, [ComposeJob(trail[:n], "tiny-1")])
        assert isinstance(answer, Composed)
        assert isinstance(alone, Composed)
        assert answer.vector == near(alone.vector)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = from_args({"encoder": "tiny", "store": str(tmp_path_factory.mktemp("store")), "threads": 1})
    with served_here(settings) as target, ScotClient(target) as client:
        rng = np.random.default_rng(0)
        client.upsert(
            [
                NewItem(str(n), vector=rng.normal(size=DIM), payload={"album": f"a{n % 3}", "kind": "xy"[n % 2]})
                for n in range(40)
            ]
        )
        yield target


def test_undo_is_exact(service: str) -> None:
    turns = [Turn([Reference(item_id="0")], ["make it red"]), Turn((), "larger", like=["3"], dislike=["4", "5"])]
    with ScotClient(service) as client:
        client.search(turns=turns, edits="blue", limit=40)
        answers = [client.search(turns=turns, limit=40, with_vectors=True) for _ in range(2)]
        current = client.search(
            turns=turns[:1], edits="larger", like=["3"], dislike=["4", "5"], limit=40, with_vectors=True
        )
    for undone in answers:
        assert undone.hits[0].score == current.hits[0].score
        assert [hit.item_id for hit in undone.hits] == [hit.item_id for hit in current.hits]
        np.testing.assert_array_equal(undone.query_vector, current.query_vector)
    found = {hit.item_id for hit in current.hits}
    assert found == {str(n) for n in range(40)} - {"0", "4", "5"}


def test_the_client_sends_and_reads_all_of_it(service: str) -> None:
    with ScotClient(service) as client:
        rows = {name: item.vector for name, item in client.get(["1", "2"], with_vectors=True).items()}
        found = client.search(
            item_id="1",
            references=[Reference(item_id="2", weight=-0.5)],
            include_reference=True,
            limit=5,
            with_vectors=True,
        )
        assert found.query_vector == near(unit(rows["1"] - 0.5 * rows["2"]))
        assert found.hits[0].item_id == "1"
        diverse = client.search(item_id="1", limit=5, diversity=1.0, candidates=30)
        plain = client.search(item_id="1", limit=5)
        assert diverse.hits[0].item_id == plain.hits[0].item_id
        assert {hit.item_id for hit in diverse.hits} != {hit.item_id for hit in plain.hits}
        grouped = client.search(item_id="1", group_by="album", group_size=2, filter=Filter([Match("kind", "x")]))
        assert sorted(str(group.value) for group in grouped.groups) == ["a0", "a1", "a2"]
        assert [hit for group in grouped.groups for hit in group.hits] == list(grouped.hits)
        for group in grouped.groups:
            assert [hit.payload["album"] for hit in group.hits] == [group.value] * 2
        assert [one.hits[0].score >= two.hits[0].score for one, two in pairwise(grouped.groups)] == [True, True]
        facets = client.facets(["album", "kind"], filter=Filter([MatchAny("album", ["a0", "a1"])]))
        assert facets.total == 27
        assert [(each.value, each.count) for each in facets.values["album"]] == [("a0", 14), ("a1", 13)]
        for wrong, sentence in (
            ({"references": [Reference()]}, r"^references\[0\]: give one of"),
            ({"references": ["1"]}, r"^references\[0\]: must be of the class Reference"),
            ({"turns": [Turn(edits=[1])]}, r"^turns\[0\]\.edits\[0\]: must be text"),  # type: ignore[list-item]
            ({"like": "1"}, "^like: must be a list"),
            ({"group_size": 2}, "^group_size: needs group_by"),
            ({"candidates": 2}, "^candidates: needs diversity"),
            ({"diversity": "much"}, "^diversity: must be a number"),
        ):
            with pytest.raises(InvalidInput, match=sentence):
                client.search(edits="red", **wrong)  # type: ignore[misc]


def test_the_asyncio_client_counts_too(service: str) -> None:
    async def total() -> int:
        async with AsyncScotClient(service) as client:
            return (await client.facets([])).total

    assert asyncio.run(total()) == 40


@pytest.fixture(scope="module")
def gallery(encoder: Encoder) -> Gallery:
    return Gallery(load_world("scenes"), encoder, packaged(encoder), seed=5, queries=40, others=260)


def test_turns_reach_a_target_as_often_as_one_long_edit(gallery: Gallery) -> None:
    long, more = one_long_edit(gallery), saying_more(gallery)
    clicked = going_on_from_hits(gallery, most_alike(gallery))
    for changes in (2, 3):
        for at in (1, 10):
            assert recall(gallery, more, at, changes) >= recall(gallery, long, at, changes)
        assert recall(gallery, clicked, 10, changes) >= recall(gallery, long, 10, changes)


def test_what_was_said_before_does_not_overrule(gallery: Gallery) -> None:
    long, after = one_long_edit(gallery), changing_the_mind(gallery)
    assert recall(gallery, after, 10, 2) >= recall(gallery, long, 10, 2) - 0.1


def test_a_dislike_lowers_what_is_disliked(gallery: Gallery) -> None:
    unwanted, kept = feedback(gallery, likes=False, dislikes=False)
    fewer, still = feedback(gallery, likes=False, dislikes=True)
    fewest, steady = feedback(gallery, likes=True, dislikes=True)
    assert fewest < fewer < unwanted
    assert min(still, steady) > kept - 0.1
