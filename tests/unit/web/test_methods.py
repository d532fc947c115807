"""Every gRPC method over HTTP gives what gRPC gives; parametrised over the descriptors, so that a new one is tested."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from services.web.methods import METHODS, SERVICES, Method, has_bytes
from tests.support.served_web import ask
from tests.unit.web.conftest import png

# One request of each method, in canonical JSON; writes are of items that no other test reads.
RED = {"edits": [{"text": "red"}], "limit": 2}
IMAGE = base64.b64encode(png((200, 0, 0))).decode()
REQUESTS: dict[str, dict[str, Any]] = {
    "ComposeSearch": {"reference": {"image": IMAGE}, **RED, "filter": {"must": [{"field": "price", "exists": True}]}},
    "ComposeSearchStream": RED,
    "Encode": {"inputs": [{"text": "red"}, {"image": IMAGE}]},
    "ListComposers": {},
    "Facets": {"fields": ["price", "caption"], "filter": {"must": [{"field": "price", "exists": True}]}},
    "UpsertItems": {"items": [{"itemId": "new", "image": IMAGE, "payload": {"n": [1, {"a": None}]}}]},
    "DeleteItems": {"itemIds": ["nothing"]},
    "GetItems": {"itemIds": ["red", "nobody"], "withVectors": True},
    "ListItems": {"limit": 2, "source": "/pictures"},
    "GetPictures": {"itemIds": ["red", "nobody"]},
    "CollectionInfo": {},
    "ListCollections": {},
}
UNARY = [method for method in METHODS if not method.server_streaming]
CHANGING = ("timings", "requestId")
FORM = "multipart/form-data; boundary=sep"
by_name = {"argvalues": UNARY, "ids": lambda method: method.name}


def form(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    body = b""
    for name, filename, content in parts:
        file = "" if filename is None else '; filename="' + filename.replace('"', "%22") + '"'
        body += f'--sep\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + b"--sep--\r\n"


def over_grpc(address: str, method: Method, request: Message) -> Any:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            method.grpc_path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return call(request, timeout=60)


def comparable(response: Message) -> dict[str, Any]:
    return {name: each for name, each in json_format.MessageToDict(response).items() if name not in CHANGING}


def test_every_method_of_the_protos_has_an_address_and_a_test() -> None:
    skipped = {method.name for service in SERVICES for method in service.methods} - {each.name for each in METHODS}
    assert skipped == {"UpsertItemsStream"}  # a stream of requests with one response
    assert REQUESTS.keys() == {method.name for method in METHODS}
    assert len({method.path for method in METHODS}) == len(METHODS)


@pytest.mark.parametrize("method", **by_name)
def test_a_method_gives_what_grpc_gives(address: str, url: str, method: Method) -> None:
    asked = REQUESTS[method.name]
    answer = ask(url, method.path, asked)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    response = json_format.ParseDict(answer.json, method.response())
    request = json_format.ParseDict(asked, method.request())
    assert comparable(response) == comparable(over_grpc(address, method, request))


@pytest.mark.parametrize("method", **by_name)
def test_the_names_of_the_protos_are_read_too(url: str, method: Method) -> None:
    message = json_format.ParseDict(REQUESTS[method.name], method.request())
    assert ask(url, method.path, json_format.MessageToDict(message, preserving_proto_field_name=True)).status == 200


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_wrong_field_is_named(url: str, method: Method) -> None:
    body = {"requests": [{"nonsense": 1}]} if method.client_streaming else {"nonsense": 1}
    answer = ask(url, method.path, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["grpc_status"] == "INVALID_ARGUMENT"
    assert answer.json["detail"].endswith("nonsense: there is no such field")


def test_what_is_empty_is_written_too(url: str) -> None:
    answer = ask(url, "/v1/compose-search", {**RED, "offset": 50})
    assert answer.json["hits"] == []
    assert answer.json["textTruncated"] is False
    assert "error" not in answer.json


def test_a_request_without_a_body_is_an_empty_message(url: str) -> None:
    assert ask(url, "/v1/list-composers", method="POST").json["encoder"]


@pytest.mark.parametrize("method", [each for each in UNARY if has_bytes(each.request)], ids=lambda m: m.name)
def test_pictures_come_as_a_form(address: str, url: str, method: Method) -> None:
    asked = json.loads(json.dumps(REQUESTS[method.name]))
    if method.name == "ComposeSearch":
        del asked["reference"]
        bytes_path = "reference.image"
    elif method.name == "Encode":
        asked["inputs"].pop()
        bytes_path = "inputs[1].image"
    else:
        del asked["items"][0]["image"]
        bytes_path = "items[0].image"
    parts = [("request", None, json.dumps(asked).encode()), (bytes_path, '"><b>.png', png((200, 0, 0)))]
    answer = ask(url, method.path, raw=form(parts), content_type=FORM)
    assert answer.status == 200, answer.body
    request = json_format.ParseDict(REQUESTS[method.name], method.request())
    response = json_format.ParseDict(answer.json, method.response())
    assert comparable(response) == comparable(over_grpc(address, method, request))


def test_a_form_has_a_part_for_each_field(url: str) -> None:
    parts = [
        ("reference.itemId", None, b"red"),
        ("edits[0].text", None, "blau, größer".encode()),
        ("edits[1].text", None, b"with [1] belt"),
        ("edits[1].weight", None, b"0.5"),
        ("include_reference", None, b"true"),
        ("filter", None, b'{"must": [{"field": "caption", "exists": true}]}'),
        ("limit", None, b"1"),
    ]
    written = ask(url, "/v1/compose-search", raw=form(parts), content_type=FORM)
    asked = {
        "reference": {"itemId": "red"},
        "edits": [{"text": "blau, größer"}, {"text": "with [1] belt", "weight": 0.5}],
        "includeReference": True,
        "filter": {"must": [{"field": "caption", "exists": True}]},
        "limit": 1,
    }
    expected = ask(url, "/v1/compose-search", asked)
    assert written.json["hits"] == expected.json["hits"]
    assert len(written.json["hits"]) == 1


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ([("reference.image", None, b"text")], "reference.image: "),
        ([("reference.imagee", "a.png", b"x")], "reference.imagee: there is no such field"),
        ([("reference..image", "a.png", b"x")], "'reference..image' is not a path"),
        ([("../../etc/passwd", "a.png", b"x")], "is not a path of fields"),
        ([("edits[1].text", None, b"red")], "edits[1].text: number the parts of a list from 0"),
        ([("edits.text", None, b"red")], "edits.text: edits is a list"),
        ([("reference[0].item_id", None, b"red")], "reference[0].item_id: reference is not a list"),
        ([("limit", None, b"many")], "limit: "),
        ([("limit[0]", None, b"1")], "limit[0]: limit is not a list"),
        ([("limit.x", None, b"1")], "limit.x: limit has no fields"),
        ([("edits[0].text", None, b"\xff")], "edits[0].text: "),
        ([("reference.item_id", None, b"red"), ("reference.image", "a", b"x")], "reference.image: item_id is set"),
        ([("limit", None, b"1"), ("limit", None, b"2")], "limit: is set already"),
        ([("request", None, b"{}"), ("request", None, b"{}")], "the part request stands twice"),
        ([("request", None, b"[]")], "a ComposeSearchRequest is a JSON object"),
        ([("with_vectors", None, b"yes")], "with_vectors: the body is not JSON"),
    ],
)
def test_a_wrong_form_is_refused(url: str, parts: list[tuple[str, str | None, bytes]], detail: str) -> None:
    answer = ask(url, "/v1/compose-search", raw=form(parts), content_type=FORM)
    assert answer.status == 400
    assert detail in answer.json["detail"]


@pytest.mark.parametrize("body", [b"", b"--sep", b"--sep\r\n\r\n\r\n--sep--", b"--other\r\n", form([])[:-4]])
def test_what_is_no_form_is_refused(url: str, body: bytes) -> None:
    answer = ask(url, "/v1/compose-search", raw=body, content_type=FORM)
    assert answer.status == 400
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 3000):
        assert ask(url, "/v1/compose-search", raw=body, content_type=kind).status == 400


def test_a_stream_is_answered_in_order(url: str) -> None:
    queries = [{**RED, "limit": limit} for limit in (1, 3, 2)]
    answer = ask(url, "/v1/compose-search-stream", {"requests": [*queries, {}]})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *responses, (last, _) = answer.events
    assert last == "end"
    assert [len(data["hits"]) for _, data in responses] == [1, 3, 2, 0]
    assert responses[3][1]["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("body", [[], {}, {"requests": {}}, {"requests": [], "more": 1}, {"requests": [1]}])
def test_a_wrong_stream_is_refused(url: str, body: Any) -> None:
    answer = ask(url, "/v1/compose-search-stream", body)
    assert (answer.status, answer.json["grpc_status"]) == (400, "INVALID_ARGUMENT")


def test_an_empty_stream_ends(url: str) -> None:
    assert ask(url, "/v1/compose-search-stream", {"requests": []}).events == [("end", {})]
