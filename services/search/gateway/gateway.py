"""The Gateway deployment: every gRPC call of SCOT's search and index services arrives here."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from grpc_health.v1 import health_pb2
from PIL import Image
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from scot.errors import DeadlineExceeded
from scot.index.store import GalleryStore
from scot.rerank import load_reranker
from scot.v1 import index_pb2, search_pb2
from services.access import Keys, Limit, LocalRate, Rate
from services.search.gateway import index_service, search_service
from services.search.gateway.context import Context
from services.search.gateway.health import Health
from services.search.gateway.hedging import Hedging, near
from services.search.gateway.query_cache import QueryCache
from services.search.gateway.shadow import Shadow
from services.search.gateway.shared_rates import leased
from services.search.gateway.short_queue import shorten_queue
from services.search.metrics import GatewayMetrics
from services.search.rpc.limits import MAX_AT_WORK, MAX_WAITING, MAX_WATCHES, SECOND_LOOKS, STREAM_QUERIES
from services.search.serve_calls import CALLS, drop_reported
from services.search.settings import SearchSettings

logger = logging.getLogger("ray.serve")

_ENCODER_DELAY_S = 10.0  # the first queries have the processors for themselves
_COUNT_S = 5.0  # the longest wait for the collection's number of items; Serve waits for 30 seconds


async def health_check(context: Context, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
    """grpc.health.v1: whether the towers and the store answer. Raises NotFound for an unknown service."""
    return await context.health.check(request.service)


async def health_list(context: Context, _: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:
    """grpc.health.v1: the status of every service."""
    return await context.health.list()


def health_watch(
    context: Context, request: health_pb2.HealthCheckRequest
) -> AsyncIterator[health_pb2.HealthCheckResponse]:
    """grpc.health.v1: the status now, and again whenever it changes."""
    return context.health.watch(request.service)


class Gateway:
    """Checks, decodes and tokenizes requests, calls the towers, and searches the store."""

    context: Context

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: SearchSettings,
        composer: DeploymentHandle[Any],
        encoder: DeploymentHandle[Any],
        rates: DeploymentHandle[Any] | None = None,
    ) -> None:
        logger.addFilter(drop_reported)
        shorten_queue()
        service = settings.service
        metrics = GatewayMetrics()
        if settings.store:
            store = GalleryStore.open(
                path=settings.store, params=service.search, thumbnails=settings.thumbnails, wait=True
            )
        else:
            store = GalleryStore.open(server=service.qdrant, params=service.search, thumbnails=settings.thumbnails)
        hedging, nearer = Hedging(settings.hedge_s), near(composer) if settings.hedge_s else composer

        async def answering() -> str:
            name: str = await hedging.first(composer.answering.remote, nearer.answering.remote)
            return name

        self.context = Context(
            settings,
            Keys(service.api_keys, logger, rate=_rate(settings, rates)) if service.api_keys else None,
            await composer.encoder_info.remote(),
            store,
            composer,
            encoder,
            metrics,
            Shadow(store, metrics),
            Health(store, composer),
            QueryCache(service.cache_mb * 2**20, answering, metrics.query_looked_up),
            ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode"),
            asyncio.Semaphore(STREAM_QUERIES),
            load_reranker(service.rerank),
            asyncio.Semaphore(SECOND_LOOKS),
            hedging,
            nearer,
        )
        await self.context.health.prepare(self._prepare)

    async def _prepare(self) -> None:
        """Create the collection, then warm up, so that the first caller does not wait for a lazy start."""
        settings, info = self.context.settings, self.context.encoder_info
        service = settings.service
        await self.context.store.ensure(service.collection, info.encoder_id, info.dim, service.collections)
        query, buffer = search_pb2.ComposeSearchRequest(limit=1), io.BytesIO()
        Image.new("RGB", (64, 64), "white").save(buffer, "PNG")
        query.reference.image = buffer.getvalue()
        query.edits.add(text="warm")
        await search_service.answer_query(self.context, query)
        if settings.encoder_on_demand:
            self._warming = asyncio.create_task(self._start_encoder(delay_s=_ENCODER_DELAY_S))
        else:
            await self._start_encoder()

    async def _start_encoder(self, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        text = search_pb2.EncodeInput(text="warm")
        await search_service.encode(self.context, search_pb2.EncodeRequest(inputs=[text]))

    async def check_health(self) -> None:
        """Serve calls this every ten seconds. It never fails: another gateway could not repair an absent store."""
        metrics, store = self.context.metrics, self.context.store
        with suppress(Exception), metrics.store("info"):  # which counts the code; callers see NOT_SERVING
            try:
                async with asyncio.timeout(_COUNT_S):
                    metrics.collection(await store.info(self.context.settings.service.collection))
            except TimeoutError as error:
                raise DeadlineExceeded("the vector store did not answer in time") from error

    async def __del__(self) -> None:
        """Serve calls this when the replica stops: it releases the lock of the embedded store."""
        if hasattr(self, "context"):
            self.context.health.close()
            if self.context.reranker is not None:
                await self.context.reranker.close()
            await self.context.shadow.close()
            await self.context.store.close()

    ComposeSearch = CALLS.unary(search_service.compose_search, search_pb2.ComposeSearchResponse)
    ComposeSearchStream = CALLS.streaming(search_service.compose_search_stream)
    Encode = CALLS.unary(search_service.encode, search_pb2.EncodeResponse)
    ListComposers = CALLS.unary(search_service.list_composers, search_pb2.ListComposersResponse)
    Facets = CALLS.unary(search_service.facets, search_pb2.FacetsResponse)
    UpsertItems = CALLS.unary(index_service.upsert_items, index_pb2.UpsertItemsResponse, role="read-write")
    UpsertItemsStream = CALLS.unary(index_service.upsert_items_stream, index_pb2.UpsertItemsResponse, role="read-write")
    DeleteItems = CALLS.unary(index_service.delete_items, index_pb2.DeleteItemsResponse, role="read-write")
    GetItems = CALLS.unary(index_service.get_items, index_pb2.GetItemsResponse)
    ListItems = CALLS.unary(index_service.list_items, index_pb2.ListItemsResponse)
    GetPictures = CALLS.unary(index_service.get_pictures, index_pb2.GetPicturesResponse)
    CollectionInfo = CALLS.unary(index_service.collection_info, index_pb2.CollectionInfoResponse)
    ListCollections = CALLS.unary(index_service.list_collections, index_pb2.ListCollectionsResponse)
    Check = CALLS.unary(health_check, health_pb2.HealthCheckResponse, role=None)
    List = CALLS.unary(health_list, health_pb2.HealthListResponse, role=None)
    Watch = CALLS.streaming(health_watch, role=None)


def _rate(settings: SearchSettings, rates: DeploymentHandle[Any] | None) -> Callable[[Limit], Rate]:
    """Each gateway's own rates, or those that all gateways share."""
    if rates is None:
        return LocalRate

    async def lease(limit: Limit, least: float, most: float) -> tuple[float, float]:
        granted: tuple[float, float] = await rates.lease.remote(limit, least, most)
        return granted

    return leased(lease, settings.gateways)


# Requests wait for as long as a composer needs for one or two batches; more are refused at once, or all would wait
# until their deadlines pass. By default a router checks again after up to half a second whether a full gateway has
# room; meanwhile the gateway is idle (docs/adr/0015).
GatewayDeployment = serve.deployment(
    name="Gateway",
    max_ongoing_requests=MAX_AT_WORK + MAX_WATCHES,
    max_queued_requests=MAX_WAITING,
    request_router_config=RequestRouterConfig(initial_backoff_s=0.005, max_backoff_s=0.005),  # type: ignore[arg-type]
    health_check_period_s=10,
)(Gateway)
