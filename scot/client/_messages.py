"""The client's arguments and results to and from protobuf messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from scot.client import _checks as checks
from scot.client._connection import from_status
from scot.client._inputs import image_bytes, numpy_module, vector_to_proto
from scot.client._query import search_request
from scot.client._types import (
    CollectionInfo,
    ComposerInfo,
    Encoded,
    Facets,
    FacetValue,
    Hit,
    HitGroup,
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
from scot.errors import InvalidInput, ScotError
from scot.index.filters import match_from_proto
from scot.index.origin import Origin, origin_from_proto, origin_to_proto
from scot.index.payload import payload_from_proto
from scot.v1 import index_pb2, search_pb2

if TYPE_CHECKING:
    from scot.client._types import Vector


M = TypeVar("M", index_pb2.DeleteItemsRequest, index_pb2.GetItemsRequest, index_pb2.GetPicturesRequest)


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
        tuple(_groups(message, hits)),
        message.reranked,
        message.rerank_reason,
    )


def _groups(message: search_pb2.ComposeSearchResponse, hits: tuple[Hit, ...]) -> Iterator[HitGroup]:
    """The hits are in the order of the groups."""
    at = 0
    for group in message.groups:
        yield HitGroup(match_from_proto("groups", group.value), hits[at : at + group.hits])
        at += group.hits


def facets(message: search_pb2.FacetsResponse) -> Facets:
    """The values of fields, and the number of items."""
    return Facets(
        {
            facet.field: tuple(FacetValue(match_from_proto("facets", each.value), each.count) for each in facet.values)
            for facet in message.facets
        },
        message.total,
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
    vectors = numpy_module().array([list(vector.values) for vector in message.vectors], dtype="float32")
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
    weight = round(message.caption_weight, 6)  # a float of four bytes
    return CollectionInfo(message.collection, message.items, message.encoder, message.dim, weight)


def collection_infos(message: index_pb2.ListCollectionsResponse) -> tuple[CollectionInfo, ...]:
    """The collections of a service."""
    return tuple(collection_info(each) for each in message.collections)


def _item_to_proto(field: str, item: NewItem) -> index_pb2.Item:
    item_id = checks.text(f"{field}.item_id", item.item_id)
    if (item.image is None) == (item.vector is None):
        raise InvalidInput(f"item {item_id!r}: give either an image or a vector")
    origin = None if item.origin is None else checks.instance(f"{field}.origin", item.origin, Origin)
    message = index_pb2.Item(item_id=item_id, origin=origin_to_proto(origin))
    if item.image is not None:
        message.image = image_bytes(item.image, f"{field}.image")
    elif item.vector is not None:
        message.vector.CopyFrom(vector_to_proto(item.vector))
    try:
        message.payload.update(dict(item.payload))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"item {item_id!r}: the payload must be JSON-like: {error}") from None
    return message


def _vector_from_proto(message: Any, field: str = "vector") -> Vector | None:
    return numpy_module().array(getattr(message, field).values, dtype="float32") if message.HasField(field) else None
