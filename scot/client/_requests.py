"""From what a person has at hand (a path, a picture, a sentence) to what goes over the wire."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from scot.channels import retrying
from scot.errors import InvalidInput
from scot.index.filters import Filter, filter_to_proto
from scot.v1 import index_pb2, search_pb2

Picture: TypeAlias = "str | PathLike[str] | bytes | Image.Image"
"""A file's path, an encoded picture, or a PIL image."""


# Every call of ours may be made twice: what it stores is keyed by the item's id. So a call that found nobody (a replica
# that left, a proxy that restarts) is tried again, within its own deadline.
_SERVICES = [{"service": "scot.v1.SearchService"}, {"service": "scot.v1.IndexService"}]
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", retrying(_SERVICES, attempts=4, first_s=0.2, longest_s=3, growth=2.5)),
    ("grpc.lb_policy_name", "round_robin"),  # over every address that a name resolves to
    ("grpc.max_reconnect_backoff_ms", 5_000),  # a service that restarts is found again soon
]
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}; so small that it needs no dependency


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: followed by ``weight`` (0 to 1), or with ``negative`` moved away from."""

    text: str
    weight: float = 1.0
    negative: bool = False


Edits: TypeAlias = str | Edit | Sequence[str | Edit]


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to store: exactly one of ``image`` and ``vector`` ``(D,)``, and any JSON-like payload."""

    item_id: str
    image: Picture | None = None
    vector: npt.ArrayLike | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


def key_metadata(api_key: str | None) -> list[tuple[str, str]]:
    """How a call says who makes it. Raises InvalidInput."""
    if not api_key:
        return []
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise InvalidInput("the API key must be printable ASCII characters without spaces")
    return [("authorization", f"Bearer {api_key}")]


class Query(TypedDict, total=False):
    """The arguments of :meth:`scot.client.ScotClient.search`, which explains them."""

    image: Picture | None
    item_id: str | None
    vector: npt.ArrayLike | None
    edits: Edits
    composer: str
    collection: str
    filter: Filter | None
    limit: int
    offset: int
    score_threshold: float | None
    include_reference: bool
    with_vectors: bool
    session: str


def search_request(
    *,
    image: Picture | None = None,
    item_id: str | None = None,
    vector: npt.ArrayLike | None = None,
    edits: Edits = (),
    composer: str = "",
    collection: str = "",
    filter: Filter | None = None,
    limit: int = 10,
    offset: int = 0,
    score_threshold: float | None = None,
    include_reference: bool = False,
    with_vectors: bool = False,
    session: str = "",
) -> search_pb2.ComposeSearchRequest:
    """To the wire. Raises InvalidInput where protobuf could not carry the value."""
    reference = None
    if sum(given is not None for given in (image, item_id, vector)) > 1:
        raise InvalidInput("give one of image, item_id and vector as the reference")
    if image is not None:
        reference = search_pb2.Reference(image=picture_bytes(image))
    elif item_id is not None:
        reference = search_pb2.Reference(item_id=item_id)
    elif vector is not None:
        reference = search_pb2.Reference(vector=vector_message(vector))
    if not 1 <= limit < 2**32:
        raise InvalidInput(f"limit: must be at least 1 and at most 1000, not {limit}")
    if not 0 <= offset < 2**32:
        raise InvalidInput(f"offset: must be at least 0, not {offset}")
    return search_pb2.ComposeSearchRequest(
        reference=reference,
        edits=[_edit(each) for each in ([edits] if isinstance(edits, str | Edit) else edits)],
        composer=composer,
        collection=collection,
        filter=None if filter is None else filter_to_proto(filter),
        limit=limit,
        offset=offset,
        score_threshold=score_threshold,
        include_reference=include_reference,
        with_vectors=with_vectors,
        session=session,
    )


def encode_request(images: Iterable[Picture], texts: Iterable[str]) -> search_pb2.EncodeRequest:
    """To the wire, images first."""
    inputs = [search_pb2.EncodeInput(image=picture_bytes(image)) for image in images]
    return search_pb2.EncodeRequest(inputs=inputs + [search_pb2.EncodeInput(text=text) for text in texts])


def upsert_request(items: Iterable[NewItem], collection: str) -> index_pb2.UpsertItemsRequest:
    """To the wire."""
    return index_pb2.UpsertItemsRequest(collection=collection, items=[_item(item) for item in items])


def picture_bytes(picture: Picture) -> bytes:
    """The encoded picture.

    Raises:
        InvalidInput: there is no such file, or it cannot be read.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    path = Path(fspath(picture))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InvalidInput(f"there is no image file {path}") from None
    except OSError as error:
        raise InvalidInput(f"the image file {path} cannot be read: {error.strerror or error}") from None


def vector_message(vector: npt.ArrayLike) -> search_pb2.Vector:
    """To the wire. Raises InvalidInput when it is not one row of numbers."""
    try:
        row = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("vector: must be a row of numbers") from None
    if row.ndim != 1:
        raise InvalidInput(f"vector: must be one row of numbers, not of shape {row.shape}")
    return search_pb2.Vector(values=row.tolist())


def _item(item: NewItem) -> index_pb2.Item:
    if (item.image is None) == (item.vector is None):
        raise InvalidInput(f"item {item.item_id!r}: give either an image or a vector")
    message = index_pb2.Item(item_id=item.item_id)
    if item.image is not None:
        message.image = picture_bytes(item.image)
    else:
        assert item.vector is not None
        message.vector.CopyFrom(vector_message(item.vector))
    try:
        message.payload.update(dict(item.payload))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"item {item.item_id!r}: the payload must be JSON-like: {error}") from None
    return message


def _edit(edit: str | Edit) -> search_pb2.Edit:
    if isinstance(edit, str):
        return search_pb2.Edit(text=edit)
    weight = None if edit.weight == 1.0 else edit.weight
    return search_pb2.Edit(text=edit.text, weight=weight, negative=edit.negative)
