"""The web service beside the search service: ``scot serve --web``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from scot.bundled import python_path
from scot.errors import Unavailable
from services.search.local.config import LocalConfig

_PATIENCE_S = 10.0


@contextmanager
def web_beside(config: LocalConfig, stop: threading.Event) -> Iterator[None]:
    """Run ``scot web`` while the block runs, if the config says so; it prints its own address.

    Raises:
        Unavailable: it ended by itself; ``stop`` is set then, so that the block ends too.
    """
    if not config.web:
        yield
        return
    place = ("--address", f"localhost:{config.port}", "--port", str(config.web_port), "--host", "127.0.0.1")
    # Variables that are meant for the search service are not meant for it: a metrics port is taken already.
    command = [sys.executable, "-m", "services.web", *place, "--metrics-port", "0", "--no-tls", "--no-request-log"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": python_path()})
    ended_by_itself = threading.Event()

    def watch() -> None:
        process.wait()
        if not stop.is_set():
            ended_by_itself.set()
            stop.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        stop.set()
        process.terminate()
        watching.join(_PATIENCE_S)
        if watching.is_alive():
            process.kill()
            watching.join()
    if ended_by_itself.is_set():
        raise Unavailable(f"the web service ended with exit code {process.returncode}; its lines above say why")
