"""``GET /v1/pictures``: thumbnails with an ETag, by ids that hold anything."""

from __future__ import annotations

import io
from urllib.parse import quote

import pytest
from PIL import Image

from tests.support.served_web import ask


@pytest.mark.parametrize("item_id", ["red", "../blue/ä"])
def test_a_picture_comes_by_its_id(url: str, item_id: str) -> None:
    for path in (quote(item_id, safe=""), quote(item_id, safe="/")):
        answer = ask(url, f"/v1/pictures/{path}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
        assert Image.open(io.BytesIO(answer.body)).size == (64, 64)


def test_an_id_that_no_path_can_carry_goes_into_the_query(url: str) -> None:
    assert ask(url, "/v1/pictures?item_id=..&collection=gallery").status == 200


def test_a_picture_is_cached_and_asked_for_again(url: str) -> None:
    first = ask(url, "/v1/pictures/red")
    assert first.headers["cache-control"] == "private, max-age=300, must-revalidate"
    assert first.headers["vary"] == "authorization"
    etag = first.headers["etag"]
    for tags in (etag, f'"other", W/{etag}', "*"):
        again = ask(url, "/v1/pictures/red", if_none_match=tags)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert ask(url, "/v1/pictures/red", if_none_match='"other"').status == 200
    assert ask(url, "/v1/pictures?item_id=..").headers["etag"] != etag


def test_a_picture_cannot_become_a_page(url: str) -> None:
    headers = ask(url, "/v1/pictures/red").headers
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/pictures/nobody", 404),
        ("/v1/pictures/vector", 404),
        ("/v1/pictures/..%2F..%2F..%2Fetc%2Fpasswd", 404),
        ("/v1/pictures/../../../etc/passwd", 404),
        ("/v1/pictures/%00", 404),
        ("/v1/pictures/red?collection=nowhere", 404),
        ("/v1/pictures/red?collection=../thumbnails", 400),
        ("/v1/pictures", 400),
        ("/v1/pictures/", 400),
        ("/v1/pictures/red?item_id=red", 400),
        ("/v1/pictures?item_id=red&item_id=..", 400),
        ("/v1/pictures/red?colection=gallery", 400),
        ("/v1/pictures/%FF", 400),
        ("/v1/pictures?item_id=%FF", 400),
        ("/v1/pictures/" + "a" * 513, 400),
    ],
)
def test_other_ids_have_no_picture(url: str, path: str, status: int) -> None:
    answer = ask(url, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
