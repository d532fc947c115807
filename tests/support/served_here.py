"""The search service without Ray: the real gateway, towers and embedded store behind a gRPC server of this process.

Serve's proxies, replicas and handles are not there; everything that SCOT itself checks, decodes, composes and answers
is. It starts in a second, and a request takes milliseconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc

from services.search.composer.encoder_replica import EncoderReplica
from services.search.composer.replica import ComposerReplica
from services.search.gateway.gateway import Gateway
from services.search.rpc.limits import MAX_MESSAGE_BYTES
from services.search.servicers import add_health, add_index, add_search
from services.search.settings import SearchSettings


class Handle:
    """What a deployment handle is to whoever calls: ``handle.method.remote(...)`` is awaited."""

    def __init__(self, replica: Any) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._replica, name))


class _Gateway(Gateway):
    async def close(self) -> None:
        await Gateway.__del__(self)

    def __del__(self) -> None:  # Serve awaits the original
        pass


@contextmanager
def served_here(settings: SearchSettings, *, port: int = 0) -> Iterator[str]:
    """The service of these settings, on a port of its own or this one; its HOST:PORT."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    async def begin() -> tuple[Any, Any, int]:
        composer = ComposerReplica(settings)
        await composer.reconfigure({"default": ""})
        gateway: Any = _Gateway.__new__(_Gateway)
        await gateway.__init__(settings, Handle(composer), Handle(EncoderReplica(settings)))
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
        for add in (add_search, add_index, add_health):
            add(gateway, server)
        listening = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return gateway, server, listening

    try:
        gateway, server, listening = run(begin())
        try:
            yield f"127.0.0.1:{listening}"
        finally:
            run(server.stop(None))
            run(gateway.close())
    finally:
        run(_cancel_the_rest())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
