"""The synchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import numpy.typing as npt

from scot.channels import open_channel
from scot.client import _requests as requests
from scot.client import _results as results
from scot.client._errors import from_rpc
from scot.client._requests import CHANNEL_OPTIONS, HEALTH, SERVING, Edits, NewItem, Picture, Query
from scot.client._results import (
    CollectionInfo,
    ComposerInfo,
    Encoded,
    SearchResult,
    StoredItem,
    UpsertResult,
)
from scot.errors import ScotError, Unavailable
from scot.index.filters import Filter
from scot.v1 import index_pb2, index_pb2_grpc, search_pb2, search_pb2_grpc


class ScotClient:
    """A connection to one service, for use from any number of threads.

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
        self._channel = open_channel(grpc, target, credentials, CHANNEL_OPTIONS)
        self._search: Any = search_pb2_grpc.SearchServiceStub(self._channel)
        self._index: Any = index_pb2_grpc.IndexServiceStub(self._channel)

    def search(
        self,
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
        timeout: float | None = None,
    ) -> SearchResult:
        """Find the pictures like the reference, but changed as the edits say.

        Args:
            image: the reference as a path, encoded bytes or a PIL image;
            item_id: or as an item of the collection, which is then left out of the hits unless ``include_reference``;
            vector: or as an image embedding ``(D,)`` of the same encoder. Without any: a text-only search.
            edits: one text, or several applied in order; :class:`Edit` gives one a weight or turns it around.
            composer: which composer; by default the released one, or whom a split chooses.
            collection: which collection; by default the service's own.
            filter: conditions on the payload.
            limit: how many hits, 1 to 1,000.
            offset: how many of the best to skip.
            score_threshold: leave out hits with a lower cosine similarity.
            include_reference: keep an indexed reference among its own hits.
            with_vectors: return the vectors of the query and the hits.
            session: who is asking, in any words: while requests are split, a session stays with one composer.
            timeout: seconds for this call.
        """
        request = requests.search_request(
            image=image,
            item_id=item_id,
            vector=vector,
            edits=edits,
            composer=composer,
            collection=collection,
            filter=filter,
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            include_reference=include_reference,
            with_vectors=with_vectors,
            session=session,
        )
        return results.search_result(self._call(self._search.ComposeSearch, request, timeout))

    def search_many(
        self, queries: Iterable[Query], *, timeout: float | None = None
    ) -> Iterator[SearchResult | ScotError]:
        """Many searches on one stream, each a dict of :meth:`search`'s arguments; results come in the queries' order.

        A query that the service refuses gives its error in its place.
        """
        stream = (requests.search_request(**query) for query in queries)
        try:
            for response in self._search.ComposeSearchStream(stream, timeout=timeout, metadata=self._metadata):
                yield results.result_or_error(response)
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error

    def encode(
        self, *, images: Sequence[Picture] = (), texts: Sequence[str] = (), timeout: float | None = None
    ) -> Encoded:
        """Embed up to 64 pictures and texts, to ``(N, D)`` float32 rows of unit length, images first."""
        return results.encoded(self._call(self._search.Encode, requests.encode_request(images, texts), timeout))

    def composers(self, *, timeout: float | None = None) -> tuple[ComposerInfo, ...]:
        """The composers that can be asked for."""
        return results.composer_infos(
            self._call(self._search.ListComposers, search_pb2.ListComposersRequest(), timeout)
        )

    def upsert(self, items: Sequence[NewItem], *, collection: str = "", timeout: float | None = None) -> UpsertResult:
        """Store up to 256 items, replacing those with the same ids; when it returns, a search sees them."""
        return results.upsert_result(
            self._call(self._index.UpsertItems, requests.upsert_request(items, collection), timeout)
        )

    def delete(self, item_ids: Sequence[str], *, collection: str = "", timeout: float | None = None) -> int:
        """Delete items; how many of them were there."""
        request = index_pb2.DeleteItemsRequest(collection=collection, item_ids=item_ids)
        return int(self._call(self._index.DeleteItems, request, timeout).deleted)

    def get(
        self,
        item_ids: Sequence[str],
        *,
        collection: str = "",
        with_vectors: bool = False,
        timeout: float | None = None,
    ) -> dict[str, StoredItem]:
        """Those of the items that exist, in the order asked."""
        request = index_pb2.GetItemsRequest(collection=collection, item_ids=item_ids, with_vectors=with_vectors)
        return results.stored_items(self._call(self._index.GetItems, request, timeout))

    def info(self, *, collection: str = "", timeout: float | None = None) -> CollectionInfo:
        """How many items a collection has, and of which encoder."""
        request = index_pb2.CollectionInfoRequest(collection=collection)
        return results.collection_info(self._call(self._index.CollectionInfo, request, timeout))

    def healthy(self, *, timeout: float = 5.0) -> bool:
        """Whether the service answers and says that it can serve; never raises."""
        try:
            call: Any = self._channel.unary_unary(HEALTH)
            return bool(call(b"", timeout=timeout) == SERVING)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        try:
            return method(request, timeout=self.timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc(error, self.target) from error
        except ValueError as error:  # grpc says this, and only this, of a closed channel
            raise Unavailable("the client is closed") from error
