"""The OpenAPI parts of what is no gRPC method: pictures, embeddings, health; and of forms."""

from __future__ import annotations

from typing import Any

from services.web import embeddings, pictures

_TEXT = {"type": "string"}
FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A part for each field, named by its path (reference.image, edits[0].text), files for bytes; "
    "a part `request` may hold the rest as JSON.",
    "properties": {"request": {"type": "object"}},
    "additionalProperties": {"type": "string"},
}
SCHEMAS: dict[str, Any] = {
    "EmbeddingsRequest": {
        "type": "object",
        "description": "The requests of OpenAI's and Jina's embeddings APIs",
        "required": ["input"],
        "additionalProperties": False,
        "properties": {
            "input": {
                "oneOf": [
                    _TEXT,
                    {"$ref": "#/components/schemas/EmbeddingsInput"},
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {"oneOf": [_TEXT, {"$ref": "#/components/schemas/EmbeddingsInput"}]},
                    },
                ]
            },
            "model": {**_TEXT, "description": "the service's encoder, or scot"},
            "encoding_format": {"enum": ["float", "base64"]},
            "embedding_type": {"enum": ["float", "base64"]},
            "dimensions": {"type": "integer", "description": "the encoder's own; vectors are not cut"},
            "normalized": {"const": True},
            "truncate": {
                "type": "boolean",
                "description": "false: refuse a text that is longer than the encoder reads",
            },
            "user": _TEXT,
        },
    },
    "EmbeddingsInput": {
        "oneOf": [
            {"type": "object", "required": [kind], "additionalProperties": False, "properties": {kind: schema}}
            for kind, schema in (
                ("text", _TEXT),
                ("image", {**_TEXT, "description": "base64, or a data: URL; the service fetches nothing"}),
            )
        ]
    },
}


def paths(problems: dict[str, Any]) -> dict[str, Any]:
    """The path items; ``problems`` are the responses that every operation may have."""
    by_id = {"name": "item_id", "required": True, "schema": _TEXT, "description": "percent-encoded, slashes too"}
    collection = {"name": "collection", "in": "query", "schema": _TEXT}
    health = {"description": '`{"status": "ok"}`'}
    return {
        embeddings.PATH: {
            "post": {
                "operationId": "Embeddings",
                "tags": ["Embeddings"],
                "description": "Encode, in the shapes of OpenAI's and Jina's APIs",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EmbeddingsRequest"}}}
                },
                "responses": {"200": {"description": "A list of embeddings"}, **problems},
            }
        },
        f"{pictures.PATH}/{{item_id}}": {"get": _picture("Picture", [{**by_id, "in": "path"}, collection], problems)},
        pictures.PATH: {"get": _picture("PictureOf", [{**by_id, "in": "query"}, collection], problems)},
        "/healthz": {"get": {"operationId": "Alive", "tags": ["Health"], "responses": {"200": health}}},
        "/readyz": {
            "get": {
                "operationId": "Ready",
                "tags": ["Health"],
                "description": "whether the search service behind it serves",
                "responses": {"200": health, "503": problems["503"]},
            }
        },
    }


def _picture(name: str, parameters: list[dict[str, Any]], problems: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["Pictures"],
        "description": "The thumbnail of an item, with an ETag",
        "parameters": parameters,
        "responses": {
            "200": {"description": "The picture", "content": {"image/webp": {}}},
            "304": {"description": "It has not changed"},
            **problems,
        },
    }
