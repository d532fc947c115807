"""The synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack

import grpc

from scot.channels import SERVING
from scot.client import _messages as messages
from scot.client._connection import Connection, from_rpc
from scot.client._query import facets_request, search_request
from scot.client._types import (
    CollectionInfo,
    ComposerInfo,
    Encoded,
    Facets,
    ImageInput,
    ListedItem,
    NewItem,
    Picture,
    Query,
    SearchResult,
    StoredItem,
    UpsertResult,
)
from scot.errors import ScotError, Unavailable
from scot.hedging import Hedged
from scot.index.filters import Filter
from scot.v1 import index_pb2, search_pb2

T = TypeVar("T")


class ScotClient(Connection):
    """A connection to one service, for use from any number of threads.

    Args:
        target: ``host:port`` of the service.
        timeout: seconds after which a call raises ``DeadlineExceeded``; the ``timeout`` of a method has precedence.
        api_key: the key for a service that requires one, sent with every call.
        tls: use TLS, for a service behind a TLS proxy. Without TLS the key can be read on the network.
        bulk: let calls of others go before this client's when the service is busy.

    Raises:
        InvalidInput: the key has characters that are not allowed.
    """

    _grpc: ClassVar[Any] = grpc

    def search(self, *, timeout: float | None = None, **query: Unpack[Query]) -> SearchResult:
        """Find images like the reference, changed as the edits say; :class:`Query` explains the arguments."""
        method = Hedged([each.ComposeSearch for each in self._searches], self._hedges)
        return self._call(method, search_request(query), messages.search_result, timeout)

    def search_many(
        self, queries: Iterable[Query], *, timeout: float | None = None
    ) -> Iterator[SearchResult | ScotError]:
        """Many searches on one stream, each a dict of :meth:`search`'s arguments; results come in the queries' order.

        A query that cannot be sent, or that the service refuses, gives its error in its place.
        """
        stream = messages.QueryStream(queries)
        requests, timeout = stream.requests(), self._timeout(timeout, None)
        try:
            for response in self._search.ComposeSearchStream(requests, timeout=timeout, metadata=self._metadata):
                yield from stream.results(response)
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error
        yield from stream.finish()

    def encode(
        self, *, images: Sequence[ImageInput] = (), texts: Sequence[str] = (), timeout: float | None = None
    ) -> Encoded:
        """Embed up to 64 images and texts, to ``(N, D)`` float32 rows of unit length, images first."""
        return self._call(self._search.Encode, messages.encode_request(images, texts), messages.encoded, timeout)

    def facets(
        self,
        fields: Sequence[str],
        *,
        filter: Filter | None = None,
        limit: int = 10,
        collection: str = "",
        timeout: float | None = None,
    ) -> Facets:
        """Count the values of payload fields among the items that a filter leaves.

        Args:
            fields: up to 16 payload fields; none: only the items are counted.
            filter: conditions on the payload.
            limit: the most frequent values of each field.
        """
        request = facets_request(fields, filter, limit, collection)
        return self._call(self._search.Facets, request, messages.facets, timeout)

    def composers(self, *, timeout: float | None = None) -> tuple[ComposerInfo, ...]:
        """The composers that a query can name."""
        request = search_pb2.ListComposersRequest()
        return self._call(self._search.ListComposers, request, messages.composer_infos, timeout)

    def upsert(self, items: Sequence[NewItem], *, collection: str = "", timeout: float | None = None) -> UpsertResult:
        """Store up to 256 items and replace those with the same ids; searches find them as soon as it returns."""
        request = messages.upsert_request(items, collection)
        return self._call(self._index.UpsertItems, request, messages.upsert_result, timeout)

    def delete(self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None) -> int:
        """Delete items; returns how many of them existed."""
        request = messages.ids_request(index_pb2.DeleteItemsRequest, item_ids, collection)
        return self._call(self._index.DeleteItems, request, lambda response: int(response.deleted), timeout)

    def get(
        self,
        item_ids: Sequence[str],
        *,
        collection: str = "",
        with_vectors: bool = False,
        timeout: float | None = None,
    ) -> dict[str, StoredItem]:
        """Those of the items that exist, in the order of ``item_ids``."""
        request = messages.ids_request(index_pb2.GetItemsRequest, item_ids, collection, with_vectors=with_vectors)
        return self._call(self._index.GetItems, request, messages.stored_items, timeout)

    def list_items(
        self, *, source: str = "", collection: str = "", timeout: float | None = None
    ) -> Iterator[ListedItem]:
        """The items of the collection by their ids and origins, in no particular order.

        Args:
            source: only items whose origin has this source.
        """
        request = messages.list_request(source, collection)
        while True:
            page, request.after = self._call(self._index.ListItems, request, messages.listed_items, timeout)
            yield from page
            if not request.after:
                return

    def get_pictures(
        self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None
    ) -> dict[str, Picture]:
        """The thumbnails of up to 64 items; one without a thumbnail is left out."""
        request = messages.ids_request(index_pb2.GetPicturesRequest, item_ids, collection)
        return self._call(self._index.GetPictures, request, messages.pictures, timeout)

    def info(self, *, collection: str = "", timeout: float | None = None) -> CollectionInfo:
        """The number of items of a collection, and their encoder."""
        request = messages.info_request(collection)
        return self._call(self._index.CollectionInfo, request, messages.collection_info, timeout)

    def collections(self, *, timeout: float | None = None) -> tuple[CollectionInfo, ...]:
        """The collections that a request can name, by name; those of other encoders too."""
        request = index_pb2.ListCollectionsRequest()
        return self._call(self._index.ListCollections, request, messages.collection_infos, timeout)

    def healthy(self, *, timeout: float = 5.0) -> bool:
        """Whether the service answers and reports that it can serve; never raises."""
        try:
            return bool(self._health(b"", timeout=timeout) == SERVING)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any, read: Callable[[Any], T], timeout: float | None) -> T:
        try:
            response = method(request, **self._options(timeout))
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error
        except ValueError as error:  # grpc raises it for a closed channel, and only then
            raise Unavailable("the client is closed") from error
        return read(response)
