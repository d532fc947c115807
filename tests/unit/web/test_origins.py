"""Which web pages may call: CORS, requests of other origins, other names of this machine; security headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scot.errors import InvalidInput
from services.web.config import WebConfig
from services.web.origins import Origins
from tests.support.served_web import ask, served_web

SHOP = "https://shop.example"
RED = {"edits": [{"text": "red"}]}


@pytest.fixture(scope="module")
def shared(address: str) -> Iterator[str]:
    with served_web(address, cors_origin=[SHOP]) as url:
        yield url


def test_pages_of_other_origins_are_refused_before_anything_happens(url: str) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        for path in ("/v1/compose-search", "/v1/delete-items"):
            answer = ask(url, path, RED, origin=origin)
            assert (answer.status, answer.json["grpc_status"]) == (403, "PERMISSION_DENIED")
            assert "access-control-allow-origin" not in answer.headers
    assert ask(url, "/v1/compose-search", RED, origin=url).status == 200
    assert ask(url, "/v1/compose-search", RED, origin="https://tls.example", sec_fetch_site="same-origin").status == 200


def test_without_configuration_there_is_no_cors(url: str) -> None:
    answer = ask(url, "/v1/compose-search", method="OPTIONS", origin=SHOP, access_control_request_method="POST")
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_configured_origin_may_call(shared: str) -> None:
    asked = {"origin": SHOP, "access_control_request_method": "POST"}
    preflight = ask(shared, "/v1/compose-search", method="OPTIONS", **asked)
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, SHOP)
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    for path in ("/v1/compose-search", "/v1/nothing"):  # a problem can be read too
        answer = ask(shared, path, RED, origin=SHOP)
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "origin" in answer.headers["vary"]
    assert ask(shared, "/v1/compose-search", RED, origin="https://shop.example.evil.example").status == 403


def test_any_origin_may_be_configured(address: str) -> None:
    with served_web(address, cors_origin=["*"]) as url:
        assert ask(url, "/v1/compose-search", RED, origin="https://any.example").status == 200


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://", "https://a.example/b", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(InvalidInput, match="cors_origin"):
        Origins([origin])


def test_a_service_on_loopback_answers_to_that_name_alone(url: str) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert ask(url, "/v1/list-composers", {}, host=host).status == 421
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"):
        assert ask(url, "/v1/list-composers", {}, host=host).status == 200


@pytest.mark.parametrize("path", ["/docs", "/docs.css", "/openapi.json", "/healthz", "/v1/nothing", "/v1/pictures/red"])
def test_every_answer_has_the_security_headers(url: str, path: str) -> None:
    headers = ask(url, path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"unsafe|\*|https?:", policy)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": " "},
        {"tls_key": "a.pem"},
        {"max_body_mb": 0},
        {"timeout_s": 0.0},
        {"body_timeout_s": float("nan")},
        {"picture_max_age_s": -1},
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        WebConfig(**wrong)
