"""OpenAPI 3.1 of the HTTP API, from the descriptors of the protos; the texts are the comments of the protos."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from starlette.requests import Request
from starlette.responses import Response

from scot import __version__
from services.web import openapi_extras
from services.web.methods import METHODS, Method, has_bytes
from services.web.problems import HTTP_STATUS, MEDIA_TYPE
from services.web.rpc import EVENTS, FORM, JSON

_F = FieldDescriptor
_FLOAT = {"oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_INT64 = {"type": "string", "pattern": "^-?[0-9]+$"}  # the canonical JSON of 64 bits; numbers are read too
_SCALARS: dict[int, dict[str, Any]] = {
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_FLOAT: _FLOAT,
    _F.TYPE_DOUBLE: _FLOAT,
    _F.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    _F.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    _F.TYPE_UINT64: _INT64,
    _F.TYPE_INT64: _INT64,
}
_WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
_STATUSES = (400, 401, 403, 404, 408, 413, 415, 429, 500, 501, 503, 504)


async def endpoint(_: Request) -> Response:
    """``/openapi.json``."""
    return Response(_document_json(), media_type=JSON)


@cache
def _document_json() -> bytes:
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    schemas: dict[str, Any] = {"Problem": _problem()}
    paths = {method.path: {"post": _operation(method, schemas)} for method in METHODS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "SCOT", "version": __version__, "summary": "Composed image search over HTTP and JSON"},
        "servers": [{"url": "/"}],
        "paths": {**paths, **openapi_extras.paths(problems())},
        "components": {
            "schemas": {**schemas, **openapi_extras.SCHEMAS},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


@cache
def comments() -> dict[str, str]:
    """The comment of each method, message and field of the protos, by its full name; ``make generate`` writes them."""
    text = resources.files("scot.v1").joinpath("comments.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def problems() -> dict[str, Any]:
    """The responses that every operation may have besides its own."""
    content = {MEDIA_TYPE: {"schema": _reference("Problem")}}
    return {str(status): {"description": "A problem", "content": content} for status in _STATUSES}


def _operation(method: Method, schemas: dict[str, Any]) -> dict[str, Any]:
    service = method.full_name.split(".")[-2]
    request, response = (_message(kind.DESCRIPTOR, schemas) for kind in (method.request, method.response))
    if method.client_streaming:
        items = {"requests": {"type": "array", "items": request}}
        request = {"type": "object", "properties": items, "required": ["requests"], "additionalProperties": False}
    content = {JSON: {"schema": request}}
    if has_bytes(method.request) and not method.server_streaming:
        content[FORM] = {"schema": openapi_extras.FORM_SCHEMA}
    answer = {JSON: {"schema": response}}
    if method.server_streaming:
        answer = {EVENTS: {"schema": {"type": "string"}, "x-event-data": response}}
    return {
        "operationId": method.name,
        "tags": [service],
        "description": comments().get(method.full_name, ""),
        "requestBody": {"content": content},
        "responses": {"200": {"description": method.response.DESCRIPTOR.name, "content": answer}, **problems()},
    }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _message(message: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if message.full_name.startswith("google.protobuf."):
        return _WELL_KNOWN[message.full_name]
    if message.name not in schemas:
        schema: dict[str, Any] = {"type": "object"}
        schemas[message.name] = schema  # before its fields, which may lead back to it
        if comment := comments().get(message.full_name):
            schema["description"] = comment
        schema["properties"] = {field.json_name: _field(field, schemas) for field in message.fields}
        schema["additionalProperties"] = False
        real = [oneof for oneof in message.oneofs if len(oneof.fields) > 1]
        pairs = [pair for oneof in real for pair in combinations(oneof.fields, 2)]
        if pairs:
            schema["allOf"] = [{"not": {"required": [field.json_name for field in pair]}} for pair in pairs]
    return _reference(message.name)


def _field(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        one = {"type": "object", "additionalProperties": _field(value, schemas)}
    else:
        one = _message(field.message_type, schemas) if field.message_type is not None else _scalar(field)
        if field.is_repeated:
            one = {"type": "array", "items": one}
    comment = comments().get(field.full_name)
    return {**one, "description": comment} if comment else one


def _scalar(field: FieldDescriptor) -> dict[str, Any]:
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    return _SCALARS[field.type]


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "RFC 9457 problem details",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": {**text, "description": "one sentence; for a wrong field it begins with the field's name"},
            "grpc_status": {**text, "enum": sorted(HTTP_STATUS)},
            "request_id": text,
        },
        "required": ["type", "title", "status", "detail", "grpc_status", "request_id"],
    }
