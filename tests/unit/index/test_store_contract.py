"""What every store does alike: the embedded one, one over gRPC, and a real Qdrant server (tests/support/stores.py)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound
from scot.index import collections
from scot.index.config import CollectionConfig
from scot.index.engine import Mmr
from scot.index.filters import DatetimeRange, Exists, Filter, Match, MatchAny, MatchText, Range
from scot.index.origin import Origin
from scot.index.payload import ITEM_ID_KEY
from scot.index.store import GalleryStore, Item
from tests.support.stores import KINDS, Place, place

ENCODER = "enc@1-3d"
ITEMS = [
    Item(
        "a",
        np.array([1, 0, 0], np.float32),
        {"kind": "shirt", "price": 10, "tags": ["new", "red"], "title": "The red shirt", "made": "2024-05-17"},
    ),
    Item(
        "b",
        np.array([0.9, 0.1, 0], np.float32),
        {
            "kind": "shirt",
            "price": 20.5,
            "size": {"eu": 38, "in [ch": 8},
            "title": "bored, in blue",
            "note": ["wool", "linen, by the Sea"],
            "made": "2024-05-17T09:30:00Z",
        },
    ),
    Item(
        "c",
        np.array([0, 1, 0], np.float32),
        {
            "kind": "dress",
            "price": 30,
            "sold": True,
            "at sea [m": "x",
            "title": "A RED dress",
            "made": "2024-05-18T01:00:00+02:00",
            "seen": "2024-01-01",
        },
    ),
    Item("d/ü 4", np.array([0, 0, 1], np.float32), {}),
]
"""Of what filters read, note, seen, tags and size are not indexed."""
PLUS_TWO = timezone(timedelta(hours=2))
INDEXED = ("kind:keyword", "price:float", "title:text", "made:datetime", "sold:bool")
NEAR_A = np.array([1, 0, 0], np.float32)
Work = Callable[[GalleryStore, str], Awaitable[None]]
Stocked = Callable[[Work], None]


@pytest.fixture(params=KINDS)
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as here:
        yield here


@pytest.fixture
def stocked(somewhere: Place) -> Stocked:
    """Does a piece of work on a store with ``ITEMS`` in its gallery."""

    def run(work: Work) -> None:
        async def filled(store: GalleryStore) -> None:
            layout = CollectionConfig(payload_index=INDEXED, quantization="int8")
            await store.ensure(somewhere.gallery, ENCODER, 3, layout)
            await store.upsert(somewhere.gallery, ITEMS)
            await work(store, somewhere.gallery)

        somewhere.run(filled)

    return run


async def found(store: GalleryStore, gallery: str, **options: Any) -> list[str]:
    return [hit.item_id for hit in await store.search(gallery, NEAR_A, **options)]


def test_items_come_back_as_they_went_in(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        got = await store.get(gallery, ["d/ü 4", "missing", "a"], with_vectors=True)
        assert list(got) == ["d/ü 4", "a"]
        assert got["a"].payload == ITEMS[0].payload
        np.testing.assert_allclose(got["a"].vector, ITEMS[0].vector)
        assert (await store.get(gallery, ["a"]))["a"].vector is None
        assert await store.get(gallery, []) == {}
        hits = await store.search(gallery, NEAR_A, with_vectors=True)
        assert hits[0].score == pytest.approx(1.0)
        assert ITEM_ID_KEY not in hits[0].payload
        info = await store.info(gallery)
        assert (info.items, info.encoder_id, info.dim) == (len(ITEMS), ENCODER, 3)

    stocked(work)


def test_origins_come_back_and_are_listed_by_source(stocked: Stocked) -> None:
    def made(number: int, source: str) -> Item:
        origin = Origin(source, f"ü/{number}.png", 2**40 + number, 1_700_000_000_123_456_789 + number, "ab" * 32, "c")
        return Item(f"{source}/{number}", NEAR_A, {"n": number}, origin)

    items = {item.item_id: item for source in ("/x y", "/x") for number in range(5) for item in [made(number, source)]}

    async def work(store: GalleryStore, gallery: str) -> None:
        await store.upsert(gallery, list(items.values()))
        got = await store.get(gallery, list(items))
        assert {name: (item.origin, item.payload) for name, item in got.items()} == {
            name: (item.origin, item.payload) for name, item in items.items()
        }
        hits = await store.search(gallery, NEAR_A, limit=20)
        assert {hit.item_id: hit.origin for hit in hits if hit.origin} == {n: item.origin for n, item in items.items()}
        listed: dict[str, Item] = {}
        after = None
        while True:
            page, after = await store.scroll(gallery, source="/x", after=after, limit=2)
            assert 1 <= len(page) <= 2
            listed |= {item.item_id: item for item in page}
            if after is None:
                break
        assert listed == {name: Item(name, None, {}, item.origin) for name, item in items.items() if name[:3] == "/x/"}
        everything, after = await store.scroll(gallery)
        assert {item.item_id for item in everything} == items.keys() | {item.item_id for item in ITEMS}
        assert after is None

    stocked(work)


def test_search_pages_excludes_and_cuts(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        assert (await found(store, gallery))[:2] == ["a", "b"]
        assert await found(store, gallery, limit=1, offset=1) == ["b"]
        assert (await found(store, gallery, exclude_ids=["a"]))[0] == "b"
        assert await found(store, gallery, score_threshold=0.5) == ["a", "b"]
        for offset in (len(ITEMS), len(ITEMS) + 1, 10_000):
            assert await found(store, gallery, offset=offset) == []

    stocked(work)


def test_pages_of_equal_scores_lose_and_repeat_nothing(somewhere: Place) -> None:
    vectors = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0]], np.float32)
    copies = [Item(f"copy {n}", vectors[n % 3], {"even": n % 2 == 0, "n": n}) for n in range(400)]

    async def work(store: GalleryStore) -> None:
        gallery = somewhere.gallery
        await store.ensure(gallery, ENCODER, 3)
        await store.upsert(gallery, copies)
        listed = [item.item_id for item in (await store.scroll(gallery))[0]]
        whole = await store.search(gallery, NEAR_A, limit=len(copies), with_vectors=True)
        assert len({hit.score for hit in whole}) == 3
        assert [hit.item_id for hit in whole] == sorted(
            listed,
            key=lambda each: int(each.removeprefix("copy ")) % 3,  # and else in the order of the listing
        )
        for limit in (19, 134, 399):
            starts = range(0, len(copies) + limit, limit)
            pages = [await store.search(gallery, NEAR_A, limit=limit, offset=n, with_vectors=True) for n in starts]
            hits = [hit for page in pages for hit in page]
            assert [(hit.item_id, hit.score, hit.payload) for hit in hits] == [
                (hit.item_id, hit.score, hit.payload) for hit in whole
            ]
            assert all(np.array_equal(hit.vector, each.vector) for hit, each in zip(hits, whole, strict=True))
        left = [hit.item_id for hit in whole if hit.payload["even"] and hit.item_id != "copy 0" and hit.score > 0.5]
        options: dict[str, Any] = {
            "filter": Filter(must=[Match("even", True)]),
            "exclude_ids": ["copy 0"],
            "score_threshold": 0.5,
        }
        pages = [await store.search(gallery, NEAR_A, limit=11, offset=n, **options) for n in range(0, 150, 11)]
        assert [hit.item_id for page in pages for hit in page] == left
        groups = [await store.search_groups(gallery, NEAR_A, "n", limit=100, offset=n) for n in range(0, 400, 100)]
        assert [group.value for page in groups for group in page] == [hit.payload["n"] for hit in whole]

    somewhere.run(work)


WANTED: list[tuple[Filter, set[str]]] = [
    (Filter(must=[Match("kind", "shirt")]), {"a", "b"}),
    (Filter(must=[Match("tags", "red")]), {"a"}),
    (Filter(must=[Match("price", 10)]), {"a"}),
    (Filter(must=[Match("sold", True)]), {"c"}),
    (Filter(must=[Match("at sea [m", "x")]), {"c"}),
    (Filter(must=[Match("size.eu", 38)]), {"b"}),
    (Filter(must=[Match("size.in [ch", 8)]), {"b"}),
    (Filter(must=[Range("price", gt=10, lte=30)]), {"b", "c"}),
    (Filter(should=[Match("kind", "dress"), Match("price", 10)]), {"a", "c"}),
    (Filter(must_not=[Match("kind", "shirt")]), {"c", "d/ü 4"}),
    (Filter(must=[Exists("price")]), {"a", "b", "c"}),
    (Filter(must=[Exists("price", exists=False)]), {"d/ü 4"}),
    (Filter(must=[Match("kind", "shirt")], must_not=[Range("price", lt=15)]), {"b"}),
    (Filter(must=[MatchAny("kind", ("dress", "hat"))]), {"c"}),
    (Filter(must=[MatchAny("price", (10, 30, 99))]), {"a", "c"}),
    (Filter(must=[MatchAny("tags", ("red", "blue"))]), {"a"}),
    (Filter(must=[MatchAny("sold", (True, "yes"))]), {"c"}),
    (Filter(must=[MatchAny("sold", (1, False))]), set()),
    (Filter(should=[MatchAny("kind", ("dress", 7)), MatchAny("size.eu", (38,))]), {"b", "c"}),
    (Filter(must_not=[MatchAny("kind", ("shirt", True))]), {"c", "d/ü 4"}),
    (Filter(must=[MatchText("title", "shirt RED")]), {"a"}),
    (Filter(must=[MatchText("title", "red")]), {"a", "c"}),
    (Filter(must=[MatchText("title", "re")]), set()),
    (Filter(must=[MatchText("note", "sea linen")]), {"b"}),
    (Filter(must_not=[MatchText("title", "red")]), {"b", "d/ü 4"}),
    (Filter(must=[DatetimeRange("made", gte=datetime(2024, 5, 17), lt=datetime(2024, 5, 17, 12))]), {"a", "b"}),
    (Filter(must=[DatetimeRange("made", gt=datetime(2024, 5, 17))]), {"b", "c"}),
    (Filter(must=[DatetimeRange("made", lte=datetime(2024, 5, 17, 11, 30, tzinfo=PLUS_TWO))]), {"a", "b"}),
    (Filter(must=[DatetimeRange("seen", gte=datetime(1970, 1, 1))]), {"c"}),
]


def test_filters(stocked: Stocked, subtests: pytest.Subtests) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        for wanted, expected in WANTED:
            with subtests.test(wanted=wanted):
                assert set(await found(store, gallery, filter=wanted)) == expected

    stocked(work)


def test_mmr_prefers_what_differs(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        query = np.array([0.9, 0.3, 0.2], np.float32)

        async def chosen(diversity: float, candidates: int = 4, **options: Any) -> list[str]:
            hits = await store.search(gallery, query, mmr=Mmr(diversity, candidates), **options)
            return [hit.item_id for hit in hits]

        nearest = await store.search(gallery, query)
        assert await chosen(0.0) == [hit.item_id for hit in nearest] == ["b", "a", "c", "d/ü 4"]
        assert (await chosen(0.9, limit=2))[0] == "b"
        assert (await chosen(0.9, limit=2))[1] in ("c", "d/ü 4")  # a is almost b
        assert await chosen(0.9, candidates=2) == ["b", "a"]
        assert await chosen(0.9, limit=1, offset=1) == (await chosen(0.9))[1:2]
        assert await chosen(0.9, filter=Filter(must=[Match("kind", "dress")])) == ["c"]
        assert "b" not in await chosen(0.9, exclude_ids=["b"])
        (hit,) = await store.search(gallery, query, mmr=Mmr(0.5, 4), limit=1)
        assert hit.vector is None
        (hit,) = await store.search(gallery, query, mmr=Mmr(0.5, 4), limit=1, with_vectors=True)
        assert hit.score == pytest.approx(nearest[0].score, abs=1e-5)
        assert hit.vector is not None
        assert hit.vector @ query == pytest.approx(hit.score * np.linalg.norm(query), abs=1e-5)

    stocked(work)


def test_groups_have_the_best_of_each_value(stocked: Stocked) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 3)).astype(np.float32)
    payloads: list[dict[str, Any]] = [
        {"album": "big" if n < 560 else f"small {n % 7}", "n": n % 3, "tags": ["x", "y"][: n % 3]} for n in range(600)
    ]
    for n, flag in ((3, True), (4, False), (5, 1), (6, 2.5), (7, None)):
        payloads[n]["mixed"] = flag
    items = [Item(str(n), vectors[n], payload) for n, payload in enumerate(payloads)]
    order = sorted(items, key=lambda item: -float(item.vector[0] / np.linalg.norm(item.vector)))

    def expected(field: str, groups: int, size: int, offset: int = 0) -> list[tuple[Any, list[str]]]:
        found: dict[Any, list[str]] = {}
        for item in order:
            value = item.payload.get(field)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, str | int):
                    found.setdefault((type(each), each), []).append(item.item_id)
        return [(key[1], ids[:size]) for key, ids in list(found.items())[offset : offset + groups]]

    async def work(store: GalleryStore, gallery: str) -> None:
        await store.upsert(f"{gallery}-1", items)
        await store.delete(gallery, [item.item_id for item in ITEMS])

        async def groups(field: str, **options: Any) -> list[tuple[Any, list[str]]]:
            found = await store.search_groups(gallery, NEAR_A, field, **options)
            return [(group.value, [hit.item_id for hit in group.items]) for group in found]

        assert await groups("album", limit=8, size=4) == expected("album", 8, 4)
        assert await groups("album", limit=2, offset=3) == expected("album", 2, 1, 3)
        assert await groups("n", limit=10, size=2) == expected("n", 10, 2)
        assert await groups("tags", limit=10, size=3) == expected("tags", 10, 3)
        assert await groups("mixed") == expected("mixed", 10, 1)
        big = {"big": [item.item_id for item in order if item.payload["album"] == "big" and item.item_id != "3"][:2]}
        only = Filter(must=[Match("album", "big")])
        assert dict(await groups("album", size=2, filter=only, exclude_ids=["3"])) == big
        assert await groups("album", filter=Filter(must=[Match("album", "none")])) == []
        assert await groups("n", score_threshold=1.5) == []
        with pytest.raises(InvalidInput, match=r"^group_by.field: no item .* has the field 'colour'"):
            await groups("colour")

    stocked(work)


@pytest.mark.parametrize("most", [20_000, 0])
def test_facets_count_values(stocked: Stocked, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        await store.upsert(gallery, [Item("e", NEAR_A, {"kind": ["shirt", "hat", "hat"], "sold": False, "price": 10})])
        monkeypatch.setattr("scot.index.facets.MAX_COUNTED", most)
        found = await store.facets(gallery, ["kind", "sold"])
        assert found.total == 5
        assert found.values == {
            "kind": [("shirt", 3), ("dress", 1), ("hat", 1)],
            "sold": [(False, 1), (True, 1)],
        }
        some = await store.facets(gallery, ["kind"], filter=Filter(must=[Range("price", lte=10)]), limit=1)
        assert (some.values, some.total) == ({"kind": [("shirt", 2)]}, 2)
        assert (await store.facets(gallery, [], filter=Filter(must=[Exists("sold")]))).total == 2
        unindexed = ["tags", "size.eu", "at sea [m", "price", "nothing"]
        if most:
            assert (await store.facets(gallery, unindexed)).values == {
                "tags": [("new", 1), ("red", 1)],
                "size.eu": [(38, 1)],
                "at sea [m": [("x", 1)],
                "price": [(10, 2), (30, 1)],
                "nothing": [],
            }
        else:
            with pytest.raises(InvalidInput, match="fields: 'tags' has no index of the kind keyword, integer or"):
                await store.facets(gallery, unindexed)
        with pytest.raises(NotFound, match=f"'{gallery}-no'"):
            await store.facets(f"{gallery}-no", ["kind"])

    stocked(work)


def test_upsert_replaces_and_delete_counts(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        await store.upsert(gallery, [Item("a", ITEMS[2].vector, {"kind": "hat"})])
        assert (await store.get(gallery, ["a"]))["a"].payload == {"kind": "hat"}
        assert (await store.info(gallery)).items == len(ITEMS)
        assert await store.delete(gallery, ["a", "b", "nobody"]) == 2
        assert await store.delete(gallery, ["a"]) == 0
        assert (await store.info(gallery)).items == len(ITEMS) - 2

    stocked(work)


@pytest.mark.parametrize(("encoder", "dim"), [("other@2-3d", 3), (ENCODER, 4)])
def test_another_encoder_is_refused_by_name(stocked: Stocked, encoder: str, dim: int) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        for refuse in (store.ensure, store.check):
            with pytest.raises(EncoderMismatch, match=rf"{ENCODER}.*dimension 3.*{encoder}.*dimension {dim}"):
                await refuse(gallery, encoder, dim)

    stocked(work)


def test_unknown_collection_and_reserved_key(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        for call in (
            store.search(f"{gallery}-no", NEAR_A),
            store.info(f"{gallery}-no"),
            store.get(f"{gallery}-no", ["a"]),
        ):
            with pytest.raises(NotFound, match=f"'{gallery}-no'"):
                await call
        with pytest.raises(InvalidInput, match="reserved"):
            await store.upsert(gallery, [Item("x", NEAR_A, {ITEM_ID_KEY: "y"})])

    stocked(work)


def test_a_new_collection_is_behind_an_alias_that_can_move(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        engine, second = store.engine, f"{gallery}-2"
        assert (await engine.aliases())[gallery] == f"{gallery}-1"
        assert f"{gallery}-1" in await store.list()
        assert gallery not in await store.list()
        await collections.create(engine, second, ENCODER, 3, CollectionConfig())
        await store.upsert(second, ITEMS[2:3])
        await collections.point(engine, {gallery: second, f"{gallery}.previous": f"{gallery}-1"})
        assert await found(store, gallery) == ["c"]
        assert len(await found(store, f"{gallery}.previous")) == len(ITEMS)
        await store.upsert(gallery, ITEMS[:1])
        assert await found(store, second) == ["a", "c"]
        await collections.point(engine, {f"{gallery}.previous": None})
        with pytest.raises(NotFound):
            await store.info(f"{gallery}.previous")
        await store.ensure(gallery, ENCODER, 3)
        assert (await engine.aliases())[gallery] == second

    stocked(work)


def test_aliases_that_cannot_be(stocked: Stocked) -> None:
    async def work(store: GalleryStore, gallery: str) -> None:
        engine, first = store.engine, f"{gallery}-1"
        with pytest.raises(NotFound, match="nowhere"):
            await collections.point(engine, {f"{gallery}.x": first, gallery: f"{gallery}-nowhere"})
        with pytest.raises(Conflict, match="is a collection, so"):
            await collections.point(engine, {first: first})
        with pytest.raises(Conflict, match="is an alias"):
            await collections.create(engine, gallery, ENCODER, 3, CollectionConfig())
        assert f"{gallery}.x" not in await engine.aliases()
        await engine.drop(first)
        assert gallery not in await engine.aliases()

    stocked(work)


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "ü"])
KEYS = st.sampled_from(["k", "n", "tags"])
VALUES = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.5]), st.booleans(), st.sampled_from(["x", "y"]), st.none(),
    st.lists(st.sampled_from(["x", "y", 1]), max_size=2),
)  # fmt: skip
# No cosine of these vectors is near a threshold below, where rounding would decide.
VECTORS = st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any).map(lambda v: np.array(v, np.float32))
STORED = st.builds(Item, NAMES, VECTORS, st.dictionaries(KEYS, VALUES, max_size=3))
BOUND = st.none() | st.sampled_from([-1.0, 0.0, 0.5, 2.0])
CONDITIONS = st.one_of(
    st.builds(Match, KEYS, st.integers(-3, 3) | st.sampled_from(["x", "y"]) | st.booleans()),
    st.builds(Range, KEYS, gt=BOUND, lte=BOUND).filter(lambda r: r.gt is not None or r.lte is not None),
    st.builds(Exists, KEYS, st.booleans()),
    st.builds(MatchAny, KEYS, st.lists(st.integers(-3, 3) | st.sampled_from(["x", "y"]) | st.booleans(), min_size=1)),
    st.builds(MatchText, KEYS, st.sampled_from(["x", "Y x"])),
)
SOME = st.lists(CONDITIONS, max_size=2)
FILTERS = st.none() | st.builds(Filter, must=SOME, should=SOME, must_not=SOME)
Steps = Sequence[tuple[list[Item], list[str]]]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_store_answers_as_the_embedded_one(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    galleries = itertools.count()

    async def answers(store: GalleryStore, gallery: str, *, steps: Steps, query: Any, page: Any, options: Any) -> Any:
        await store.ensure(gallery, ENCODER, 3)
        deleted = []
        for stored, gone in steps:
            await store.upsert(gallery, stored)
            deleted.append(await store.delete(gallery, gone))
        hits = await store.search(gallery, query, **page, **options)
        everything = await store.search(gallery, query, limit=50, **options)
        items = await store.get(gallery, ["a", "ü", "b"], with_vectors=True)
        left = (await store.info(gallery)).items
        await store.engine.drop(f"{gallery}-1")
        return (
            deleted,
            left,
            [round(hit.score, 4) for hit in hits],
            {(hit.item_id, round(hit.score, 4), repr(sorted(hit.payload.items()))) for hit in everything},
            {name: (np.round(item.vector, 4).tolist(), item.payload) for name, item in items.items()},
        )

    with (
        place("embedded", tmp_path_factory.mktemp("store")) as here,
        place(kind, tmp_path_factory.mktemp("store")) as there,
        asyncio.Runner() as runner,
    ):
        stores = (here.open(), there.open())

        @settings(max_examples=40, deadline=None, derandomize=True)
        @given(
            steps=st.lists(
                st.tuples(st.lists(STORED, max_size=6), st.lists(NAMES, max_size=2)), min_size=1, max_size=3
            ),
            query=VECTORS,
            page=st.fixed_dictionaries({"limit": st.integers(1, 7), "offset": st.integers(0, 3)}),
            options=st.fixed_dictionaries(
                {"filter": FILTERS, "score_threshold": st.none() | st.sampled_from([-0.47, 0.13, 0.91])}
            ),
        )
        def agree(steps: Steps, query: Any, page: Any, options: Any) -> None:
            gallery = f"{there.gallery}{next(galleries)}"
            ours, others = (
                runner.run(answers(each, gallery, steps=steps, query=query, page=page, options=options))
                for each in stores
            )
            assert ours == others

        try:
            agree()
        finally:
            for each in stores:
                runner.run(each.close())
