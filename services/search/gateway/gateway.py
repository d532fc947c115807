"""The Gateway deployment: every RPC of SCOT's search and index services, health included, comes in here."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2
from PIL import Image
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from scot.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable
from scot.index.lazy_embedded import LazyEmbedded
from scot.index.store import GalleryStore
from scot.v1 import index_pb2, search_pb2
from services.access import Keys
from services.calls import count_request, drop_told, public_error, streaming, unary
from services.search.composer.replica import EncoderInfo
from services.search.gateway import index_service, search_service
from services.search.gateway.images import preprocess
from services.search.gateway.shadow import Shadow
from services.search.metrics import GatewayMetrics
from services.search.rpc.limits import MAX_AT_WORK, MAX_WAITING, MAX_WATCHES, STREAM_WINDOW
from services.search.rpc.ordered_map import ordered_map
from services.search.settings import SearchSettings

if TYPE_CHECKING:
    from scot.encoders.base import Pixels, TokenizedText

logger = logging.getLogger("ray.serve")

SERVICES = ("", "scot.v1.SearchService", "scot.v1.IndexService")  # that grpc.health.v1 answers for; "" is all of them
_AWAY = (Unavailable, DeadlineExceeded, Overloaded)  # what the vector store may be when the service starts
_COUNT_S = 5.0  # how long the collection may take to say how many items it has; Serve waits for 30 seconds
_HEALTH_S = 1.0  # how often a Watch looks, and how long a Check's answer is good


class Gateway:
    """Checks, decodes and tokenises requests, asks the towers, and looks the query up in the store."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: SearchSettings, composer: DeploymentHandle[Any], encoder: DeploymentHandle[Any]
    ) -> None:
        # Imported here, since whoever only deploys the application should not wait for open_clip.
        from scot.encoders import load_frontend

        self.settings, self.composer, self.encoder = settings, composer, encoder
        self.keys = Keys(Path(settings.api_keys), logger) if settings.api_keys else None
        self.metrics = GatewayMetrics()
        logger.addFilter(drop_told)
        self.frontend = load_frontend(settings.encoder)
        self.threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        if settings.store:
            self.store = GalleryStore(LazyEmbedded(Path(settings.store)))
        else:
            self.store = GalleryStore.open(server=settings.qdrant, effort=settings.effort)
        self.shadow = Shadow(self.store, self.metrics)
        self.card: EncoderInfo = await composer.encoder_info.remote()
        self._watches = 0
        self._health = (0.0, health_pb2.HealthCheckResponse.UNKNOWN)
        self._preparing: asyncio.Task[None] | None = None
        try:
            await self._prepare()
        except _AWAY as error:
            logger.error("starting without the vector store: %s", error)
            self._preparing = asyncio.create_task(self._prepare_later())

    async def pixels(self, image: bytes) -> Pixels:
        """Decode and resize off the event loop. Raises ImageRefused."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, preprocess, self.frontend, image)

    async def tokens(self, text: str) -> TokenizedText:
        """Tokenise off the event loop."""
        tokenized = await asyncio.get_running_loop().run_in_executor(self.threads, self.frontend.tokenize, [text])
        return tokenized[0]

    async def compose_search(self, request: search_pb2.ComposeSearchRequest) -> search_pb2.ComposeSearchResponse:
        """One query."""
        response = await search_service.compose_search(self, request)
        self.metrics.answer(request, response)
        return response

    async def compose_search_stream(
        self, requests: AsyncIterator[search_pb2.ComposeSearchRequest]
    ) -> AsyncIterator[search_pb2.ComposeSearchResponse]:
        """Many queries; one that is refused is answered with its error, and the stream goes on."""

        async def answer(request: search_pb2.ComposeSearchRequest) -> search_pb2.ComposeSearchResponse:
            begun, status = time.perf_counter(), "OK"
            try:
                count_request()
                return await self.compose_search(request)
            except asyncio.CancelledError:
                status = "CANCELLED"
                raise
            except Exception as error:
                status, message = public_error(error)
                if status == "INTERNAL":
                    logger.error("a query of a stream failed", exc_info=error)
                return search_pb2.ComposeSearchResponse(error=search_pb2.QueryError(status=status, message=message))
            finally:
                self.metrics.request("stream_query", status, time.perf_counter() - begun)

        async for response in ordered_map(requests, answer, window=STREAM_WINDOW):
            yield response

    async def encode(self, request: search_pb2.EncodeRequest) -> search_pb2.EncodeResponse:
        """Embeddings out."""
        return await search_service.encode(self, request)

    async def list_composers(self, _: search_pb2.ListComposersRequest) -> search_pb2.ListComposersResponse:
        """The composers there are."""
        return await search_service.list_composers(self)

    async def upsert_items(self, request: index_pb2.UpsertItemsRequest) -> index_pb2.UpsertItemsResponse:
        """Insert or replace."""
        response = await index_service.upsert_items(self, request)
        self.metrics.upserted(response)
        return response

    async def upsert_items_stream(
        self, requests: AsyncIterator[index_pb2.UpsertItemsRequest]
    ) -> index_pb2.UpsertItemsResponse:
        """As many requests as the caller likes; the response names the refused items."""
        total = index_pb2.UpsertItemsResponse()
        async for request in requests:
            count_request()
            response = await self.upsert_items(request)
            total.upserted += response.upserted
            total.refused += response.refused
            total.results.extend(result for result in response.results if not result.ok)
        return total

    async def delete_items(self, request: index_pb2.DeleteItemsRequest) -> index_pb2.DeleteItemsResponse:
        """Delete."""
        response = await index_service.delete_items(self, request)
        self.metrics.deleted(response)
        return response

    async def get_items(self, request: index_pb2.GetItemsRequest) -> index_pb2.GetItemsResponse:
        """Look up by id."""
        return await index_service.get_items(self, request)

    async def collection_info(self, request: index_pb2.CollectionInfoRequest) -> index_pb2.CollectionInfoResponse:
        """How many items, of which encoder."""
        return await index_service.collection_info(self, request)

    async def health_check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """grpc.health.v1: whether the towers and the store answer. Raises NotFound for a service it does not know."""
        return await self._status(request.service)

    async def health_list(self, _: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:
        """grpc.health.v1: the status of every service."""
        return health_pb2.HealthListResponse(statuses={service: await self._status(service) for service in SERVICES})

    async def health_watch(
        self, request: health_pb2.HealthCheckRequest
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """grpc.health.v1: the status now, and again whenever it changes. Raises Overloaded over MAX_WATCHES."""
        if self._watches == MAX_WATCHES:
            raise Overloaded(f"{MAX_WATCHES} watches are open already; ask for Check instead")
        self._watches += 1
        try:
            last = None
            while True:
                response = await self._status(request.service, watching=True)
                if response.status != last:
                    last = response.status
                    yield response
                if last == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
                    return
                await asyncio.sleep(_HEALTH_S)
        finally:
            self._watches -= 1

    async def _prepare(self) -> None:
        await self.store.ensure(self.settings.collection, self.card.encoder_id, self.card.dim, self.settings.layout)
        await self._warm()

    async def _prepare_later(self) -> None:
        """Without this, a store that comes up empty after the service would stay without its collection."""
        while True:
            await asyncio.sleep(_HEALTH_S)
            try:
                return await self._prepare()
            except _AWAY:
                continue
            except Exception as error:
                logger.error("the vector store is there, but not as it should be: %s", public_error(error)[1])
                return

    async def check_health(self) -> None:
        """Serve calls this every ten seconds. It never fails: another gateway would not bring an absent store back."""
        with suppress(Exception), self.metrics.store("info"):  # counted by its code; callers are told NOT_SERVING
            try:
                async with asyncio.timeout(_COUNT_S):
                    self.metrics.collection(await self.store.info(self.settings.collection))
            except TimeoutError as error:
                raise DeadlineExceeded("the vector store did not answer in time") from error

    async def _warm(self) -> None:
        """Answer one query with a picture and encode a text, so that the first caller waits for no lazy start."""
        search, buffer = search_pb2.ComposeSearchRequest(limit=1), io.BytesIO()
        Image.new("RGB", (64, 64), "white").save(buffer, "PNG")
        search.reference.image = buffer.getvalue()
        search.edits.add(text="warm")
        await search_service.compose_search(self, search)
        await search_service.encode(self, search_pb2.EncodeRequest(inputs=[search_pb2.EncodeInput(text="warm")]))

    async def _status(self, service: str, *, watching: bool = False) -> health_pb2.HealthCheckResponse:
        states = health_pb2.HealthCheckResponse
        if service not in SERVICES:
            if watching:
                return states(status=states.SERVICE_UNKNOWN)
            raise NotFound(f"service: there is no service {service!r} here")
        if time.monotonic() - self._health[0] > _HEALTH_S:
            status = states.SERVING
            try:
                await self.store.list()
                await self.composer.encoder_info.remote()
            except Exception as error:
                logger.warning("not serving: %s", public_error(error)[1])
                status = states.NOT_SERVING
            self._health = (time.monotonic(), status)
        return states(status=self._health[1])

    async def __del__(self) -> None:
        """Serve calls this when the replica stops: the embedded store's lock is given back."""
        if hasattr(self, "_preparing") and self._preparing is not None:
            self._preparing.cancel()
        if hasattr(self, "shadow"):
            await self.shadow.close()
        if hasattr(self, "store"):
            await self.store.close()

    ComposeSearch = unary(compose_search, search_pb2.ComposeSearchResponse)
    ComposeSearchStream = streaming(compose_search_stream)
    Encode = unary(encode, search_pb2.EncodeResponse)
    ListComposers = unary(list_composers, search_pb2.ListComposersResponse)
    UpsertItems = unary(upsert_items, index_pb2.UpsertItemsResponse, role="read-write")
    UpsertItemsStream = unary(upsert_items_stream, index_pb2.UpsertItemsResponse, role="read-write")
    DeleteItems = unary(delete_items, index_pb2.DeleteItemsResponse, role="read-write")
    GetItems = unary(get_items, index_pb2.GetItemsResponse)
    CollectionInfo = unary(collection_info, index_pb2.CollectionInfoResponse)
    Check = unary(health_check, health_pb2.HealthCheckResponse, role=None)
    List = unary(health_list, health_pb2.HealthListResponse, role=None)
    Watch = streaming(health_watch, role=None)


# Requests wait for as long as it takes to answer a composer's batch or two; more are refused at once, or all would wait
# until their deadlines pass. By default a router looks again after up to half a second whether a full gateway has
# room: meanwhile the gateway idles (docs/adr/0015).
GatewayDeployment = serve.deployment(
    name="Gateway",
    max_ongoing_requests=MAX_AT_WORK + MAX_WATCHES,
    max_queued_requests=MAX_WAITING,
    request_router_config=RequestRouterConfig(initial_backoff_s=0.005, max_backoff_s=0.005),  # type: ignore[arg-type]
    health_check_period_s=10,
)(Gateway)
