"""The asyncio client; :mod:`scot.client` is where people import it from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from scot.channels import open_channel
from scot.client import _requests as requests
from scot.client import _results as results
from scot.client._errors import from_rpc
from scot.client._requests import CHANNEL_OPTIONS, HEALTH, SERVING, NewItem, Picture, Query
from scot.errors import ScotError, Unavailable
from scot.v1 import index_pb2, index_pb2_grpc, search_pb2, search_pb2_grpc


class AsyncScotClient:
    """:class:`scot.client.ScotClient` for asyncio: the same methods, to be awaited.

    Args:
        target: ``host:port`` of the service.
        timeout: seconds after which a call raises ``DeadlineExceeded``; a method's own ``timeout`` wins.
        api_key: what a service with keys asks for, sent with every call.
        tls: speak TLS, as a proxy in front of the service does. Without it a key can be read on the way.

    Raises:
        InvalidInput: the key has characters that no key has.
    """

    def __init__(
        self, target: str = "localhost:9000", *, timeout: float = 30.0, api_key: str | None = None, tls: bool = False
    ) -> None:
        self.target, self.timeout = target, timeout
        self._metadata = requests.key_metadata(api_key)
        credentials = grpc.ssl_channel_credentials() if tls else None
        self._channel = open_channel(grpc.aio, target, credentials, CHANNEL_OPTIONS)
        self._search: Any = search_pb2_grpc.SearchServiceStub(self._channel)
        self._index: Any = index_pb2_grpc.IndexServiceStub(self._channel)

    async def search(self, *, timeout: float | None = None, **query: Unpack[Query]) -> results.SearchResult:
        """See :meth:`scot.client.ScotClient.search`."""
        request = requests.search_request(**query)
        return results.search_result(await self._call(self._search.ComposeSearch, request, timeout))

    async def search_many(
        self, queries: Iterable[Query], *, timeout: float | None = None
    ) -> AsyncIterator[results.SearchResult | ScotError]:
        """See :meth:`scot.client.ScotClient.search_many`."""
        stream = (requests.search_request(**query) for query in queries)
        try:
            async for response in self._search.ComposeSearchStream(stream, timeout=timeout, metadata=self._metadata):
                yield results.result_or_error(response)
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error

    async def encode(
        self, *, images: Sequence[Picture] = (), texts: Sequence[str] = (), timeout: float | None = None
    ) -> results.Encoded:
        """See :meth:`scot.client.ScotClient.encode`."""
        request = requests.encode_request(images, texts)
        return results.encoded(await self._call(self._search.Encode, request, timeout))

    async def composers(self, *, timeout: float | None = None) -> tuple[results.ComposerInfo, ...]:
        """See :meth:`scot.client.ScotClient.composers`."""
        request = search_pb2.ListComposersRequest()
        return results.composer_infos(await self._call(self._search.ListComposers, request, timeout))

    async def upsert(
        self, items: Sequence[NewItem], *, collection: str = "", timeout: float | None = None
    ) -> results.UpsertResult:
        """See :meth:`scot.client.ScotClient.upsert`."""
        request = requests.upsert_request(items, collection)
        return results.upsert_result(await self._call(self._index.UpsertItems, request, timeout))

    async def delete(self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None) -> int:
        """See :meth:`scot.client.ScotClient.delete`."""
        request = index_pb2.DeleteItemsRequest(collection=collection, item_ids=item_ids)
        return int((await self._call(self._index.DeleteItems, request, timeout)).deleted)

    async def get(
        self,
        item_ids: Sequence[str],
        *,
        collection: str = "",
        with_vectors: bool = False,
        timeout: float | None = None,
    ) -> dict[str, results.StoredItem]:
        """See :meth:`scot.client.ScotClient.get`."""
        request = index_pb2.GetItemsRequest(collection=collection, item_ids=item_ids, with_vectors=with_vectors)
        return results.stored_items(await self._call(self._index.GetItems, request, timeout))

    async def info(self, *, collection: str = "", timeout: float | None = None) -> results.CollectionInfo:
        """See :meth:`scot.client.ScotClient.info`."""
        request = index_pb2.CollectionInfoRequest(collection=collection)
        return results.collection_info(await self._call(self._index.CollectionInfo, request, timeout))

    async def healthy(self, *, timeout: float = 5.0) -> bool:
        """See :meth:`scot.client.ScotClient.healthy`."""
        try:
            call: Any = self._channel.unary_unary(HEALTH)
            return bool(await call(b"", timeout=timeout) == SERVING)
        except grpc.RpcError:
            return False

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        try:
            return await method(request, timeout=self.timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error
        except grpc.aio.UsageError as error:
            raise Unavailable("the client is closed") from error
