"""Every field at its limit is served, and one beyond it is refused by its name: the real service, without Ray."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from PIL import Image

from scot.client import AsyncScotClient, ListedItem, NewItem, Origin, ScotClient
from scot.v1 import index_pb2, search_pb2
from services.search.rpc import limits
from services.search.rpc.malformed_requests import MalformedRequest, reader
from services.search.settings import from_args
from tests.support.bad_images import GOOD_IMAGES, REFUSED_IMAGES
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here

ROOT = Path(__file__).resolve().parents[3]
DIM = 32
SEARCH, INDEX = "/scot.v1.SearchService/", "/scot.v1.IndexService/"
VECTOR = [1.0] * DIM

Outcome = tuple[str, str]
"""The status code's name, and what the service details."""


class Caller:
    """Sends raw bytes, without the client."""

    def __init__(self, channel: grpc.Channel, target: str) -> None:
        self._channel, self.target = channel, target

    def outcome(self, method: str, request: Message | bytes) -> Outcome:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            self._channel.unary_unary(method)(data, timeout=60)
        except grpc.RpcError as error:
            return error.code().name, str(error.details())
        return "OK", ""

    def search(self, **fields: Any) -> Outcome:
        return self.outcome(f"{SEARCH}ComposeSearch", query(**fields))

    def upsert(self, *items: index_pb2.Item, collection: str = "") -> list[str]:
        """The error of each item; "" when it was stored."""
        request = index_pb2.UpsertItemsRequest(items=items, collection=collection)
        data = self._channel.unary_unary(f"{INDEX}UpsertItems")(request.SerializeToString(), timeout=60)
        return [result.error for result in index_pb2.UpsertItemsResponse.FromString(data).results]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("service")
    encoder = save_random_encoder(folder / "encoder")
    settings = from_args({"encoder": encoder, "store": str(folder / "qdrant"), "threads": 1})
    with served_here(settings) as target, grpc.insecure_channel(target) as channel:
        caller = Caller(channel, target)
        assert caller.upsert(item("here", payload={"n": 1})) == [""]
        yield caller


def query(**fields: Any) -> search_pb2.ComposeSearchRequest:
    return search_pb2.ComposeSearchRequest(**({"edits": [search_pb2.Edit(text="a")]} | fields))


def item(item_id: str, *, image: bytes | None = None, payload: dict[str, Any] | None = None) -> index_pb2.Item:
    made = index_pb2.Item(item_id=item_id)
    if image is None:
        made.vector.values.extend(VECTOR)
    else:
        made.image = image
    made.payload.update(payload or {})
    return made


def edits(*texts: str) -> list[search_pb2.Edit]:
    return [search_pb2.Edit(text=text) for text in texts]


def where(*conditions: search_pb2.Condition) -> search_pb2.Filter:
    return search_pb2.Filter(must=conditions)


def condition(field: str = "n", **test: Any) -> search_pb2.Condition:
    return search_pb2.Condition(field=field, **(test or {"exists": True}))


def image(data: bytes, **fields: Any) -> search_pb2.Reference:
    return search_pb2.Reference(image=data, **fields)


def vector(values: list[float], **fields: Any) -> search_pb2.Reference:
    return search_pb2.Reference(vector=search_pb2.Vector(values=values), **fields)


def here(weight: float) -> search_pb2.Reference:
    return search_pb2.Reference(item_id="here", weight=weight)


def any_of(*values: int) -> search_pb2.MatchAny:
    return search_pb2.MatchAny(values=[search_pb2.Match(integer=value) for value in values])


def padded(size: int) -> bytes:
    """A picture of that many bytes: what comes after its end is nobody's."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue().ljust(size, b"\0")


EIGHT_IMAGES = search_pb2.Turn(references=[image(b"x")] * limits.MAX_IMAGES)
SERVED: dict[str, dict[str, Any]] = {
    "limit": {"limit": limits.MAX_HITS},
    "offset": {"offset": limits.MAX_OFFSET},
    "edits": {"edits": edits(*["a"] * limits.MAX_EDITS)},
    "text": {"edits": edits("x" * limits.MAX_TEXT_CHARS)},
    "text of more than 77 tokens": {"edits": edits("word " * 300)},
    "text in four bytes a character": {"edits": edits("🙂" * limits.MAX_TEXT_CHARS)},
    "text of a control character": {"edits": edits("\0")},
    "text that is the tokeniser's own": {"edits": edits("<end_of_text><start_of_text>")},
    "weight 0": {"edits": [search_pb2.Edit(text="a", weight=0.0)]},
    "weight 1": {"edits": [search_pb2.Edit(text="a", weight=1.0)]},
    "composer": {"reference": vector(VECTOR), "composer": "sum:0.25"},
    "threshold": {"score_threshold": 3.0e38},
    "image": {"reference": image(padded(limits.MAX_IMAGE_BYTES))},
    "vector of large values": {"reference": vector([3.0e38] * DIM)},
    "vector of small values": {"reference": vector([1.0e-44] * DIM)},
    "conditions": {"filter": where(*[condition()] * limits.MAX_CONDITIONS)},
    "field": {"filter": where(condition("x" * limits.MAX_FIELD_CHARS))},
    "an integer's end": {"filter": where(condition(match=search_pb2.Match(integer=-(2**63))))},
    "an empty range": {"filter": where(condition(range=search_pb2.Range(gt=2.0, lt=1.0)))},
    "an empty filter": {"filter": search_pb2.Filter()},
    "references": {"references": [here(1.0)] * limits.MAX_REFERENCES},
    "weights": {"references": [here(limits.MAX_WEIGHT), vector([-1.0, *VECTOR[1:]], weight=-limits.MAX_WEIGHT)]},
    "images": {"references": [image(padded(100))] * limits.MAX_IMAGES},
    "likes": {"edits": [], "like": ["here"] * limits.MAX_FEEDBACK},
    "dislikes": {"dislike": ["here"] * limits.MAX_FEEDBACK},
    "turns": {"edits": [], "turns": [search_pb2.Turn(edits=edits("a"))] * limits.MAX_TURNS},
    "a turn of likes": {"turns": [search_pb2.Turn(like=["here"]), search_pb2.Turn(dislike=["here"])]},
    "mmr": {"limit": limits.MAX_HITS, "offset": 1_000, "mmr": search_pb2.Mmr(diversity=1.0)},
    "candidates": {"mmr": search_pb2.Mmr(candidates=limits.MAX_CANDIDATES)},
    "groups": {"group_by": search_pb2.GroupBy(field="n", size=limits.MAX_GROUP)},
    "any": {"filter": where(condition(any=any_of(*[1] * limits.MAX_ANY)))},
    "text condition": {"filter": where(condition(text="x" * limits.MAX_TEXT_CHARS))},
    "datetime": {"filter": where(condition(datetime=search_pb2.DatetimeRange(gt={"seconds": -62135596800})))},
}


@pytest.mark.parametrize("name", SERVED)
def test_a_query_at_its_limits_is_answered(service: Caller, name: str) -> None:
    assert service.search(**SERVED[name]) == ("OK", "")


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("edits", {"edits": []}),
    ("edits", {"edits": edits(*["a"] * (limits.MAX_EDITS + 1))}),
    ("edits[0].text", {"edits": edits("")}),
    ("edits[0].text", {"edits": edits(" \t\n\u2003")}),
    ("edits[1].text", {"edits": edits("a", "x" * (limits.MAX_TEXT_CHARS + 1))}),
    *(("edits[0].weight", {"edits": [search_pb2.Edit(text="a", weight=w)]}) for w in (-0.01, 1.01, np.nan, np.inf)),
    ("edits[0].negative", {"edits": [search_pb2.Edit(text="a", negative=True)]}),
    ("limit", {"limit": limits.MAX_HITS + 1}),
    ("limit", {"limit": 2**32 - 1}),
    ("offset", {"offset": limits.MAX_OFFSET + 1}),
    *(("score_threshold", {"score_threshold": value}) for value in (np.nan, np.inf, -np.inf)),
    *(("composer", {"composer": name}) for name in ("x" * 129, "../v1", "é", "a b", "-v1", "v1:0.5", "sum:")),
    *(("composer", {"composer": name}) for name in ("sum:.", "sum:1.1", "slerp:1..2", "text_only:0.5", "sum:0.5:1")),
    *(("collection", {"collection": name}) for name in ("x" * 129, "../other", "a/b", "sum:0.5", "\0", " ")),
    ("reference", {"reference": search_pb2.Reference()}),
    ("reference.image", {"reference": image(b"")}),
    ("reference.image", {"reference": image(padded(limits.MAX_IMAGE_BYTES + 1))}),
    ("reference.item_id", {"reference": search_pb2.Reference(item_id="")}),
    ("reference.item_id", {"reference": search_pb2.Reference(item_id="x" * (limits.MAX_ID_CHARS + 1))}),
    *(("reference.vector", {"reference": vector(v)}) for v in ([], VECTOR[1:], [*VECTOR, 1.0], [0.0] * DIM)),
    *(("reference.vector", {"reference": vector([*VECTOR[1:], v])}) for v in (np.nan, np.inf, -np.inf)),
    ("references", {"reference": here(1.0), "references": [here(1.0)] * limits.MAX_REFERENCES}),
    ("references[0]", {"references": [search_pb2.Reference(weight=1.0)]}),
    *(("references[0].weight", {"references": [here(w)]}) for w in (10.1, -10.1, np.nan, np.inf)),
    *(("references", {"references": [here(w), here(-1.0)]}) for w in (0.0, -0.5)),
    ("references", {"references": [here(2.0), here(-2.0)]}),
    ("references", {"references": [here(2.0), image(padded(100)), image(padded(100), weight=-1.0), here(-2.0)]}),
    ("reference", {"reference": here(-1.0)}),
    ("reference", {"reference": here(0.0)}),
    ("reference.image", {"reference": image(b"x"), "turns": [EIGHT_IMAGES]}),
    ("like", {"like": ["here"] * (limits.MAX_FEEDBACK + 1)}),
    ("dislike", {"dislike": ["here"] * (limits.MAX_FEEDBACK + 1)}),
    ("like[1]", {"like": ["here", ""]}),
    ("dislike", {"like": ["here"], "dislike": ["here"]}),
    ("dislike", {"edits": [], "dislike": ["here"]}),
    ("turns", {"turns": [search_pb2.Turn(edits=edits("a"))] * (limits.MAX_TURNS + 1)}),
    ("turns[0].edits", {"turns": [search_pb2.Turn()]}),
    ("turns[1].edits", {"turns": [search_pb2.Turn(edits=edits("a")), search_pb2.Turn()]}),
    ("turns[0].dislike", {"turns": [search_pb2.Turn(dislike=["here"])]}),
    ("turns[0].edits[0].negative", {"turns": [search_pb2.Turn(edits=[search_pb2.Edit(text="a", negative=True)])]}),
    ("turns[0].references", {"turns": [search_pb2.Turn(references=[here(1.0), here(-1.0)])]}),
    *(("mmr.diversity", {"mmr": search_pb2.Mmr(diversity=value)}) for value in (-0.1, 1.1, np.nan)),
    *(("mmr.candidates", {"mmr": search_pb2.Mmr(candidates=n)}) for n in (9, limits.MAX_CANDIDATES + 1)),
    ("mmr", {"limit": limits.MAX_HITS, "offset": 1_001, "mmr": search_pb2.Mmr()}),
    ("mmr", {"mmr": search_pb2.Mmr(), "score_threshold": 0.5}),
    ("mmr", {"mmr": search_pb2.Mmr(), "group_by": search_pb2.GroupBy(field="n")}),
    ("group_by.field", {"group_by": search_pb2.GroupBy()}),
    ("group_by.field", {"group_by": search_pb2.GroupBy(field="nobody")}),
    ("group_by.size", {"group_by": search_pb2.GroupBy(field="n", size=limits.MAX_GROUP + 1)}),
    ("group_by.size", {"limit": limits.MAX_HITS, "group_by": search_pb2.GroupBy(field="n", size=2)}),
    ("filter.must[0].any", {"filter": where(condition(any=any_of()))}),
    ("filter.must[0].any", {"filter": where(condition(any=any_of(*[1] * (limits.MAX_ANY + 1))))}),
    (
        "filter.must[0].any.values[0]",
        {"filter": where(condition(any={"values": [search_pb2.Match()]}))},
    ),
    *(("filter.must[0].text", {"filter": where(condition(text=text))}) for text in ("", " !", "x" * 2_001)),
    ("filter.must[0].datetime", {"filter": where(condition(datetime=search_pb2.DatetimeRange()))}),
    ("filter.must[0].datetime", {"filter": where(condition(datetime=search_pb2.DatetimeRange(gt={"seconds": 2**40})))}),
    ("filter", {"filter": where(*[condition()] * (limits.MAX_CONDITIONS + 1))}),
    *(("filter.must[0].field", {"filter": where(condition(name))}) for name in ("", "x" * 257, '"', "_scot_item_id")),
    ("filter.must[0]", {"filter": where(search_pb2.Condition(field="n"))}),
    ("filter.must[0].match", {"filter": where(condition(match=search_pb2.Match()))}),
    ("filter.should[0].range", {"filter": search_pb2.Filter(should=[condition(range=search_pb2.Range())])}),
    (
        "filter.must_not[0].range",
        {"filter": search_pb2.Filter(must_not=[condition(range=search_pb2.Range(gt=np.nan))])},
    ),
]


@pytest.mark.parametrize(("field", "fields"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_query_beyond_them_is_refused_by_the_fields_name(service: Caller, field: str, fields: dict[str, Any]) -> None:
    code, details = service.search(**fields)
    assert (code, details.partition(":")[0]) == ("INVALID_ARGUMENT", field)
    assert "\n" not in details


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_a_picture_of_every_format_is_read(service: Caller, name: str) -> None:
    assert service.search(reference=image(GOOD_IMAGES[name])) == ("OK", "")


@pytest.mark.parametrize("name", REFUSED_IMAGES)
def test_what_is_no_picture_or_too_much_of_one_is_refused(service: Caller, name: str) -> None:
    code, details = service.search(reference=image(REFUSED_IMAGES[name]()))
    assert (code, details.partition(":")[0]) == ("INVALID_ARGUMENT", "reference.image")
    assert service.search(reference=image(padded(100))) == ("OK", "")  # and the next caller does not notice


def test_what_is_encoded_has_limits(service: Caller) -> None:
    def encoded(*inputs: search_pb2.EncodeInput) -> tuple[str, str]:
        code, details = service.outcome(f"{SEARCH}Encode", search_pb2.EncodeRequest(inputs=inputs))
        return code, details.partition(":")[0]

    text, most = search_pb2.EncodeInput(text="a"), limits.MAX_INPUTS
    assert encoded(*[text] * most) == ("OK", "")
    assert encoded(*[text] * (most + 1)) == ("INVALID_ARGUMENT", "inputs")
    assert encoded() == ("INVALID_ARGUMENT", "inputs")
    for each, field in (
        (search_pb2.EncodeInput(), "inputs[1]"),
        (search_pb2.EncodeInput(text=" "), "inputs[1].text"),
        (search_pb2.EncodeInput(text="x" * (limits.MAX_TEXT_CHARS + 1)), "inputs[1].text"),
        (search_pb2.EncodeInput(image=b""), "inputs[1].image"),
        (search_pb2.EncodeInput(image=b"no picture"), "inputs[1].image"),
        (search_pb2.EncodeInput(image=padded(limits.MAX_IMAGE_BYTES + 1)), "inputs[1].image"),
    ):
        assert encoded(text, each) == ("INVALID_ARGUMENT", field)


def test_what_is_stored_has_limits(service: Caller) -> None:
    def upserted(items: list[index_pb2.Item], collection: str = "") -> tuple[str, str]:
        request = index_pb2.UpsertItemsRequest(items=items, collection=collection)
        code, details = service.outcome(f"{INDEX}UpsertItems", request)
        return code, details.partition(":")[0]

    most = limits.MAX_ITEMS
    assert upserted([item(str(n)) for n in range(most)], "bulk") == ("OK", "")
    assert upserted([item(str(n)) for n in range(most + 1)], "bulk") == ("INVALID_ARGUMENT", "items")
    assert upserted([]) == ("INVALID_ARGUMENT", "items")
    assert upserted([item("a")], "a:1") == ("INVALID_ARGUMENT", "collection")


def test_an_item_beyond_its_limits_is_told_which_and_costs_no_other(service: Caller) -> None:
    wide = {"x": "y" * (limits.MAX_PAYLOAD_BYTES - 16)}
    good = [item("x" * limits.MAX_ID_CHARS), item("wide", payload=wide), item("é\0"), item("p", image=padded(100))]
    odd = item("odd", payload={"": 1, "deep": {"er": [[[{}]]]}, "large": 1e308, "zero": -0.0, "nul": "\0"})
    odd.payload.fields["of no kind"].MergeFrom(struct_pb2.Value())
    odd.payload.fields["of an unknown enum value"].MergeFrom(struct_pb2.Value.FromString(b"\x08\x05"))
    bad = {
        "item_id": [item(""), item("x" * (limits.MAX_ID_CHARS + 1)), item("é\0")],
        "content": [index_pb2.Item(item_id="empty")],
        "image": [
            item("i", image=b""),
            item("i2", image=b"none"),
            item("i3", image=padded(limits.MAX_IMAGE_BYTES + 1)),
        ],
        "vector": [index_pb2.Item(item_id=f"v{len(v)}", vector=search_pb2.Vector(values=v)) for v in ([], [1.0] * 33)],
        "payload": [
            item("b1", payload={"x": "y" * limits.MAX_PAYLOAD_BYTES}),
            item("b2", payload={"x": float("nan")}),
            item("b3", payload={"_scot_item_id": "b"}),
            item("b4", payload={"price.usd": 5}),
            item("b5", payload={"prices": [{"usd": {"net.": 5}}]}),
        ],
    }
    errors = service.upsert(*good, odd, *(each for items in bad.values() for each in items), collection="items")
    fields = [details.partition(":")[0] for details in errors]
    assert fields == [""] * 5 + [field for field, items in bad.items() for _ in items]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("reference.item_id", {"reference": search_pb2.Reference(item_id="nobody")}),
        ("references[1].item_id", {"references": [here(1.0), search_pb2.Reference(item_id="nobody")]}),
        ("like[0]", {"like": ["nobody"]}),
        ("dislike[1]", {"dislike": ["here", "nobody"]}),
        ("turns[1].like[0]", {"turns": [search_pb2.Turn(like=["here"]), search_pb2.Turn(like=["nobody"])]}),
        ("turns[0].references[0].item_id", {"turns": [{"references": [{"item_id": "nobody"}]}]}),
    ],
)
def test_an_unknown_item_is_named_with_its_field(service: Caller, field: str, fields: dict[str, Any]) -> None:
    expected = f"{field}: there is no item 'nobody' in collection 'gallery'"
    assert service.search(**fields) == ("NOT_FOUND", expected)


def test_facets_have_limits(service: Caller) -> None:
    def facets(**fields: Any) -> tuple[str, str]:
        code, details = service.outcome(f"{SEARCH}Facets", search_pb2.FacetsRequest(**fields))
        return code, details.partition(":")[0]

    assert facets() == facets(fields=["n"] * limits.MAX_FACETS, limit=limits.MAX_FACET_VALUES) == ("OK", "")
    assert facets(fields=["n"] * (limits.MAX_FACETS + 1)) == ("INVALID_ARGUMENT", "fields")
    assert facets(fields=["n", ""]) == facets(fields=["n", "_scot_origin"]) == ("INVALID_ARGUMENT", "fields[1]")
    assert facets(limit=limits.MAX_FACET_VALUES + 1) == ("INVALID_ARGUMENT", "limit")
    assert facets(filter=where(search_pb2.Condition(field="n"))) == ("INVALID_ARGUMENT", "filter.must[0]")
    assert facets(collection="a/b") == ("INVALID_ARGUMENT", "collection")
    assert facets(collection="nobody")[0] == "NOT_FOUND"


@pytest.mark.parametrize("method", ["GetItems", "DeleteItems"])
def test_ids_have_limits(service: Caller, method: str) -> None:
    def outcome(ids: list[str], collection: str = "") -> tuple[str, str]:
        request = index_pb2.GetItemsRequest(item_ids=ids, collection=collection)  # the other's fields are the same
        code, details = service.outcome(f"{INDEX}{method}", request)
        return code, details.partition(":")[0]

    assert outcome([f"nobody-{n}" for n in range(limits.MAX_IDS)]) == ("OK", "")
    assert outcome(["a"] * (limits.MAX_IDS + 1)) == ("INVALID_ARGUMENT", "item_ids")
    assert outcome([]) == ("INVALID_ARGUMENT", "item_ids")
    assert outcome(["a", ""]) == ("INVALID_ARGUMENT", "item_ids[1]")
    assert outcome(["x" * (limits.MAX_ID_CHARS + 1)]) == ("INVALID_ARGUMENT", "item_ids[0]")
    assert outcome(["a"], "../a") == ("INVALID_ARGUMENT", "collection")


def test_pages_and_thumbnails_have_limits(service: Caller) -> None:
    def listed(**fields: Any) -> tuple[str, str]:
        code, details = service.outcome(f"{INDEX}ListItems", index_pb2.ListItemsRequest(**fields))
        return code, details.partition(":")[0]

    def pictures(*ids: str) -> tuple[str, str]:
        code, details = service.outcome(f"{INDEX}GetPictures", index_pb2.GetPicturesRequest(item_ids=ids))
        return code, details.partition(":")[0]

    assert listed() == listed(limit=limits.MAX_LISTED) == listed(source="x" * limits.MAX_ORIGIN_CHARS) == ("OK", "")
    assert listed(limit=limits.MAX_LISTED + 1) == ("INVALID_ARGUMENT", "limit")
    assert listed(source="x" * (limits.MAX_ORIGIN_CHARS + 1)) == ("INVALID_ARGUMENT", "source")
    assert listed(after="no page") == ("INVALID_ARGUMENT", "after")
    assert listed(collection="a/b") == ("INVALID_ARGUMENT", "collection")
    assert listed(collection="nobody")[0] == "NOT_FOUND"
    assert pictures(*["a"] * limits.MAX_PICTURES) == ("OK", "")
    assert pictures(*["a"] * (limits.MAX_PICTURES + 1)) == pictures() == ("INVALID_ARGUMENT", "item_ids")


def test_an_origin_has_limits_and_comes_back(service: Caller) -> None:
    whole = {"source": "/pictures", "path": "a/é.png", "size": 2**62, "modified_ns": -1, "sha256": "a" * 64}
    bad: dict[str, dict[str, Any]] = {
        "origin.source": {"source": ""},
        "origin.path": {"path": "x" * (limits.MAX_ORIGIN_CHARS + 1)},
        "origin.size": {"size": 2**63},
        "origin.sha256": {"sha256": "A"},
        "origin.metadata": {"metadata": "a" * 65},
    }
    items = [item(name) for name in ("origin", *bad)]
    for each, wrong in zip(items, ({}, *bad.values()), strict=True):
        each.origin.MergeFrom(search_pb2.Origin(**{**whole, **wrong}))
    assert [error.partition(":")[0] for error in service.upsert(*items, collection="origins")] == ["", *bad]
    with ScotClient(service.target) as client:
        assert client.get(["origin"], collection="origins")["origin"].origin == Origin(**whole)
        (hit,) = client.search(vector=VECTOR, collection="origins").hits
        assert hit.origin == Origin(**whole)
        assert hit.payload == {}
        assert list(client.list_items(collection="origins", source="/other")) == []
        assert client.get_pictures(["origin"], collection="origins") == {}


def test_the_client_lists_every_page(service: Caller) -> None:
    async def awaited() -> list[ListedItem]:
        async with AsyncScotClient(service.target) as client:
            return [each async for each in client.list_items(collection="pages")]

    names = {f"i{n}" for n in range(limits.MAX_LISTED + 1)}
    with ScotClient(service.target) as client:
        for start in range(0, len(names), limits.MAX_ITEMS):
            some = sorted(names)[start : start + limits.MAX_ITEMS]
            client.upsert([NewItem(name, vector=VECTOR) for name in some], collection="pages")
        listed = list(client.list_items(collection="pages"))
    assert len(listed) == len(names)
    assert {each.item_id for each in listed} == names
    assert {each.origin for each in listed} == {None}
    assert asyncio.run(awaited()) == listed


def chunk(number: int, *parts: bytes) -> bytes:
    """A length-delimited field; each length is a varint of up to four bytes."""
    body, length, size = b"".join(parts), b"", len(b"".join(parts))
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + body


def nested(depth: int) -> bytes:
    """A payload that many structs deep."""
    inner = b""
    for _ in range(depth):
        inner = chunk(5, chunk(1, chunk(1, b"a"), chunk(2, inner)))
    return chunk(4, chunk(1, chunk(1, b"a"), chunk(2, inner)))


UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "an edit": ("ComposeSearch", chunk(2, chunk(1, b"a")) + chunk(2, chunk(1, b"\xff\xfe")), "edits[1].text"),
    "a composer": ("ComposeSearch", chunk(3, b"\xc3\x28"), "composer"),
    "a surrogate": ("ComposeSearch", chunk(4, b"\xed\xa0\x80"), "collection"),
    "an item id": ("ComposeSearch", chunk(1, chunk(2, b"\x80")), "reference.item_id"),
    "a filter": ("ComposeSearch", chunk(5, chunk(3, chunk(1, b"\xf8"))), "filter.must_not[0].field"),
    "a text": ("Encode", chunk(1, chunk(2, b"\xff")), "inputs[0].text"),
    "ids": ("GetItems", chunk(2, b"ok") + chunk(2, b"\xff"), "item_ids[1]"),
    "a payload": ("UpsertItems", chunk(2, chunk(4, chunk(1, chunk(1, b"\xff")))), "items[0].payload.fields[0].key"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_text_that_is_not_utf8_is_refused_by_the_fields_name(service: Caller, name: str) -> None:
    method, data, field = UNREADABLE[name]
    path = SEARCH if method in ("ComposeSearch", "Encode") else INDEX
    assert service.outcome(f"{path}{method}", data) == ("INVALID_ARGUMENT", f"{field}: is not UTF-8 text")


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("ComposeSearch", b"\xff"),
        ("ComposeSearch", b"\xff" * 1_000),
        ("ComposeSearch", chunk(2, chunk(1, b"cut short"))[:-3]),
        ("ComposeSearch", b"\x7b" * 500 + b"\x7c" * 500),  # groups within groups
        ("UpsertItems", chunk(2, chunk(1, b"deep"), nested(200))),
        ("UpsertItems", chunk(2, chunk(1, b"cut"), nested(20))[:-9]),
    ],
)
def test_invalid_messages_are_refused(service: Caller, method: str, data: bytes) -> None:
    path = SEARCH if method == "ComposeSearch" else INDEX
    name = f"scot.v1.{method}Request"
    assert service.outcome(f"{path}{method}", data) == (
        "INVALID_ARGUMENT",
        f"the request is not a valid {name} message",
    )


def test_fields_that_nobody_knows_are_passed_over(service: Caller) -> None:
    field_100 = b"\xa2\x06\x01\xff"
    assert service.outcome(f"{SEARCH}ComposeSearch", query().SerializeToString() + field_100) == ("OK", "")


def test_looking_for_the_field_to_blame_ends() -> None:
    many = chunk(2, chunk(1, b"a")) * 100_000 + chunk(2, chunk(1, b"\xff"))
    unreadable = reader(search_pb2.ComposeSearchRequest)(many)
    assert unreadable == MalformedRequest("the request is not a valid scot.v1.ComposeSearchRequest message")


def test_an_unreadable_request_ends_a_stream_after_its_answers(service: Caller) -> None:
    requests = [query().SerializeToString(), chunk(3, b"\xff"), query().SerializeToString()]
    stream = service._channel.stream_stream(f"{SEARCH}ComposeSearchStream")(iter(requests), timeout=60)
    answers = []
    with pytest.raises(grpc.RpcError) as refused:  # noqa: PT012
        for data in stream:
            answers.append(search_pb2.ComposeSearchResponse.FromString(data))
    assert [answer.composer for answer in answers] == ["text_only"]
    assert (refused.value.code().name, refused.value.details()) == ("INVALID_ARGUMENT", "composer: is not UTF-8 text")

    items = [index_pb2.UpsertItemsRequest(items=[item("streamed")]).SerializeToString(), b"\xff"]
    with pytest.raises(grpc.RpcError) as refused:
        service._channel.stream_unary(f"{INDEX}UpsertItemsStream")(iter(items), timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert service.search(reference=search_pb2.Reference(item_id="streamed")) == ("OK", "")


def test_the_documented_limits_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| ([\d,]+) \| `(\w+)` \|$", page, re.M)
    errors = {name: int(number.replace(",", "")) for number, name in rows}
    others = ("FEW_IN_FLIGHT", "BULK_INPUTS", "STREAM_QUERIES", "SECOND_LOOKS")
    assert errors == {name: value for name, value in vars(limits).items() if name.startswith("MAX_") or name in others}


_MEASURED = """
import resource, sys
from scot.data.images import decode_image
from scot.errors import ImageRefused
from tests.support.bad_images import GOOD_IMAGES, REFUSED_IMAGES
refused = [make() for make in REFUSED_IMAGES.values()]
bomb = GOOD_IMAGES.pop("PNG, pixels and 256 MB of zeros")
for data in GOOD_IMAGES.values():
    decode_image(data)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
for _ in range(5):
    decode_image(bomb)
    for data in refused:
        try:
            decode_image(data)
        except ImageRefused:
            continue
        sys.exit("it was decoded")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_refusing_pictures_takes_no_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32  # MiB; what they would have taken is gigabytes
