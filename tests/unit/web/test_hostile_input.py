"""Bad input over HTTP: each is refused with its status and one sentence, and the service goes on."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.served_web import ask, connected, served_web
from tests.unit.web.conftest import HOSTILE

SEARCH = "/v1/compose-search"
RED = {"edits": [{"text": "red"}]}


@pytest.fixture(scope="module")
def narrow(address: str) -> Iterator[str]:
    """A web service with small limits."""
    limits = {"max_body_mb": 1, "max_bodies_mb": 1, "body_timeout_s": 0.5, "header_timeout_s": 0.5, "max_in_flight": 3}
    with served_web(address, **limits) as found:
        yield found


def nested(depth: int, field: str = '{"edits": ') -> bytes:
    return field.encode() + b"[" * depth + b"]" * depth + b"}"


def payload(depth: int) -> bytes:
    items = '{"items": [{"itemId": "deep", "image": "", "payload": '
    return items.encode() + b'{"a": ' * depth + b"1" + b"}" * depth + b"}]}"


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"{", "the body is not JSON"),
        (b"{} {}", "the body is not JSON"),
        (b"\xff\xfe", "the JSON document is not UTF-8"),
        (b'"text"', "a ComposeSearchRequest is a JSON object"),
        (b"[1]", "a ComposeSearchRequest is a JSON object"),
        (b'{"limit": NaN}', "the body is not JSON: NaN is not JSON"),
        (b'{"limit": 1, "limit": 2}', "the body is not JSON: the key 'limit' stands twice"),
        (b'{"limit": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b'{"limit": -1}', "limit: "),
        (b'{"limit": 1.5}', "limit: "),
        (b'{"limit": "many"}', "limit: "),
        (b'{"edits": {"text": "a"}}', "edits: repeated field edits must be in []"),
        (b'{"edits": [{"text": 5}]}', "edits.text: "),
        (b'{"edits": [{"txt": "a"}]}', "edits[0].txt: there is no such field"),
        (b'{"edits": [{"text": "a", "weight": "x"}]}', "edits[0].weight: Couldn't parse float"),
        (b'{"edits": [{"text": "\\ud800"}]}', "edits[0].text: Unpaired surrogate"),
        (b'{"reference": {"image": 5}}', "reference.image: "),
        (b'{"reference": {"image": "*!"}}', "reference.image: is not base64"),
        (b'{"reference": {"image": "QUJD\\nQUJD"}}', "reference.image: is not base64"),
        (b'{"reference": {"image": "AA==", "itemId": "a"}}', "reference: "),
        (b'{"reference": {"image": "AAAA"}}', "reference.image: "),
        (b'{"reference": {"itemId": "../../etc/passwd"}}', "reference.item_id: there is no item"),
        (b'{"filter": {"must": [{"field": "a", "match": {"integer": 1e30}}]}}', "integer: "),
        (nested(100), "the JSON document is nested deeper than 64"),
        (nested(100_000), "the JSON document is nested deeper than 64"),
        (b'{"edits": [' + b"1," * 1_000_000 + b"1]}", "the JSON document has more than 1,000,000 values"),
        (json.dumps({"edits": [{"text": HOSTILE, "weight": HOSTILE}]}).encode(), "edits[0].weight: "),
        (json.dumps({"limit": "9" * 3000}).encode(), "limit: "),
    ],
)
def test_a_wrong_body_is_refused_with_one_sentence(url: str, raw: bytes, detail: str) -> None:
    answer = ask(url, SEARCH, raw=raw)
    assert answer.status == (404 if "no item" in detail else 400)
    assert answer.json["detail"].startswith(detail) or f".{detail}" in answer.json["detail"]
    assert len(answer.json["detail"]) <= 500
    assert "Traceback" not in answer.body.decode()
    assert ask(url, SEARCH, RED).status == 200


@pytest.mark.parametrize("depth", [50, 70, 90, 5000])
def test_a_deep_payload_is_refused(url: str, depth: int) -> None:
    answer = ask(url, "/v1/upsert-items", raw=payload(depth))
    assert answer.status == 400


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'


def test_svg_is_no_picture(url: str) -> None:
    answer = ask(url, SEARCH, {"reference": {"image": base64.b64encode(SVG).decode()}})
    assert (answer.status, answer.json["grpc_status"]) == (400, "INVALID_ARGUMENT")
    assert answer.json["detail"].startswith("reference.image: ")
    stored = ask(url, "/v1/upsert-items", {"items": [{"itemId": "svg", "image": base64.b64encode(SVG).decode()}]})
    assert [each["ok"] for each in stored.json["results"]] == [False]


def test_markup_stays_text(url: str) -> None:
    found = ask(url, "/v1/get-items", {"itemIds": ["vector"]})
    assert found.json["items"][0]["payload"]["caption"] == HOSTILE
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "text/html; charset=utf-8"]
)
def test_other_content_types_are_refused(url: str, kind: str) -> None:
    answer = ask(url, SEARCH, RED, content_type=kind)
    assert answer.status == 415
    assert ask(url, "/v1/list-composers", {}, content_type="multipart/form-data; boundary=a").status == 415
    assert ask(url, SEARCH, RED, content_encoding="gzip").status == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/compose-search", 405),
        ("DELETE", "/v1/pictures/red", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/", 405),
        ("GET", "/static/", 404),
        ("GET", "/static/../page.py", 404),
        ("GET", "/static/vendor/LICENSE-htm", 404),
        ("GET", "/..%2f..%2fetc/passwd", 404),
        ("GET", "/docs/", 404),
        ("POST", "/v1/upsert-items-stream", 404),
        ("BREW", "/docs", 400),
    ],
)
def test_other_addresses_and_methods_are_refused(url: str, method: str, path: str, status: int) -> None:
    answer = ask(url, path, method=method)
    assert answer.status == status
    if status != 400:  # the HTTP parser's own
        assert answer.json["status"] == status


def test_a_large_body_is_refused_before_it_is_sent(narrow: str) -> None:
    with connected(narrow) as stream:
        stream.sendall(head(f"Content-Length: {100 * 2**20}\r\nExpect: 100-continue"))
        answer = received(stream)
    assert b" 413 " in answer.splitlines()[0]
    assert b"the body has more than 1,048,576 bytes" in answer


def test_a_large_body_without_a_length_is_refused_on_the_way(narrow: str) -> None:
    with connected(narrow) as stream:
        stream.sendall(head("Transfer-Encoding: chunked"))
        try:
            for _ in range(40):
                stream.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        except OSError:
            pass
        assert b" 413 " in received(stream).splitlines()[0]


def test_a_slow_body_is_not_waited_for(narrow: str) -> None:
    with connected(narrow) as stream:
        stream.sendall(head("Content-Length: 100") + b"{")
        answer = received(stream)
    assert b" 408 " in answer.splitlines()[0]
    assert b"the body did not arrive within 0.5 seconds" in answer


@pytest.mark.parametrize("sent", [b"", b"POST /v1/compose-search HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"G"])
def test_slow_headers_are_not_waited_for(narrow: str, sent: bytes) -> None:
    with connected(narrow) as stream:
        stream.sendall(sent)
        assert b" 408 " in received(stream).splitlines()[0]


def test_a_second_request_has_its_time_too(narrow: str) -> None:
    with connected(narrow) as stream:
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        stream.sendall(request)
        assert b" 200 " in stream.recv(65536).splitlines()[0]
        stream.sendall(request + request[:20])
        answers = received(stream)
    assert answers.count(b" 200 ") == 1
    assert answers.count(b" 408 ") == 1


def test_large_headers_are_refused(narrow: str) -> None:
    with connected(narrow) as stream:
        with contextlib.suppress(OSError):
            stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 10**6)
        assert b" 431 " in received(stream).splitlines()[0]


def test_bodies_of_all_requests_together_are_limited(narrow: str) -> None:
    half = 700_000
    with connected(narrow) as first, connected(narrow) as second:
        for stream in (first, second):
            stream.sendall(head(f"Content-Length: {half}") + b" " * (half - 1))
        answers = [received(stream) for stream in (first, second)]
    assert sorted(int(answer.split(b" ", 2)[1]) for answer in answers) == [408, 503]
    assert ask(narrow, SEARCH, RED).status == 200


def test_requests_at_a_time_are_limited(narrow: str) -> None:
    streams = [connected(narrow) for _ in range(3)]
    for stream in streams:
        stream.sendall(head("Content-Length: 10"))
    answers = []
    while not any(each.status == 503 for each in answers):
        answers.append(ask(narrow, "/healthz"))
    assert answers[-1].json["detail"].startswith("the web service is at its limit")
    assert answers[-1].headers["retry-after"] == "1"
    for stream in streams:
        stream.close()


def test_who_leaves_costs_nothing(narrow: str) -> None:
    for _ in range(20):
        with connected(narrow) as stream:
            stream.sendall(head("Content-Length: 900000") + b" " * 500_000)
    deadline = time.monotonic() + 60
    while (answer := ask(narrow, SEARCH, RED)).status != 200:
        assert time.monotonic() < deadline, answer


@pytest.mark.parametrize("raw", [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\n\0\0\0"])
def test_other_protocols_are_refused(narrow: str, raw: bytes) -> None:
    with connected(narrow) as stream:
        stream.sendall(raw)
        assert received(stream).split(b" ")[1][:1] == b"4"
    assert ask(narrow, "/healthz").status == 200


def head(more: str) -> bytes:
    return f"POST {SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n\r\n".encode()


def received(stream: socket.socket) -> bytes:
    """All until the service closes the connection."""
    found = b""
    try:
        while chunk := stream.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found
