"""What SIGTERM does to a job: an exception where workers or a private Ray must stop, else an end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scot.child_processes import adopt_orphans, wait_or_kill

SIGTERM_CODE = 128 + signal.SIGTERM
"""The exit code of a job that SIGTERM has ended."""
_stderr = [2]


class Terminated(KeyboardInterrupt):
    """SIGTERM; :func:`scot.flags.run` ends with :data:`SIGTERM_CODE`."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises :class:`Terminated` in the block, in the main thread; elsewhere nothing changes."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    with _handler(stop):
        yield


@contextmanager
def sigterm_exits(command: str) -> Iterator[None]:
    """SIGTERM ends the process in the block, and all that it started, with one sentence.

    For work of which nothing is lost: an exception would pass through a library that loads a model, and some
    libraries swallow it.
    """

    def stop(number: int, frame: object) -> None:
        os.write(_stderr[-1], f"{command}: ended by SIGTERM\n".encode())
        adopt_orphans()
        wait_or_kill(patience_s=0.0)
        os._exit(SIGTERM_CODE)

    with _handler(stop):
        yield


@contextmanager
def stderr_stands_in(descriptor: int) -> Iterator[None]:
    """While the block has redirected standard error, this descriptor is the real one."""
    _stderr.append(descriptor)
    try:
        yield
    finally:
        _stderr.pop()


@contextmanager
def _handler(stop: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
