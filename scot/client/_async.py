"""The asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack

import grpc

from scot.channels import SERVING, FinalStatus
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
from scot.hedging import AsyncHedged
from scot.index.filters import Filter
from scot.v1 import index_pb2, search_pb2

T = TypeVar("T")


class AsyncScotClient(Connection):
    """:class:`scot.client.ScotClient` for asyncio: the same arguments, and the same methods, to be awaited."""

    _grpc: ClassVar[Any] = grpc.aio

    async def search(self, *, timeout: float | None = None, **query: Unpack[Query]) -> SearchResult:
        """See :meth:`scot.client.ScotClient.search`."""
        request = search_request(query)
        method = AsyncHedged([each.ComposeSearch for each in self._searches], self._hedges)
        return await self._call(method, request, messages.search_result, timeout)

    async def search_many(
        self, queries: Iterable[Query], *, timeout: float | None = None
    ) -> AsyncIterator[SearchResult | ScotError]:
        """See :meth:`scot.client.ScotClient.search_many`."""
        stream = messages.QueryStream(queries)
        requests, timeout = stream.requests(), self._timeout(timeout, None)
        call = self._search.ComposeSearchStream(requests, timeout=timeout, metadata=self._metadata)
        status = FinalStatus(call)
        try:
            async for response in call:
                for result in stream.results(response):
                    yield result
        except grpc.aio.AioRpcError as error:
            raise from_rpc(status.error(error), self.target) from error
        for refused in stream.finish():
            yield refused

    async def encode(
        self, *, images: Sequence[ImageInput] = (), texts: Sequence[str] = (), timeout: float | None = None
    ) -> Encoded:
        """See :meth:`scot.client.ScotClient.encode`."""
        request = messages.encode_request(images, texts)
        return await self._call(self._search.Encode, request, messages.encoded, timeout)

    async def facets(
        self,
        fields: Sequence[str],
        *,
        filter: Filter | None = None,
        limit: int = 10,
        collection: str = "",
        timeout: float | None = None,
    ) -> Facets:
        """See :meth:`scot.client.ScotClient.facets`."""
        request = facets_request(fields, filter, limit, collection)
        return await self._call(self._search.Facets, request, messages.facets, timeout)

    async def composers(self, *, timeout: float | None = None) -> tuple[ComposerInfo, ...]:
        """See :meth:`scot.client.ScotClient.composers`."""
        request = search_pb2.ListComposersRequest()
        return await self._call(self._search.ListComposers, request, messages.composer_infos, timeout)

    async def upsert(
        self, items: Sequence[NewItem], *, collection: str = "", timeout: float | None = None
    ) -> UpsertResult:
        """See :meth:`scot.client.ScotClient.upsert`."""
        request = messages.upsert_request(items, collection)
        return await self._call(self._index.UpsertItems, request, messages.upsert_result, timeout)

    async def delete(self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None) -> int:
        """See :meth:`scot.client.ScotClient.delete`."""
        request = messages.ids_request(index_pb2.DeleteItemsRequest, item_ids, collection)
        return await self._call(self._index.DeleteItems, request, lambda response: int(response.deleted), timeout)

    async def get(
        self,
        item_ids: Sequence[str],
        *,
        collection: str = "",
        with_vectors: bool = False,
        timeout: float | None = None,
    ) -> dict[str, StoredItem]:
        """See :meth:`scot.client.ScotClient.get`."""
        request = messages.ids_request(index_pb2.GetItemsRequest, item_ids, collection, with_vectors=with_vectors)
        return await self._call(self._index.GetItems, request, messages.stored_items, timeout)

    async def list_items(
        self, *, source: str = "", collection: str = "", timeout: float | None = None
    ) -> AsyncIterator[ListedItem]:
        """See :meth:`scot.client.ScotClient.list_items`."""
        request = messages.list_request(source, collection)
        while True:
            page, request.after = await self._call(self._index.ListItems, request, messages.listed_items, timeout)
            for item in page:
                yield item
            if not request.after:
                return

    async def get_pictures(
        self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None
    ) -> dict[str, Picture]:
        """See :meth:`scot.client.ScotClient.get_pictures`."""
        request = messages.ids_request(index_pb2.GetPicturesRequest, item_ids, collection)
        return await self._call(self._index.GetPictures, request, messages.pictures, timeout)

    async def info(self, *, collection: str = "", timeout: float | None = None) -> CollectionInfo:
        """See :meth:`scot.client.ScotClient.info`."""
        request = messages.info_request(collection)
        return await self._call(self._index.CollectionInfo, request, messages.collection_info, timeout)

    async def collections(self, *, timeout: float | None = None) -> tuple[CollectionInfo, ...]:
        """See :meth:`scot.client.ScotClient.collections`."""
        request = index_pb2.ListCollectionsRequest()
        return await self._call(self._index.ListCollections, request, messages.collection_infos, timeout)

    async def healthy(self, *, timeout: float = 5.0) -> bool:
        """See :meth:`scot.client.ScotClient.healthy`."""
        try:
            return bool(await self._health(b"", timeout=timeout) == SERVING)
        except grpc.RpcError:
            return False

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any, read: Callable[[Any], T], timeout: float | None) -> T:
        try:
            response = await method(request, **self._options(timeout))
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error
        except grpc.aio.UsageError as error:
            raise Unavailable("the client is closed") from error
        return read(response)
