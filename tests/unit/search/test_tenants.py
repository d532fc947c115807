"""Keys that open some collections, fill them to a number of items, and are named in the log of every write."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory
from PIL import Image

from scot.client import NewItem, ScotClient, SearchResult
from scot.errors import InvalidInput, Overloaded, PermissionDenied, ScotError
from scot.keys import ApiKey, digest_of, read_keys
from scot.v1 import index_pb2, search_pb2
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here

KEYS = [
    ApiKey(digest_of("operator"), "operator", "read-write"),
    ApiKey(digest_of("acme"), "acme", "read-write", collections=("acme",), items=5),
    ApiKey(digest_of("trial"), "trial", "read-write", collections=("trial",), byte_rate=50.0),
    ApiKey(digest_of("shops"), "shops", "read", collections=("acme*", "shop-?")),
]
DIM = 32


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tenants")
    (folder / "keys").write_text("\n".join(key.line for key in KEYS))
    settings = {
        "encoder": save_random_encoder(folder / "encoder"), "threads": 1, "store": str(folder / "qdrant"),
        "api_keys": str(folder / "keys"), "thumbnails": str(folder / "thumbnails"),
    }  # fmt: skip
    with served_here(from_args(settings)) as address:
        with ScotClient(address, api_key="operator") as client:
            for collection in ("shop-1", "shop-22", "other"):
                client.upsert(items(3), collection=collection)
        yield address


def items(number: int, first: int = 0) -> list[NewItem]:
    rng = np.random.default_rng(0)
    return [NewItem(f"item-{n}", vector=rng.normal(size=DIM)) for n in range(first, first + number)]


def as_(target: str, key: str) -> ScotClient:
    return ScotClient(target, api_key=key)


def test_a_line_says_which_collections(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n".join(key.line for key in KEYS))
    assert list(read_keys(tmp_path / "keys")) == KEYS
    assert KEYS[1].line.endswith("name=acme role=read-write collections=acme items=5")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("collections=", "collections must be names"),
        ("collections=a,,b", "collections must be names"),
        ("collections=a/b", "collections must be names"),
        ("items=-1", "items must be a number of items of at least 0"),
        ("items=many", "items must be a number of items of at least 0"),
        ("items=1.5", "items must be a number of items of at least 0"),
    ],
)
def test_a_malformed_line(tmp_path: Path, words: str, sentence: str) -> None:
    (tmp_path / "keys").write_text(f"{'a' * 64} {words}")
    with pytest.raises(InvalidInput, match=f"line 1 .*{sentence}"):
        read_keys(tmp_path / "keys")


def test_a_key_of_one_collection_need_not_name_it(target: str) -> None:
    with as_(target, "acme") as acme, as_(target, "operator") as operator:
        assert acme.upsert(items(2)).upserted == 2
        assert {hit.item_id for hit in acme.search(vector=np.ones(DIM)).hits} == {"item-0", "item-1"}
        assert acme.info().collection == "acme"
        assert operator.info(collection="acme").items == 2
        assert operator.info().items == 0


CALLS = [
    (service.full_name, method)
    for file in (search_pb2.DESCRIPTOR, index_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
    if "collection" in method.input_type.fields_by_name and not method.client_streaming
]


@pytest.mark.parametrize(("service", "method"), CALLS, ids=[method.name for _, method in CALLS])
def test_other_collections_are_closed_in_every_call(target: str, service: str, method: Any) -> None:
    message = message_factory.GetMessageClass(method.input_type)(collection="other")
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(f"/{service}/{method.name}", request_serializer=type(message).SerializeToString)
        with pytest.raises(grpc.RpcError) as refused:
            call(message, metadata=[("authorization", "Bearer acme")], timeout=30)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.details() == "collection: this API key does not open 'other'"


def test_other_collections_are_closed_in_streams(target: str) -> None:
    with as_(target, "acme") as acme:
        answers = list(acme.search_many([{"vector": np.ones(DIM), "collection": name} for name in ("acme", "other")]))
    assert [type(answer) for answer in answers] == [SearchResult, PermissionDenied]
    with grpc.insecure_channel(target) as channel:
        stream = channel.stream_unary(
            "/scot.v1.IndexService/UpsertItemsStream", request_serializer=index_pb2.UpsertItemsRequest.SerializeToString
        )
        requests = iter([index_pb2.UpsertItemsRequest(collection="other", items=[index_pb2.Item(item_id="a")])])
        with pytest.raises(grpc.RpcError) as refused:
            stream(requests, metadata=[("authorization", "Bearer acme")], timeout=30)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_patterns_open_several_and_the_list_shows_them_alone(target: str) -> None:
    with as_(target, "shops") as shops:
        assert shops.search(vector=np.ones(DIM), collection="shop-1").hits
        with pytest.raises(PermissionDenied):
            shops.search(vector=np.ones(DIM), collection="shop-22")
        with pytest.raises(PermissionDenied, match="does not open 'gallery'"):  # the default of the service
            shops.search(vector=np.ones(DIM))
        listed = {each.collection for each in shops.collections()}
    assert "shop-1" in listed
    assert listed <= {"acme", "acme-1", "shop-1"}
    with as_(target, "operator") as operator:
        assert {"gallery", "shop-22", "other"} <= {each.collection for each in operator.collections()}


def test_a_collection_is_filled_to_the_number_of_items(target: str) -> None:
    with as_(target, "acme") as acme:
        acme.upsert(items(2))
        picture = NewItem("beyond", Image.new("RGB", (20, 20), "red"))
        done = acme.upsert([*items(3, first=2), picture, NewItem("item-0", vector=np.ones(DIM))])
        assert done.upserted == 4  # three new ones, and one that was there
        (refused,) = done.refused
        assert (refused.item_id, refused.error) == (
            "beyond",
            "item_id: collection 'acme' has the 5 items that this API key may fill it to",
        )
        assert acme.get_pictures(["beyond"]) == {}
        assert acme.delete(["item-1"]) == 1
        assert acme.upsert([picture]).upserted == 1


def test_bytes_are_limited_over_time(target: str) -> None:
    picture = Image.effect_noise((64, 64), 50)  # some 4 kB, more than the 3,000 bytes of a minute
    with as_(target, "trial") as trial:
        assert trial.upsert([NewItem("first", picture)]).upserted == 1
        with pytest.raises(Overloaded, match="may send 50 bytes of requests a second"):
            trial.get(["first"])
    with grpc.insecure_channel(target) as channel:  # in streams too
        stream = channel.stream_unary(
            "/scot.v1.IndexService/UpsertItemsStream", request_serializer=index_pb2.UpsertItemsRequest.SerializeToString
        )
        requests = iter([index_pb2.UpsertItemsRequest(items=[index_pb2.Item(item_id="a")])])
        with pytest.raises(grpc.RpcError) as refused:
            stream(requests, metadata=[("authorization", "Bearer trial")], timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_log_says_who_wrote_what(target: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    with as_(target, "operator") as operator, as_(target, "acme") as acme:
        operator.upsert(items(3), collection="other")
        operator.delete(["item-0", "none"], collection="other")
        with pytest.raises(ScotError):
            acme.delete(["item-1"], collection="other")
    told = [json.loads(record.getMessage()) for record in caplog.records if record.getMessage().startswith("{")]
    words = ("key", "method", "collection", "status", "upserted", "deleted")
    assert [tuple(line.get(word) for word in words) for line in told] == [
        ("operator", "upsert_items", "other", "OK", 3, None),
        ("operator", "delete_items", "other", "OK", None, 1),
        ("acme", "delete_items", "other", "PERMISSION_DENIED", None, None),
    ]
