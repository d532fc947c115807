"""`scot serve` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryFile

import pytest


@contextmanager
def scot_serve(port: int, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A service that listens; Ctrl-C ends it, and must end it well."""
    with TemporaryFile("w+") as said:  # a pipe that nobody reads would hold it up once it is full
        process = subprocess.Popen(
            [sys.executable, "-m", "services.search.local", "--threads", "1", "--port", str(port), *flags],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        if f"listens on localhost:{port}" not in first:
            process.kill()
            process.wait()
            said.seek(0)
            pytest.fail(f"did not start: {first} {said.read()}")
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=180)
        assert process.returncode == 0
