"""``/docs``: the OpenAPI document as one page of plain HTML; without script, and without a request to anywhere else."""

from __future__ import annotations

import html
import json
from functools import cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.web.openapi import document

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"cache-control": "no-cache"}


def routes() -> list[BaseRoute]:
    """The page and its style sheet."""
    return [Route("/docs", _page), Route("/docs.css", _style)]


async def _page(_: Request) -> Response:
    return Response(page(), headers={**_HEADERS, "content-security-policy": CSP}, media_type="text/html")


async def _style(_: Request) -> Response:
    style = resources.files("services.web").joinpath("static/docs.css").read_text(encoding="utf-8")
    return Response(style, headers=_HEADERS, media_type="text/css")


@cache
def page() -> str:
    """The page."""
    described = document()
    paths = [(path, verb, operation) for path, verbs in described["paths"].items() for verb, operation in verbs.items()]
    links = "".join(f'<li><a href="#{e(each["operationId"])}">{e(path)}</a></li>' for path, _, each in paths)
    schemas = described["components"]["schemas"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SCOT: the HTTP API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/docs.css"></head><body>'
        f"<header><h1>{e(described['info']['title'])} <small>{e(described['info']['version'])}</small></h1>"
        f'<p>{e(described["info"]["summary"])}. <a href="/openapi.json">OpenAPI document</a></p></header>'
        f'<nav aria-label="Addresses"><ul>{links}</ul></nav><main>'
        + "".join(_operation(path, verb, each) for path, verb, each in paths)
        + "<h2>Schemas</h2>"
        + "".join(_schema(name, schemas[name]) for name in sorted(schemas))
        + "</main></body></html>"
    )


def e(text: object) -> str:
    """Text escaped for HTML."""
    return html.escape(str(text))


def _operation(path: str, verb: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    takes = "".join(f"<dt>{e(kind)}</dt><dd>{_type(each['schema'])}</dd>" for kind, each in body.items())
    for parameter in operation.get("parameters", ()):
        takes += f"<dt>{e(parameter['in'])} <code>{e(parameter['name'])}</code></dt>"
        takes += f"<dd>{e(parameter.get('description', ''))}</dd>"
    answer = operation["responses"]["200"]
    gives = "".join(
        f"<dt>{e(kind)}</dt><dd>{_type(each.get('x-event-data') or each.get('schema', {}))}</dd>"
        for kind, each in answer.get("content", {}).items()
    )
    return (
        f'<section id="{e(operation["operationId"])}"><h2><span class="verb">{e(verb.upper())}</span> '
        f"<code>{e(path)}</code></h2><p>{e(operation.get('description', ''))}</p>"
        + (f"<h3>Request</h3><dl>{takes}</dl>" if takes else "")
        + (f"<h3>Response</h3><dl>{gives}</dl>" if gives else f"<p>{e(answer['description'])}</p>")
        + "</section>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{e(field)}</code></td><td>{_type(each)}</td><td>{e(each.get('description', ''))}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    )
    table = f"<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<section id="schema-{e(name)}"><h3>{e(name)}</h3><p class="comment">{e(schema.get("description", ""))}</p>'
        f"{table if rows else _type(schema)}</section>"
    )


def _type(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = e(reference.rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if choices := schema.get("oneOf"):
        return " or ".join(_type(each) for each in choices)
    if "enum" in schema or "const" in schema:
        return " | ".join(f"<code>{e(json.dumps(each))}</code>" for each in schema.get("enum") or [schema["const"]])
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    if schema.get("type") == "object" and "properties" in schema:
        fields = ", ".join(f"<code>{e(name)}</code>: {_type(each)}" for name, each in schema["properties"].items())
        return f"{{ {fields} }}"
    encoding = f" ({e(schema['contentEncoding'])})" if "contentEncoding" in schema else ""
    return f"{e(schema.get('type', 'anything'))}{encoding}"
