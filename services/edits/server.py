"""The process: a gRPC server that answers health checks immediately, and calls once its engine is loaded.

When the engine dies, the process ends with exit code 1, so that Kubernetes starts another one. While an endpoint is
unavailable, the service is NOT_SERVING. At SIGTERM, health turns NOT_SERVING and calls under way are answered; while
the engine loads, the process ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from scot.child_processes import adopt_orphans, wait_or_kill
from scot.edits.generators import load_generator
from scot.errors import Conflict, EngineRefused, InvalidInput, ScotError, Unavailable
from scot.v1 import edits_pb2, edits_pb2_grpc
from services.access import Keys
from services.edits.config import EditServiceConfig
from services.edits.metrics import ENGINE
from services.edits.servicer import EditContext, EditServicer

logger = logging.getLogger("scot.edits")

SERVICE = "scot.v1.EditService"
_CHECK_EVERY_S = 2.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class EditServer:
    """The parts of the process; they are stopped in the reverse order of their start."""

    def __init__(self, config: EditServiceConfig) -> None:
        self._config = config
        keys = Keys(config.api_keys, logger) if config.api_keys else None
        self._context = EditContext(keys, config.most_waiting)
        self._health = health.aio.HealthServicer()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until a signal, or until the engine dies; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        server = await self._listen()
        stopped = asyncio.create_task(self._stop.wait())
        engine = asyncio.create_task(self._engine())
        try:
            await asyncio.wait({stopped, engine}, return_when=asyncio.FIRST_COMPLETED)
            if engine.done() and (error := engine.exception()):
                ENGINE.state("dead")
                await self._set_health(_NOT_SERVING)
                raise error
            if not engine.done() and self._context.generator is None:
                _leave()
        finally:
            engine.cancel()
            await self._health.enter_graceful_shutdown()
            await server.stop(self._config.drain_s if self._stop.is_set() else 0)
            if self._context.generator is not None:
                await self._context.generator.close()
        return 0

    async def _listen(self) -> grpc.aio.Server:
        config = self._config
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        edits_pb2_grpc.add_EditServiceServicer_to_server(EditServicer(self._context), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (edits_pb2.DESCRIPTOR.services_by_name["EditService"].full_name, health.SERVICE_NAME)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        await self._set_health(_NOT_SERVING)
        address = f"{config.host}:{config.port}"
        try:
            if config.tls_certificate is not None and config.tls_key is not None:
                pair = (config.tls_key.read_bytes(), config.tls_certificate.read_bytes())
                server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                server.add_insecure_port(address)
        except OSError as error:
            raise InvalidInput("the TLS certificate or key cannot be read") from error
        except RuntimeError as error:
            raise Conflict(f"port {config.port} cannot be listened on; is it in use?") from error
        if config.metrics_port:
            try:
                start_http_server(config.metrics_port, config.host)
            except OSError as error:
                raise Conflict(f"port {config.metrics_port} cannot be listened on; is it in use?") from error
        await server.start()
        print(f"edit service listens on {address}, metrics on {config.metrics_port or 'no port'}", flush=True)
        return server

    async def _engine(self) -> None:
        """Load the engine, then watch it; returns only by raising."""
        ENGINE.state("loading")
        config = self._config.engine
        logger.info("loading the engine %s", " ".join(filter(None, (config.engine, config.model))))
        self._context.generator = generator = await asyncio.to_thread(load_generator, config)
        ready, said = False, ""
        while True:
            try:
                await generator.check()
            except (Unavailable, EngineRefused) as error:
                if config.engine == "vllm":
                    raise
                if str(error) != said:
                    logger.error("%s", error)
                said = str(error)
                ENGINE.state("away")
                ready = False
                await self._set_health(_NOT_SERVING)
            else:
                if not ready:
                    print(f"the engine {generator.generator} is ready", flush=True)
                    ENGINE.state("ready")
                    await self._set_health(_SERVING)
                ready, said = True, ""
            await asyncio.sleep(_CHECK_EVERY_S)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)


def _leave() -> NoReturn:
    """End the process while a thread loads the engine, which nothing can interrupt; its own processes are killed."""
    # vLLM holds standard error meanwhile (scot.edits.engines.vllm), so this goes where the other lines go.
    print("the edit service ends: it was stopped while the engine was loading", flush=True)
    adopt_orphans()
    wait_or_kill(patience_s=0.0)
    os._exit(0)


def main(config: EditServiceConfig) -> int:
    """Serve; see :class:`EditServer`.

    Raises:
        ScotError: a port is in use, a file cannot be read, or the engine cannot be loaded or has died.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)

    async def serve() -> int:
        return await EditServer(config).run()

    try:
        return asyncio.run(serve())
    except ScotError as error:
        logger.error("the edit service ends: %s", error)
        raise
