"""The client's arguments and results to and from protobuf messages."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from scot.client import _checks as checks
from scot.client._connection import from_status
from scot.client._types import (
    CollectionInfo,
    ComposerInfo,
    Edit,
    Encoded,
    Hit,
    ImageInput,
    ListedItem,
    NewItem,
    Picture,
    Query,
    Refused,
    SearchResult,
    StoredItem,
    UpsertResult,
)
from scot.data.images import DEFAULT_LIMITS, upright
from scot.data.records import read_file
from scot.errors import ImageRefused, InvalidInput, ScotError, install_hint
from scot.index.filters import Filter, filter_to_proto
from scot.index.origin import Origin, origin_from_proto, origin_to_proto
from scot.index.payload import payload_from_proto
from scot.v1 import index_pb2, search_pb2

if TYPE_CHECKING:
    import numpy.typing as npt

    from scot.client._types import Vector


M = TypeVar("M", index_pb2.DeleteItemsRequest, index_pb2.GetItemsRequest, index_pb2.GetPicturesRequest)


def _switch(field: str, value: object) -> bool:
    return checks.instance(field, value, bool)


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(("composer", "collection", "session"), checks.text),
    **dict.fromkeys(("limit", "offset"), checks.whole),
    **dict.fromkeys(("include_reference", "with_vectors"), _switch),
    "score_threshold": checks.number,
}
"""The check of each argument of a search that its message takes as it is."""


def search_request(query: Query) -> search_pb2.ComposeSearchRequest:
    """The message of a query. Raises InvalidInput for a value that the message cannot hold."""
    values: dict[str, Any] = {"limit": 10, "offset": 0, **checks.instance("query", query, dict)}
    if unknown := values.keys() - Query.__annotations__.keys():
        raise TypeError(f"a search has no argument {min(unknown)!r}")
    for name in values.keys() & _CHECKS.keys():
        if values[name] is not None or name != "score_threshold":
            values[name] = _CHECKS[name](name, values[name])
    if not 1 <= values["limit"] < 2**32:
        raise InvalidInput(f"limit: must be at least 1 and at most 1000, not {values['limit']}")
    if not 0 <= values["offset"] < 2**32:
        raise InvalidInput(f"offset: must be at least 0 and at most 10000, not {values['offset']}")
    image, item_id, vector = (values.pop(name, None) for name in ("image", "item_id", "vector"))
    edits, conditions = values.pop("edits", ()), values.pop("filter", None)
    reference = None
    if sum(given is not None for given in (image, item_id, vector)) > 1:
        raise InvalidInput("give one of image, item_id and vector as the reference")
    if image is not None:
        reference = search_pb2.Reference(image=image_bytes(image))
    elif item_id is not None:
        reference = search_pb2.Reference(item_id=checks.text("item_id", item_id))
    elif vector is not None:
        reference = search_pb2.Reference(vector=_vector_to_proto(vector))
    several = [edits] if isinstance(edits, str | Edit) else checks.items("edits", edits)
    return search_pb2.ComposeSearchRequest(
        reference=reference,
        edits=[_edit_to_proto(f"edits[{place}]", each) for place, each in enumerate(several)],
        filter=None if conditions is None else filter_to_proto(checks.instance("filter", conditions, Filter)),
        **values,
    )


class QueryStream:
    """The messages of many queries, and their results in the queries' order.

    A query that cannot be sent gives its error in its place. When the iterable of queries itself raises, the stream
    ends; :meth:`finish` raises that error once the queries before it are answered.
    """

    def __init__(self, queries: Iterable[Query]) -> None:
        self._queries = queries
        self._refused: deque[ScotError | None] = deque()  # for each query in order: its error, or None if it was sent
        self._failure: Exception | None = None

    def requests(self) -> Iterator[search_pb2.ComposeSearchRequest]:
        """The messages to send; never raises."""
        try:
            for query in self._queries:
                try:
                    request = search_request(query)
                except ScotError as error:
                    self._refused.append(error)
                else:
                    self._refused.append(None)
                    yield request
        except Exception as error:
            self._failure = error

    def results(self, response: search_pb2.ComposeSearchResponse) -> Iterator[SearchResult | ScotError]:
        """The next answer, and the errors of the queries before it that were not sent."""
        while (refused := self._refused.popleft()) is not None:
            yield refused
        yield result_or_error(response)

    def finish(self) -> Iterator[ScotError]:
        """The errors of the queries after the last answer. Raises what the iterable of queries raised."""
        while self._refused:
            if (refused := self._refused.popleft()) is not None:
                yield refused
        if self._failure is not None:
            raise self._failure


def search_result(message: search_pb2.ComposeSearchResponse) -> SearchResult:
    """The result of a search."""
    hits = tuple(
        Hit(hit.item_id, hit.score, payload_from_proto(hit.payload), _vector_from_proto(hit), origin_from_proto(hit))
        for hit in message.hits
    )
    return SearchResult(
        hits,
        message.composer,
        message.encoder,
        message.text_truncated,
        {field.name: getattr(message.timings, field.name) for field in search_pb2.Timings.DESCRIPTOR.fields},
        message.request_id,
        _vector_from_proto(message, "query_vector"),
    )


def result_or_error(message: search_pb2.ComposeSearchResponse) -> SearchResult | ScotError:
    """An element of a stream: a result, or the error of a query that the service refused."""
    if message.HasField("error"):
        return from_status(message.error.status, message.error.message)
    return search_result(message)


def encode_request(images: Iterable[ImageInput], texts: Iterable[str]) -> search_pb2.EncodeRequest:
    """The message of images and texts, images first."""
    inputs = [
        search_pb2.EncodeInput(image=image_bytes(image, f"images[{place}]"))
        for place, image in enumerate(checks.items("images", images))
    ]
    return search_pb2.EncodeRequest(
        inputs=inputs + [search_pb2.EncodeInput(text=text) for text in checks.texts("texts", texts)]
    )


def encoded(message: search_pb2.EncodeResponse) -> Encoded:
    """The embeddings."""
    vectors = _numpy().array([list(vector.values) for vector in message.vectors], dtype="float32")
    return Encoded(vectors, message.encoder, tuple(message.truncated))


def composer_infos(message: search_pb2.ListComposersResponse) -> tuple[ComposerInfo, ...]:
    """The composers of a service."""
    return tuple(
        ComposerInfo(
            each.name, each.released, each.architecture, each.encoder, dict(each.metrics), each.share, each.shadow
        )
        for each in message.composers
    )


def upsert_request(items: Iterable[NewItem], collection: str) -> index_pb2.UpsertItemsRequest:
    """The message of items to store. Raises InvalidInput for an item that is malformed."""
    return index_pb2.UpsertItemsRequest(
        collection=checks.text("collection", collection),
        items=[
            _item_to_proto(f"items[{place}]", checks.instance(f"items[{place}]", item, NewItem))
            for place, item in enumerate(checks.items("items", items))
        ],
    )


def list_request(source: str, collection: str) -> index_pb2.ListItemsRequest:
    """The message that lists the items of a source."""
    return index_pb2.ListItemsRequest(
        collection=checks.text("collection", collection), source=checks.text("source", source)
    )


def info_request(collection: str) -> index_pb2.CollectionInfoRequest:
    """The message that asks about a collection."""
    return index_pb2.CollectionInfoRequest(collection=checks.text("collection", collection))


def ids_request(message: type[M], item_ids: Sequence[str], collection: str, **options: bool) -> M:
    """The message about some items: to get them, their pictures, or to delete them."""
    switches = {name: checks.instance(name, value, bool) for name, value in options.items()}
    ids, collection = checks.texts("item_ids", item_ids), checks.text("collection", collection)
    return message(collection=collection, item_ids=ids, **switches)


def upsert_result(message: index_pb2.UpsertItemsResponse) -> UpsertResult:
    """What was stored and refused."""
    refused = tuple(Refused(result.item_id, result.error) for result in message.results if not result.ok)
    return UpsertResult(message.upserted, refused)


def stored_items(message: index_pb2.GetItemsResponse) -> dict[str, StoredItem]:
    """Items by their ids."""
    return {
        item.item_id: StoredItem(
            item.item_id, payload_from_proto(item.payload), _vector_from_proto(item), origin_from_proto(item)
        )
        for item in message.items
    }


def listed_items(message: index_pb2.ListItemsResponse) -> tuple[list[ListedItem], str]:
    """The items of one page, and where the next page begins; empty at the end."""
    return [ListedItem(item.item_id, origin_from_proto(item)) for item in message.items], message.next


def pictures(message: index_pb2.GetPicturesResponse) -> dict[str, Picture]:
    """Thumbnails by the ids of their items."""
    return {each.item_id: Picture(each.item_id, each.image, each.content_type) for each in message.pictures}


def collection_info(message: index_pb2.CollectionInfoResponse) -> CollectionInfo:
    """A collection."""
    return CollectionInfo(message.collection, message.items, message.encoder, message.dim)


def image_bytes(image: ImageInput, field: str = "image") -> bytes:
    """The encoded image; a PIL image becomes a PNG of the pixels that the service would decode from its file.

    Raises:
        InvalidInput: there is no such file, it cannot be read, or the value is no image.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        try:
            upright(image).save(buffer, "PNG", compress_level=1)
        except OSError as error:
            raise InvalidInput(f"the PIL image cannot be read: {error}") from None
        return buffer.getvalue()
    if not isinstance(image, str | PathLike):
        raise InvalidInput(f"{field}: must be a path, bytes or a PIL image, not {checks.shown(image)}")
    path = Path(fspath(image))
    limit = DEFAULT_LIMITS.max_bytes
    try:
        data = read_file(path, limit)
    except ValueError:  # a NUL byte
        raise InvalidInput(f"{field}: is not the path of a file: {checks.shown(str(path))}") from None
    except ImageRefused as error:
        raise InvalidInput(f"there is no image file {path}" if error.reason == "missing" else str(error)) from None
    if len(data) > limit:
        raise InvalidInput(f"the image file {path} has more than {limit:,} bytes")
    return data


def _item_to_proto(field: str, item: NewItem) -> index_pb2.Item:
    item_id = checks.text(f"{field}.item_id", item.item_id)
    if (item.image is None) == (item.vector is None):
        raise InvalidInput(f"item {item_id!r}: give either an image or a vector")
    origin = None if item.origin is None else checks.instance(f"{field}.origin", item.origin, Origin)
    message = index_pb2.Item(item_id=item_id, origin=origin_to_proto(origin))
    if item.image is not None:
        message.image = image_bytes(item.image, f"{field}.image")
    elif item.vector is not None:
        message.vector.CopyFrom(_vector_to_proto(item.vector))
    try:
        message.payload.update(dict(item.payload))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"item {item_id!r}: the payload must be JSON-like: {error}") from None
    return message


def _edit_to_proto(field: str, edit: str | Edit) -> search_pb2.Edit:
    if isinstance(edit, str):
        return search_pb2.Edit(text=checks.text(field, edit))
    if not isinstance(edit, Edit):
        raise InvalidInput(f"{field}: must be text or an Edit, not {checks.shown(edit)}")
    weight = checks.number(f"{field}.weight", edit.weight)
    return search_pb2.Edit(
        text=checks.text(f"{field}.text", edit.text),
        weight=None if weight == 1.0 else weight,
        negative=checks.instance(f"{field}.negative", edit.negative, bool),
    )


def _vector_to_proto(vector: npt.ArrayLike) -> search_pb2.Vector:
    numpy = _numpy()
    try:
        row = numpy.asarray(vector, dtype="float64")
    except (TypeError, ValueError):
        raise InvalidInput("vector: must be a row of numbers") from None
    if row.ndim != 1:
        raise InvalidInput(f"vector: must be one row of numbers, not of shape {row.shape}")
    return search_pb2.Vector(values=row.tolist())


def _vector_from_proto(message: Any, field: str = "vector") -> Vector | None:
    return _numpy().array(getattr(message, field).values, dtype="float32") if message.HasField(field) else None


def _numpy() -> Any:
    """NumPy, which only vectors need: the base package does without it."""
    try:
        import numpy
    except ModuleNotFoundError as error:
        raise InvalidInput(f"vectors need NumPy, which is not installed: {install_hint('data')}") from error
    return numpy
