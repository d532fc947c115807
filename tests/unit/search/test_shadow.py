"""The shadow: one call composes both, its failure is its own, and a comparison never delays an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scot.composers import baseline
from scot.encoders import Encoder, load_encoder
from scot.errors import Unavailable
from scot.index.engine import Mmr
from scot.index.filters import Filter, Match
from scot.index.store import GalleryStore, Item
from scot.v1 import search_pb2
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.loaded_composers import LoadedComposers
from services.search.composer.messages import Composed, ComposeJob
from services.search.composer.rolled_out import compose_rolled_out
from services.search.gateway.shadow import AnsweredQuery, Shadow, overlap
from services.search.rollout import Rollout
from services.search.rpc.limits import SHADOWS
from services.search.rpc.query import SearchQuery, parse_query
from tests.support.compose_jobs import job
from tests.support.named_encoder import NamedEncoder

DIM = 8


class Broken:
    """A composer whose artifact loads, and that fails at every query."""

    name = architecture = "broken"
    encoder_id: str | None = None
    reads_states = False

    def compose(self, *_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny", device="cpu")


@pytest.fixture
def jobs(encoder: Encoder) -> list[ComposeJob]:
    pixels = encoder.preprocess(Image.new("RGB", (96, 96), "teal"))
    two = ("red", "much larger")
    one = two[:1]

    return [
        job(*two, image=pixels, composer="", caller="a", with_shadow=True),
        job(*one, image=pixels, composer="", caller="b"),  # no shadow is requested
        job(*one, image=pixels, composer="slerp", with_shadow=True),  # names a composer: no other is tried
        job(image=pixels, composer="", with_shadow=True),  # nothing to compose
        job(*one, composer="", with_shadow=True),
        job(*two, composer="", with_shadow=True),
    ]


def rolled_out(rollout: Rollout) -> LoadedComposers:
    composers = LoadedComposers(None, NamedEncoder("any", 0))
    composers.roll_out(rollout)
    return composers


def named(jobs: list[ComposeJob], composer: str) -> list[ComposeJob]:
    return [replace(job, composer=job.composer or composer) for job in jobs]


def test_one_call_composes_both(encoder: Encoder, jobs: list[ComposeJob]) -> None:
    answers = compose_rolled_out(CachedEncoder(encoder), rolled_out(Rollout("sum", shadow="sum:0.9")), jobs)
    plain = compose_batch(CachedEncoder(encoder), baseline, named(jobs, "sum"))
    shadows = compose_batch(CachedEncoder(encoder), baseline, named(jobs, "sum:0.9"))
    for answer, expected in zip(answers, plain, strict=True):
        assert isinstance(answer, Composed)
        assert isinstance(expected, Composed)
        assert answer.composer == expected.composer
        np.testing.assert_allclose(answer.vector, expected.vector, atol=1e-6)
    found = [(each.shadow, each.shadow_vector is not None) for each in answers if isinstance(each, Composed)]
    assert found == [("sum:0.9", True), ("sum:0.9", False), ("", False), ("", False), ("", False), ("sum:0.9", True)]
    for place in (0, 5):
        answer, expected = answers[place], shadows[place]
        assert isinstance(answer, Composed)
        assert isinstance(expected, Composed)
        assert answer.shadow_vector is not None
        np.testing.assert_allclose(answer.shadow_vector, expected.vector, atol=1e-6)
        assert np.abs(answer.shadow_vector - answer.vector).max() > 0.01


def test_the_default_is_not_its_own_shadow(encoder: Encoder, jobs: list[ComposeJob]) -> None:
    answers = compose_rolled_out(CachedEncoder(encoder), rolled_out(Rollout("sum", {"slerp": 0.5}, "sum")), jobs * 8)
    for each, answer in zip(jobs * 8, answers, strict=True):
        assert isinstance(answer, Composed)
        assert answer.shadow == ("sum" if answer.composer == "slerp" and not each.composer else "")


def test_a_composer_that_fails_takes_nobody_with_it(
    encoder: Encoder, jobs: list[ComposeJob], caplog: pytest.LogCaptureFixture
) -> None:
    composers: dict[str, Any] = {"sum": baseline("sum"), "slerp": baseline("slerp"), "broken": Broken()}
    two = [*named(jobs, "sum"), *named(jobs, "broken")]
    answers = compose_batch(CachedEncoder(encoder), composers.__getitem__, two)
    assert all(isinstance(answer, Composed) for answer in answers[: len(jobs)])
    failed = [isinstance(answer, RuntimeError) for answer in answers[len(jobs) :]]
    assert failed == [True, True, False, False, False, True]
    rolled = rolled_out(Rollout("sum", shadow="slerp"))
    rolled._loaded["slerp"] = Broken()
    (first, *_) = compose_rolled_out(CachedEncoder(encoder), rolled, jobs)
    assert isinstance(first, Composed)
    assert (first.composer, first.shadow, first.shadow_vector) == ("sum", "slerp", None)
    assert "the shadow slerp fails" in caplog.text


class RecordedMetrics:
    """Records what would be counted."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.overlaps: list[tuple[str, float]] = []
        self.searches: list[str] = []

    def shadowed(self, outcome: str) -> None:
        self.outcomes[outcome] += 1

    def overlap(self, composer: str, share: float) -> None:
        self.overlaps.append((composer, share))

    @contextmanager
    def store(self, operation: str) -> Any:
        self.searches.append(operation)
        yield


def query(*, reference: str = "", **fields: Any) -> SearchQuery:
    start = search_pb2.Reference(item_id=reference) if reference else None
    request = search_pb2.ComposeSearchRequest(reference=start, edits=[search_pb2.Edit(text="red")], limit=10)
    return replace(parse_query(request, dim=DIM, collection="gallery"), **fields)


def axis(place: float) -> np.ndarray[Any, Any]:
    """A unit vector on a quarter circle, on which the gallery's items 0 to 39 lie in order."""
    angle = place / 39 * np.pi / 2
    return np.array([np.cos(angle), np.sin(angle), *[0] * (DIM - 2)], np.float32)


def answer(
    ours: float, theirs: float | None, found: tuple[str, ...], *, with_shadow: bool = True, **fields: Any
) -> AnsweredQuery:
    vector = None if theirs is None else axis(theirs)
    return AnsweredQuery(
        query(**fields), Composed(axis(ours), "v1", shadow="v2", shadow_vector=vector), found, with_shadow=with_shadow
    )


@asynccontextmanager
async def comparing(folder: Path) -> AsyncIterator[tuple[Shadow, RecordedMetrics, GalleryStore]]:
    store, metrics = GalleryStore.open(path=folder), RecordedMetrics()
    await store.ensure("gallery", "encoder", DIM)
    await store.upsert("gallery", [Item(str(n), axis(n), {"n": n, "even": n % 2 == 0}) for n in range(40)])
    shadow = Shadow(store, metrics)  # type: ignore[arg-type]
    try:
        yield shadow, metrics, store
    finally:
        await shadow.close()
        await store.close()


async def counted(metrics: RecordedMetrics, number: int) -> None:
    async with asyncio.timeout(30):
        while metrics.outcomes.total() < number:
            await asyncio.sleep(0.001)


ITEMS = [str(n) for n in range(40)]


@pytest.mark.parametrize(
    ("given", "share", "searches"),
    [
        (answer(0, 0, tuple(ITEMS[:10])), 1.0, 1),
        (answer(0, 39, tuple(ITEMS[:10])), 0.0, 1),
        (answer(0, 8, tuple(ITEMS[:12]), limit=12), 0.7, 1),  # 3 to 12, or 4 to 13: whichever of the ties
        (answer(0, 0, tuple(ITEMS[:5]), limit=5), 1.0, 2),  # the page is too short
        (answer(0, 0, tuple(ITEMS[10:20]), offset=10), 1.0, 2),  # it is the second page
        (answer(0, 0, tuple(ITEMS[:3]), score_threshold=0.99), 1.0, 2),
        (answer(0, 0, tuple(ITEMS[0:20:2]), filter=Filter(must=[Match("even", True)])), 1.0, 1),
        (answer(0, 0, tuple(ITEMS[1:11]), reference="0"), 1.0, 1),  # the reference is left out of both
        (answer(0, 0, tuple(ITEMS[10:20]), mmr=Mmr(0.5, 40)), 1.0, 2),  # not the nearest ones
        (answer(0, 0, tuple(ITEMS[:10]), group_by="even"), 1.0, 2),
    ],
)
def test_ten_items_are_compared(tmp_path: Path, given: AnsweredQuery, share: float, searches: int) -> None:
    async def run() -> None:
        async with comparing(tmp_path) as (shadow, metrics, _):
            shadow.offer(given)
            await counted(metrics, 1)
            assert metrics.outcomes == {"compared": 1}
            assert metrics.overlaps == [("v2", pytest.approx(share, abs=0.11 if 0 < share < 1 else 0))]
            assert metrics.searches == ["shadow"] * searches

    asyncio.run(run())


def test_what_cannot_be_compared_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with comparing(tmp_path) as (shadow, metrics, _):
            shadow.offer(AnsweredQuery(query(), Composed(axis(0), "v1"), (), with_shadow=True))  # there is no shadow
            shadow.offer(answer(0, None, (), with_shadow=False))
            shadow.offer(answer(0, None, ()))
            assert metrics.outcomes == {"dropped": 1, "failed": 1}
            shadow.offer(answer(0, 0, (), filter=Filter(must=[Match("even", "never")])))
            shadow.offer(answer(0, 0, (), collection="nowhere"))
            await counted(metrics, 4)
            assert metrics.outcomes == {"dropped": 1, "failed": 2, "empty": 1}
            shadow.offer(answer(0, 0, tuple(ITEMS[:10])))  # and goes on
            await counted(metrics, 5)
            assert metrics.outcomes["compared"] == 1

    asyncio.run(run())


def test_a_slow_store_costs_comparisons_and_no_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with comparing(tmp_path) as (shadow, metrics, store):
            gate, search = asyncio.Event(), store.search

            async def slow(*given: Any, **named: Any) -> Any:
                await gate.wait()
                return await search(*given, **named)

            store.search = slow  # type: ignore[method-assign]
            shadow.offer(answer(0, 0, tuple(ITEMS[:10])))
            while shadow._waiting.qsize():
                await asyncio.sleep(0)  # until it is being worked on
            for _ in range(SHADOWS):
                assert shadow.has_capacity
                shadow.offer(answer(0, 0, tuple(ITEMS[:10])))
            assert not shadow.has_capacity
            shadow.offer(answer(0, 0, tuple(ITEMS[:10])))
            assert metrics.outcomes == {"dropped": 1}
            gate.set()
            await counted(metrics, SHADOWS + 2)
            assert metrics.outcomes == {"dropped": 1, "compared": SHADOWS + 1}

    asyncio.run(run())


def test_overlap_is_of_the_longer_list() -> None:
    assert overlap(["a", "b", "c"], ["c", "a"]) == pytest.approx(2 / 3)
    assert overlap([], ["a"]) == 0.0


def test_an_unavailable_store_is_a_failure(tmp_path: Path) -> None:
    async def run() -> None:
        async with comparing(tmp_path) as (shadow, metrics, store):

            async def unavailable(*_: Any, **__: Any) -> Any:
                raise Unavailable("the vector store is unavailable")

            store.search = unavailable  # type: ignore[method-assign]
            shadow.offer(answer(0, 0, tuple(ITEMS[:10])))
            await counted(metrics, 1)
            assert metrics.outcomes == {"failed": 1}

    asyncio.run(run())
