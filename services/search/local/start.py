"""The search service on this machine: ``python -m services.search.local --data ./scot-data``.

Starts a Ray of its own (it never joins another one), deploys the application on it, prints one line with its address,
and runs until Ctrl-C or SIGTERM. Then it stops everything that it started. While it runs, a version that is released in
DATA/composers answers a second later.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from scot import flags
from scot.child_processes import adopt_orphans, wait_or_kill
from scot.errors import Unavailable
from scot.index.store_folder import check_free
from scot.ports import check_port
from services.access import Keys
from services.search import tracing
from services.search.local.config import LocalConfig
from services.search.local.ray_runtime import (
    APP,
    direct_ingress,
    environment,
    import_application,
    reload_composers,
    start_application,
    start_ray,
    stop_ray,
)
from services.search.local.web import web_beside
from services.search.settings import SearchSettings

_START_S, _POLL_S = 900.0, 0.2
_STOP_S = 60.0
_FOLLOW_S, _RETRY_S = 1.0, 10.0
_WITH_COMPOSER = "tiny"  # the encoder of scot.composers.packaged, without importing torch
_RELEASED = "released.json"  # scot.composers.registry.RELEASED, without importing torch


def main(config: LocalConfig) -> int:
    """Serve until a signal; returns 0 after a signal while it was listening, 130 after one before.

    Raises:
        Conflict: the port or the data is in use.
        ScotError: the application cannot start; the message says why.
    """
    stop = threading.Event()
    with Signals(stop) as signals:
        settings = config.settings()
        check_port(config.port)
        for port in (config.metrics_port, config.web_port if config.web else 0):
            if port:
                check_port(port)
        tracing.environment()  # reports errors before anything starts
        if settings.service.api_keys:
            Keys(settings.service.api_keys)
        if settings.store:
            check_free(Path(settings.store))
        registry = Path(str(settings.composers))
        released = released_file(registry)  # before the service reads it
        adopt_orphans()
        print(f"starting SCOT with encoder {settings.service.encoder} …", file=sys.stderr, flush=True)
        try:
            _start(config, settings, signals, stop)
            if stop.is_set():
                return 130
            print(f"SCOT listens on localhost:{config.port} (gRPC); data in {config.data}; Ctrl-C stops it", flush=True)
            if hint := composer_hint(settings, released):
                print(hint, flush=True)
            with web_beside(config, stop):
                follow_releases(registry, released, stop, reload_composers)
            return 0
        finally:
            stop_ray()


def _start(config: LocalConfig, settings: SearchSettings, signals: Signals, stop: threading.Event) -> None:
    os.environ.update(environment(config) | direct_ingress(config.port))
    from services.search.local.starting import answering  # imports gRPC, which reads the environment

    with answering(config.port), ThreadPoolExecutor(1) as pool:
        import ray  # noqa: F401  # first and in this thread; the rest of what is needed is imported while Ray starts

        imported = pool.submit(import_application)
        # During these calls a signal only sets ``stop``: an exception would make them lose track of what they started.
        start_ray(config, signals.install, stop)
        if stop.is_set():
            return
        start_application(imported.result().build(flags.flat(settings)))
        _wait(lambda: _runs(settings), stop)
    _wait(lambda: _runs(settings) and _answers(config.port), stop)


def _runs(settings: SearchSettings) -> bool:
    """Whether the application runs. Raises ScotError when it has failed."""
    from ray import serve

    app = serve.status().applications.get(APP)
    if app and app.status in ("DEPLOY_FAILED", "UNHEALTHY"):
        stop_ray()
        _explain(settings)
        raise Unavailable("the search service did not start; Ray's session log says why")
    return app is not None and app.status == "RUNNING"


def _wait(condition: Callable[[], bool], stop: threading.Event) -> None:
    """Wait until it holds, or for ``stop``. Raises Unavailable after the longest time that a start may take."""
    deadline = time.monotonic() + _START_S
    while not stop.is_set() and not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"the search service did not start within {_START_S:.0f} seconds")
        stop.wait(_POLL_S)


def released_file(registry: Path) -> tuple[int, int] | None:
    """Identifies the file that names the released version; it is replaced at every release. None: there is none."""
    try:
        status = (registry / _RELEASED).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def composer_hint(settings: SearchSettings, released: tuple[int, int] | None) -> str:
    """How to get a learned composer, where none answers; empty where one does, or another default was chosen."""
    encoder = settings.service.encoder
    if released is not None or settings.service.rollout.default or encoder == _WITH_COMPOSER:
        return ""
    return (
        f"no composer of {encoder} is released yet, so the sum of image and edit answers; `scot composers bootstrap "
        f"--encoder {encoder} --images PICTURES --composers {settings.composers}` learns one, which answers without a "
        "restart"
    )


def follow_releases(
    registry: Path, applied: tuple[int, int] | None, stop: threading.Event, reload: Callable[[], str]
) -> None:
    """Until ``stop``: after each release, reload the composers and print which one answers; a failure is tried again.

    Args:
        registry: the folder of the composers.
        applied: the :func:`released_file` that the service has read.
        stop: ends the loop.
        reload: makes the service read the registry; returns the composer that answers then.
    """
    while not stop.wait(_FOLLOW_S):
        released = released_file(registry)
        if released == applied:
            continue
        try:
            print(f"composer {reload()} answers now", flush=True)
        except Exception as error:
            print(f"the release is not applied yet: {error}", file=sys.stderr, flush=True)
            stop.wait(_RETRY_S)
        else:
            applied = released


def _answers(port: int) -> bool:
    from scot.client import ScotClient

    with ScotClient(f"localhost:{port}") as client:
        return client.healthy()


def _explain(settings: SearchSettings) -> None:
    """Repeat in this process what failed in the replicas, to get the reason as one sentence. Raises ScotError."""
    from scot.composers import Registry
    from scot.index.store import GalleryStore
    from services.search.composer.loaded_composers import LoadedComposers

    service = settings.service
    encoder = service.load_encoder()
    registry = Registry(settings.composers) if settings.composers else None
    LoadedComposers(registry, encoder).roll_out(service.rollout)

    async def open_store() -> None:
        store = GalleryStore.open(path=settings.store, server=service.qdrant, params=service.search)
        try:
            await store.ensure(service.collection, encoder.id, encoder.dim, service.collections)
        finally:
            await store.close()

    asyncio.run(open_store())


class Signals:
    """While it is entered, SIGINT and SIGTERM set ``stop``; a second signal, or a slow stop, kills everything."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __enter__(self) -> Signals:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.install()
        return self

    def install(self) -> None:
        """Install the handlers, which Ray's start replaces."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            self._kill()
        self._stop.set()
        # Ray can hang in its own start when one of its processes has died; still, nothing may be left running.
        alarm = threading.Timer(_STOP_S, self._kill)
        alarm.daemon = True
        alarm.start()

    @staticmethod
    def _kill() -> None:
        wait_or_kill(patience_s=0)
        os._exit(130)
