"""The process: uvicorn with the application; at SIGTERM and Ctrl-C, requests under way are answered.

The one place that changes ``encoded_headers``, the headers that uvicorn has read from its configuration.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
import threading
from types import FrameType

import uvicorn
import uvloop
from prometheus_client import start_http_server

from scot.errors import Conflict, InvalidInput
from scot.ports import check_port
from services.web.app import build
from services.web.config import WebConfig
from services.web.protocol import bounded

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75  # longer than the 60 seconds after which proxies close idle connections themselves


def main(config: WebConfig) -> int:
    """Serve until a signal; returns 0.

    Raises:
        Conflict: a port is in use.
        InvalidInput: a port, a host, an origin or a TLS file cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    listening = _listen(config)
    if config.metrics_port:
        try:
            start_http_server(config.metrics_port, config.host)
        except OSError as error:
            raise Conflict(f"port {config.metrics_port} cannot be listened on; is it in use?") from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, listening))
    return 0


async def _serve(config: WebConfig, listening: socket.socket) -> None:
    settings = uvicorn.Config(
        build(config),  # here, because a channel of grpc.aio belongs to the running loop
        http=bounded(config.header_timeout_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=config.drain_s,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput("the TLS certificate or key cannot be read") from error
    server = _Server(settings, config.stop_delay_s)
    # uvicorn has handlers only while it serves. A signal that comes before counts too, and one that is raised again
    # after uvicorn has stopped is ignored, so that this process ends by itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    print(f"SCOT's web service listens on {url(config)} for {config.address}; /docs describes it", flush=True)
    await server.serve(sockets=[listening])


class _Server(uvicorn.Server):
    """Goes on for a while after SIGTERM. A caller's next request would else meet a connection that is just closed."""

    def __init__(self, config: uvicorn.Config, stop_delay_s: float) -> None:
        super().__init__(config)
        self._stop_delay_s = stop_delay_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal's handler; a second signal ends the delay."""
        if sig == signal.SIGTERM and self._stop_delay_s:
            self.config.encoded_headers.append((b"connection", b"close"))  # uvicorn looks here once a second
            later = threading.Timer(self._stop_delay_s, super().handle_exit, (sig, frame))
            self._stop_delay_s, later.daemon = 0.0, True
            later.start()
        else:
            super().handle_exit(sig, frame)


def url(config: WebConfig) -> str:
    """Where a browser on this machine finds the service."""
    host = {"127.0.0.1": "localhost", "::1": "localhost", "0.0.0.0": "localhost", "::": "localhost"}
    scheme = "http" if config.tls_certificate is None else "https"
    return f"{scheme}://{host.get(config.host, config.host)}:{config.port}"


def _listen(config: WebConfig) -> socket.socket:
    check_port(config.port)
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise InvalidInput(f"host: {config.host!r} is no address of this machine") from error
    except OSError as error:
        raise Conflict(f"{config.host}:{config.port} cannot be listened on: {error.strerror}") from error
