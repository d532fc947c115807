"""A server process of a benchmark, and the memory of all that it started."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from scot.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    target: str
    process: psutil.Process

    def memory_mib(self) -> float:
        """MiB of the process and its descendants, each shared page divided among those that share it (PSS)."""
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
        return total / 2**20


def prints_a_line(process: subprocess.Popen[str], port: int) -> bool:
    """Wait for the first line of a server that says that it is ready; False if it ended without."""
    assert process.stdout is not None
    return bool(process.stdout.readline())


@contextmanager
def server(
    command: Sequence[str],
    *,
    ready: Callable[[subprocess.Popen[str], int], bool] = prints_a_line,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Iterator[Server]:
    """Start ``command --port PORT``, which stops at SIGINT, and wait for it.

    ``log`` is the file to which its standard error is appended; by default it is this process's.

    Raises:
        Unavailable: it ended before it was ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("a") if log else nullcontext() as errors:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=subprocess.PIPE, stderr=errors, text=True, env=env, cwd=cwd
        )
    try:
        if not ready(process, port):
            raise Unavailable(f"{' '.join(command[:3])} … did not start")
        # A server whose output nobody reads stops when the pipe is full.
        threading.Thread(target=lambda: deque(process.stdout or (), maxlen=0), daemon=True).start()
        yield Server(f"localhost:{port}", psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
