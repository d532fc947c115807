"""The client's public face, and what it refuses before anything is sent."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

import scot.client
from scot.channels import is_loopback, proxy_of
from scot.client import AsyncScotClient, Edit, Exists, Filter, Match, NewItem, Query, Range, ScotClient, SearchResult
from scot.client._connection import from_status
from scot.client._inputs import image_bytes
from scot.data.images import decode_image
from scot.errors import GRPC_STATUS, InvalidInput, Overloaded, ScotError, Unavailable
from scot.v1 import search_pb2
from tests.support.bad_images import GOOD_IMAGES


@pytest.fixture
def client() -> ScotClient:
    return ScotClient("localhost:1", timeout=5)


def test_the_public_names() -> None:
    assert set(scot.client.__all__) == {
        *("ScotClient", "AsyncScotClient", "Query", "Edit", "NewItem", "Filter", "Match", "Range", "Exists"),
        *("SearchResult", "Hit", "Encoded", "ComposerInfo", "UpsertResult", "Refused", "StoredItem", "CollectionInfo"),
        *("Origin", "ListedItem", "Picture", "Reference", "Turn", "HitGroup", "Facets", "FacetValue"),
        *("MatchAny", "MatchText", "DatetimeRange", "Rerank"),
    }


def test_every_status_comes_back_as_its_error() -> None:
    for error, status in GRPC_STATUS.items():
        returned = from_status(status, "why")
        assert GRPC_STATUS[type(returned)] == status
        assert str(returned) == "why"
        assert isinstance(error(*["x"] * 1), ScotError)
    assert type(from_status("INTERNAL", "why")) is ScotError


def test_what_is_wrong_here_is_said_here(client: ScotClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no image file .*missing\.png"):
        client.search(image=tmp_path / "missing.png", edits="a")
    with pytest.raises(InvalidInput, match="cannot be read"):
        client.search(image=tmp_path)
    with pytest.raises(InvalidInput, match="one of image, item_id and vector"):
        client.search(image=b"x", item_id="y")
    with pytest.raises(InvalidInput, match="limit"):
        client.search(edits="a", limit=-1)
    with pytest.raises(TypeError, match="a search has no argument 'colour'"):
        client.search(colour="red")  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="one row"):
        client.search(vector=np.ones((2, 2)))
    with pytest.raises(InvalidInput, match="'a': give either"):
        client.upsert([NewItem("a")])
    with pytest.raises(InvalidInput, match="'a': the payload must be JSON-like"):
        client.upsert([NewItem("a", vector=[1.0], payload={"x": object()})])


def test_nobody_answers(client: ScotClient) -> None:
    with pytest.raises(Unavailable, match="no SCOT service answers at localhost:1"):
        client.search(edits="a")
    assert not client.healthy()
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.search(edits="a")


def test_a_call_that_the_servers_grpc_drops_met_its_limit() -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        lambda _, context: context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
    )
    server = grpc.server(ThreadPoolExecutor(1))
    methods = {"ComposeSearch": handler}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("scot.v1.SearchService", methods)])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with (
        ScotClient(f"localhost:{port}") as client,
        pytest.raises(Overloaded, match="at its limit and dropped the call"),
    ):
        client.search(edits="a")
    server.stop(None).wait()


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_a_pil_image_is_sent_as_the_pixels_of_its_bytes(name: str) -> None:
    sent = image_bytes(Image.open(io.BytesIO(GOOD_IMAGES[name])))
    assert decode_image(sent).tobytes() == decode_image(GOOD_IMAGES[name]).tobytes()


def test_a_transparent_pil_image_is_sent_on_white() -> None:
    sent = Image.open(io.BytesIO(image_bytes(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))))
    assert sent.getpixel((0, 0)) == (255, 255, 255)


def test_a_pil_image_that_cannot_be_read_is_invalid_input() -> None:
    cut = GOOD_IMAGES["PNG"][: len(GOOD_IMAGES["PNG"]) // 2]
    with pytest.raises(InvalidInput, match="the PIL image cannot be read"):
        image_bytes(Image.open(io.BytesIO(cut)))


@contextmanager
def echo() -> Iterator[str]:
    """The address of a service that answers each query of a stream with its first edit as the composer."""

    def answers(requests: Iterator[Any], _: Any) -> Iterator[Any]:
        for request in requests:
            yield search_pb2.ComposeSearchResponse(composer=request.edits[0].text)

    handler = grpc.stream_stream_rpc_method_handler(
        answers,
        request_deserializer=search_pb2.ComposeSearchRequest.FromString,
        response_serializer=search_pb2.ComposeSearchResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("scot.v1.SearchService", {"ComposeSearchStream": handler})]
    )
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


def searched(address: str, queries: Any, *, asynchronous: bool) -> list[SearchResult | ScotError]:
    """The results of search_many of either client."""

    async def run() -> list[SearchResult | ScotError]:
        async with AsyncScotClient(address) as client:
            return [each async for each in client.search_many(queries)]

    if asynchronous:
        return asyncio.run(run())
    with ScotClient(address) as client:
        return list(client.search_many(queries))


def brief(results: list[SearchResult | ScotError]) -> list[str]:
    return [each.composer if isinstance(each, SearchResult) else type(each).__name__ for each in results]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_query_of_many_that_cannot_be_sent_gives_its_error_in_its_place(asynchronous: bool, tmp_path: Path) -> None:
    bad: list[Query] = [{"image": tmp_path / "missing.png", "edits": "x"}, {"edits": "x", "limit": 0}]
    queries: list[Query] = [bad[0], {"edits": "one"}, *bad, {"edits": "two"}, bad[1]]
    with echo() as address:
        results = searched(address, queries, asynchronous=asynchronous)
        assert brief(results) == ["InvalidInput", "one", "InvalidInput", "InvalidInput", "two", "InvalidInput"]
        assert str(results[0]) == f"there is no image file {tmp_path / 'missing.png'}"
        assert brief(searched(address, bad, asynchronous=asynchronous)) == ["InvalidInput", "InvalidInput"]
        assert searched(address, [], asynchronous=asynchronous) == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_of_the_callers_own_iterable_is_raised_to_the_caller(asynchronous: bool) -> None:
    def queries() -> Iterator[Query]:
        yield {"edits": "one"}
        raise ZeroDivisionError("the caller's")

    with echo() as address, pytest.raises(ZeroDivisionError, match="the caller's"):
        searched(address, queries(), asynchronous=asynchronous)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.delete("a1"), "item_ids: must be a list, not str 'a1'"),
        (lambda c: c.get("a1"), "item_ids: must be a list, not str 'a1'"),
        (lambda c: c.get_pictures(b"a1"), "item_ids: must be a list, not bytes b'a1'"),
        (lambda c: c.delete(7), "item_ids: must be a list, not int 7"),
        (lambda c: c.delete(["a", 7]), r"item_ids\[1\]: must be text, not int 7"),
        (lambda c: c.delete(["a\udce9"]), r"item_ids\[0\]: must be Unicode text"),
        (lambda c: c.delete(["a"], collection=3), "collection: must be text, not int 3"),
        (lambda c: c.get(["a"], with_vectors="yes"), "with_vectors: must be True or False, not str 'yes'"),
        (lambda c: c.info(collection=None), "collection: must be text, not NoneType"),
        (lambda c: list(c.list_items(source=4)), "source: must be text, not int 4"),
        (lambda c: c.search(image=7), "image: must be a path, bytes or a PIL image, not int 7"),
        (lambda c: c.search(image="a\0b"), "image: is not the path of a file"),
        (lambda c: c.search(item_id=7), "item_id: must be text, not int 7"),
        (lambda c: c.search(vector="red"), "vector: must be a row of numbers"),
        (lambda c: c.search(edits=7), "edits: must be a list, not int 7"),
        (lambda c: c.search(edits={"text": "red"}), "edits: must be a list, not dict"),
        (lambda c: c.search(edits=["a", 7]), r"edits\[1\]: must be text or an Edit, not int 7"),
        (lambda c: c.search(edits=[Edit(7)]), r"edits\[0\]\.text: must be text, not int 7"),
        (lambda c: c.search(edits=[Edit("a", weight="b")]), r"edits\[0\]\.weight: must be a number, not str 'b'"),
        (lambda c: c.search(edits=[Edit("a", negative=1)]), r"edits\[0\]\.negative: must be True or False, not int 1"),
        (lambda c: c.search(edits="caf\udce9"), r"edits\[0\]: must be Unicode text, not str 'caf"),
        (lambda c: c.search(edits="a", limit="5"), "limit: must be an integer, not str '5'"),
        (lambda c: c.search(edits="a", limit=2.5), "limit: must be an integer, not float 2.5"),
        (lambda c: c.search(edits="a", offset=True), "offset: must be an integer, not bool True"),
        (lambda c: c.search(edits="a", score_threshold="high"), "score_threshold: must be a number, not str 'high'"),
        (lambda c: c.search(edits="a", composer=1), "composer: must be text, not int 1"),
        (lambda c: c.search(edits="a", filter={"kind": "a"}), "filter: must be of the class Filter, not dict"),
        (lambda c: c.search(edits="a", filter=Filter(must=Match("a", 1))), "filter.must: must be a list of conditions"),
        (lambda c: c.search(edits="a", filter=Filter(["a"])), r"filter.must\[0\]: must be a Match, MatchAny"),  # type: ignore[list-item]
        (
            lambda c: c.search(edits="a", filter=Filter([Match("a", 2.5)])),
            r"filter.must\[0\]: a Match needs text, an int",
        ),
        (lambda c: c.search(edits="a", filter=Filter([Match("a", 2**63)])), r"filter.must\[0\]: "),
        (lambda c: c.search(edits="a", filter=Filter([Range("a", gt="b")])), r"filter.must\[0\]: "),
        (lambda c: c.search(edits="a", filter=Filter([Exists(7)])), r"filter.must\[0\].field: must be text, not int"),
        (lambda c: c.search(edits="a", timeout="soon"), "timeout: must be a number, not str 'soon'"),
        (lambda c: c.encode(images="a.png"), "images: must be a list, not str 'a.png'"),
        (lambda c: c.encode(texts="red"), "texts: must be a list, not str 'red'"),
        (lambda c: c.encode(texts=[None]), r"texts\[0\]: must be text, not NoneType"),
        (lambda c: c.encode(images=[None]), r"images\[0\]: must be a path, bytes or a PIL image, not NoneType"),
        (lambda c: c.upsert([{"item_id": "a"}]), r"items\[0\]: must be of the class NewItem, not dict"),
        (lambda c: c.upsert(NewItem("a", image=b"x")), "items: must be a list, not NewItem"),
        (lambda c: c.upsert([NewItem(7, image=b"x")]), r"items\[0\]\.item_id: must be text, not int 7"),
        (lambda c: c.upsert([NewItem("a", image=7)]), r"items\[0\]\.image: must be a path, bytes or a PIL image"),
        (
            lambda c: c.upsert([NewItem("a", image=b"x", origin="here")]),
            r"items\[0\]\.origin: must be of the",
        ),
        (lambda c: c.upsert([NewItem("a", image=b"x", payload="red")]), "'a': the payload must be JSON-like"),
        (lambda c: ScotClient(9000), "target: must be text, not int 9000"),
        (lambda c: ScotClient(api_key=7), "api_key: must be text, not int"),
        (lambda c: ScotClient(timeout="5"), "timeout: must be a number, not str '5'"),
    ],
)
def test_a_wrong_type_is_a_sentence_with_its_field(
    call: Callable[[ScotClient], object], message: str, client: ScotClient
) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}|item {message}"):
        call(client)


def test_numbers_of_numpy_are_numbers(client: ScotClient) -> None:
    with pytest.raises(Unavailable):
        client.search(edits=[Edit("a", weight=np.float32(0.5))], limit=np.int64(5), score_threshold=np.float64(0.1))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["localhost:9000", "127.0.0.1:9", "127.1.2.3:9", "[::1]:9000", "dns:///localhost:1"])
def test_loopback_never_goes_through_a_proxy(target: str) -> None:
    assert is_loopback(target)
    assert proxy_of(target, {"http_proxy": "http://127.0.0.1:9"}) == ""


def test_a_service_on_this_machine_answers_while_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with echo() as address:
        assert brief(searched(address, [{"edits": "one"}], asynchronous=False)) == ["one"]
        assert brief(searched(address, [{"edits": "one"}], asynchronous=True)) == ["one"]


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    with ScotClient("192.0.2.1:9000", timeout=20) as client, pytest.raises(Unavailable) as refused:
        client.search(edits="a")
    expected = (
        "no SCOT service answers at 192.0.2.1:9000 through the proxy 127.0.0.1:9, which the variable http_proxy names"
    )
    assert str(refused.value) == expected
    assert proxy_of("shop.example:1", {"http_proxy": "http://p:3128", "no_proxy": "other, .example"}) == ""
    assert not is_loopback("shop.example:1")


@pytest.mark.parametrize("key", ["scot_key\n", "Bearer scot_key", " bearer scot_key\r\n"])
def test_a_key_may_have_blanks_around_it_or_be_the_value_of_a_header(key: str) -> None:
    assert ScotClient("localhost:1", api_key=key)._metadata == [("authorization", "Bearer scot_key")]
    bulk = ScotClient("localhost:1", api_key=key, bulk=True)
    assert bulk._metadata == [("authorization", "Bearer scot_key"), ("x-priority", "bulk")]
    with pytest.raises(InvalidInput, match="without spaces and line breaks"):
        ScotClient("localhost:1", api_key="scot\nkey")


def test_a_stream_that_is_refused_at_once_never_loses_the_reason() -> None:
    server = grpc.server(ThreadPoolExecutor(1))  # without any method
    port = server.add_insecure_port("localhost:0")
    server.start()

    async def refusals() -> list[str]:
        said = []
        async with AsyncScotClient(f"localhost:{port}") as client:
            for _ in range(200):
                with pytest.raises(ScotError) as refused:
                    [each async for each in client.search_many([{"edits": "a"}])]
                said.append(str(refused.value))
        return said

    try:
        assert set(asyncio.run(refusals())) == {"Method not found!"}
    finally:
        server.stop(None).wait()
