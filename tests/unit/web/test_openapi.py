"""The description of the HTTP API: valid, complete, and true of what the service answers."""

from __future__ import annotations

import html.parser
from typing import Any

import jsonschema
import pytest

from services.web.methods import METHODS
from services.web.openapi import comments
from tests.support.served_web import ask
from tests.unit.web.test_methods import REQUESTS


@pytest.fixture(scope="module")
def described(url: str) -> Any:
    return ask(url, "/openapi.json").json


def validator(described: Any, schema: Any) -> Any:
    return jsonschema.Draft202012Validator({**schema, "components": described["components"]})


def test_it_names_every_method_with_the_comments_of_the_protos(described: Any) -> None:
    assert described["openapi"] == "3.1.0"
    operations = {path: verbs["post"]["operationId"] for path, verbs in described["paths"].items() if "post" in verbs}
    assert {method.path: method.name for method in METHODS}.items() <= operations.items()
    schemas = described["components"]["schemas"]
    edit = schemas["Edit"]["properties"]["weight"]
    assert (
        edit["description"] == comments()["scot.v1.Edit.weight"] == "0 to 1; 1 when absent: how far to follow the edit"
    )
    assert "compose(q, t)" in schemas["Edit"]["description"]
    fields = {field.json_name for field in METHODS[0].request.DESCRIPTOR.fields}
    assert schemas["ComposeSearchRequest"]["properties"].keys() == fields


def test_every_reference_leads_somewhere(described: Any) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if "$ref" in value else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references(described["paths"]) | references(described["components"]) <= known
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_requests_and_answers_are_as_described(url: str, described: Any, method: Any) -> None:
    operation = described["paths"][method.path]["post"]
    takes = operation["requestBody"]["content"]["application/json"]["schema"]
    body = REQUESTS[method.name]
    body = {"requests": [body]} if method.client_streaming else body
    validator(described, takes).validate(body)
    assert not validator(described, takes).is_valid({**body, "nonsense": 1})
    gives = operation["responses"]["200"]["content"]
    answer = ask(url, method.path, body)
    if method.server_streaming:
        validator(described, gives["text/event-stream"]["x-event-data"]).validate(answer.events[0][1])
    else:
        validator(described, gives["application/json"]["schema"]).validate(answer.json)
    problem = operation["responses"]["400"]["content"]["application/problem+json"]["schema"]
    validator(described, problem).validate(ask(url, method.path, {"nonsense": 1}).json)


def test_only_one_member_of_a_oneof_is_allowed(described: Any) -> None:
    reference = validator(described, described["components"]["schemas"]["Reference"])
    reference.validate({"itemId": "a"})
    assert not reference.is_valid({"itemId": "a", "image": "AA=="})


@pytest.mark.parametrize("body", [{"input": "a"}, {"input": ["a", {"text": "b"}]}, {"input": {"image": "AA=="}}])
def test_embeddings_are_described(described: Any, body: Any) -> None:
    schema = validator(described, described["components"]["schemas"]["EmbeddingsRequest"])
    schema.validate(body)
    assert not schema.is_valid({**body, "task": "a"})


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.add(value)
            if name in ("href", "src"):
                self.links.add(value)


def test_the_page_needs_no_script_and_no_other_host(url: str) -> None:
    answer = ask(url, "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page()
    page.feed(answer.body.decode())
    assert not page.tags & {"script", "style", "iframe", "img"}
    assert "style" not in page.attributes
    assert {link for link in page.links if not link.startswith(("#", "/"))} == set()
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert {method.name for method in METHODS} <= page.ids
    local = {link for link in page.links if link.startswith("/")}
    assert {link: ask(url, link).status for link in local} == dict.fromkeys(local, 200)
