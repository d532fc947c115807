"""What the client returns, and how it is read from the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import json_format, struct_pb2

from scot.client._errors import from_status
from scot.errors import ScotError
from scot.v1 import index_pb2, search_pb2

Vector = npt.NDArray[np.float32]  # (D,)


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture that was found.

    ``score`` is its cosine similarity to the query; ``vector`` ``(D,)`` is there when asked for.
    """

    item_id: str
    score: float
    payload: Mapping[str, Any]
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first, and what answered it.

    ``timings`` are seconds by stage: decode, queue, compose, search, total. ``query_vector`` ``(D,)``, a unit vector,
    is there when vectors were asked for. ``text_truncated``: an edit was longer than the text tower reads.
    """

    hits: tuple[Hit, ...]
    composer: str
    encoder: str
    text_truncated: bool
    timings: Mapping[str, float]
    request_id: str
    query_vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """Embeddings ``(N, D)``, float32 rows of unit length, images first; ``truncated`` has one flag for each row."""

    vectors: npt.NDArray[np.float32]
    encoder: str
    truncated: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ComposerInfo:
    """A composer that can be asked for by name; ``encoder`` is empty for the baselines, which fit any.

    ``share`` of the requests that name no composer are its to answer. The results of a ``shadow`` are compared with the
    answers, and shown to nobody.
    """

    name: str
    released: bool
    architecture: str
    encoder: str
    metrics: Mapping[str, float]
    share: float = 0.0
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not stored, and why."""

    item_id: str
    error: str


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """How many items were stored, and which were refused."""

    upserted: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of the gallery; ``vector`` is ``(D,)`` when asked for."""

    item_id: str
    payload: Mapping[str, Any]
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection: its number of items, and the encoder (of dimension ``dim``) that made their vectors."""

    collection: str
    items: int
    encoder: str
    dim: int


def search_result(message: search_pb2.ComposeSearchResponse) -> SearchResult:
    """From the wire."""
    hits = tuple(
        Hit(hit.item_id, hit.score, payload(hit.payload), _vector(hit.vector) if hit.HasField("vector") else None)
        for hit in message.hits
    )
    timings = {field.name: getattr(message.timings, field.name) for field in search_pb2.Timings.DESCRIPTOR.fields}
    query = _vector(message.query_vector) if message.HasField("query_vector") else None
    return SearchResult(
        hits, message.composer, message.encoder, message.text_truncated, timings, message.request_id, query
    )


def result_or_error(message: search_pb2.ComposeSearchResponse) -> SearchResult | ScotError:
    """From a stream's wire, where a refused query is answered with its error."""
    if message.HasField("error"):
        return from_status(message.error.status, message.error.message)
    return search_result(message)


def encoded(message: search_pb2.EncodeResponse) -> Encoded:
    """From the wire."""
    vectors = np.array([list(vector.values) for vector in message.vectors], dtype=np.float32)
    return Encoded(vectors, message.encoder, tuple(message.truncated))


def composer_infos(message: search_pb2.ListComposersResponse) -> tuple[ComposerInfo, ...]:
    """From the wire."""
    return tuple(
        ComposerInfo(
            each.name,
            each.released,
            each.architecture,
            each.encoder,
            dict(each.metrics),
            each.share,
            each.shadow,
        )
        for each in message.composers
    )


def upsert_result(message: index_pb2.UpsertItemsResponse) -> UpsertResult:
    """From the wire."""
    refused = tuple(Refused(result.item_id, result.error) for result in message.results if not result.ok)
    return UpsertResult(message.upserted, refused)


def stored_items(message: index_pb2.GetItemsResponse) -> dict[str, StoredItem]:
    """From the wire."""
    return {
        item.item_id: StoredItem(
            item.item_id, payload(item.payload), _vector(item.vector) if item.HasField("vector") else None
        )
        for item in message.items
    }


def collection_info(message: index_pb2.CollectionInfoResponse) -> CollectionInfo:
    """From the wire."""
    return CollectionInfo(message.collection, message.items, message.encoder, message.dim)


def payload(message: struct_pb2.Struct) -> dict[str, Any]:
    """Plain Python; whole numbers come out as ``int``, as they were stored."""
    plain: dict[str, Any] = whole_numbers(json_format.MessageToDict(message))
    return plain


def whole_numbers(value: Any) -> Any:
    """JSON has one kind of number; give the whole ones back as ``int``, through lists and dicts."""
    match value:
        case dict():
            return {key: whole_numbers(each) for key, each in value.items()}
        case list():
            return [whole_numbers(each) for each in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def _vector(message: search_pb2.Vector) -> Vector:
    return np.array(message.values, dtype=np.float32)
