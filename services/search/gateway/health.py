"""grpc.health.v1 for the gateway, and a start that does not wait for the vector store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckResponse as Response
from ray.serve.handle import DeploymentHandle

from scot.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable
from scot.index.store import GalleryStore
from services.search.rpc.limits import MAX_WATCHES
from services.search.serve_calls import public_error

logger = logging.getLogger("ray.serve")

SERVICES = ("", "scot.v1.SearchService", "scot.v1.IndexService")
"""The services that health is reported for; ``""`` stands for all of them."""
_STORE_ERRORS = (Unavailable, DeadlineExceeded, Overloaded)  # an unavailable store, which may return
_INTERVAL_S = 1.0  # between two statuses of a Watch, and how long the status is cached
# Serve may drop a stream whose caller cancels right after an answer, without closing it: it never ends, and never goes
# on either. A watch that has not gone on for so long does not count.
_GONE_S = 10.0


class Health:
    """Whether the composer and the store answer."""

    def __init__(self, store: GalleryStore, composer: DeploymentHandle[Any]) -> None:
        self._store, self._composer = store, composer
        self._watches: dict[object, float] = {}  # when each last went on
        self._checked, self._status = 0.0, Response.UNKNOWN
        self._preparing: asyncio.Task[None] | None = None

    async def check(self, service: str) -> Response:
        """The status of a service. Raises NotFound for an unknown one."""
        if service not in SERVICES:
            raise NotFound(f"service: there is no service {service!r} here")
        if time.monotonic() - self._checked > _INTERVAL_S:
            status = Response.SERVING
            try:
                await self._store.list()
                await self._composer.encoder_info.remote()
            except Exception as error:
                logger.warning("not serving: %s", public_error(error)[1])
                status = Response.NOT_SERVING
            self._checked, self._status = time.monotonic(), status
        return Response(status=self._status)

    async def list(self) -> health_pb2.HealthListResponse:
        """The status of every service."""
        return health_pb2.HealthListResponse(statuses={service: await self.check(service) for service in SERVICES})

    async def watch(self, service: str) -> AsyncIterator[Response]:
        """The status now, and again whenever it changes. Raises Overloaded over MAX_WATCHES."""
        now = time.monotonic()
        self._watches = {watch: at for watch, at in self._watches.items() if now - at < _GONE_S}
        if len(self._watches) >= MAX_WATCHES:
            raise Overloaded(f"{MAX_WATCHES} watches are open already; ask for Check instead")
        if service not in SERVICES:
            yield Response(status=Response.SERVICE_UNKNOWN)
            return
        watch, last = object(), None
        try:
            while True:
                self._watches[watch] = time.monotonic()
                response = await self.check(service)
                if response.status != last:
                    last = response.status
                    yield response
                await asyncio.sleep(_INTERVAL_S)
        finally:
            self._watches.pop(watch, None)

    async def prepare(self, work: Callable[[], Awaitable[None]]) -> None:
        """Await ``work``; while the vector store is unavailable, retry in the background.

        Without that, an empty store that starts after the service would stay without its collection.
        """
        try:
            await work()
        except _STORE_ERRORS as error:
            logger.error("starting without the vector store: %s", error)
            self._preparing = asyncio.create_task(self._prepare_later(work))

    async def _prepare_later(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            try:
                return await work()
            except _STORE_ERRORS:
                continue
            except Exception as error:
                logger.error("the vector store is available, but cannot be used: %s", public_error(error)[1])
                return

    def close(self) -> None:
        """Stop the retries."""
        if self._preparing is not None:
            self._preparing.cancel()
