"""One run at a time writes an output: a lock between the processes of a machine, or a lease at a URL.

Object stores have no locks. A lease is an object that is created only if it is not there, and rewritten every few
seconds by the run that made it. Another run watches it: one that changes has a living owner, one that does not for long
enough has a dead one, and is taken over. Only changes count, so that no two clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from scot.data.atomic_io import locked
from scot.data.storage import Folder
from scot.errors import Conflict, ScotError
from scot.progress import SILENT, Progress

LOCK = ".lock"
BEAT_S, DEAD_S, LOOK_S = 5.0, 20.0, 1.0
"""How often a lease is rewritten, after which time without a change its owner is dead, and how often that is looked."""


@contextlib.contextmanager
def one_writer(
    output: str, *, wait: bool = False, lock: str = LOCK, busy: str = "", progress: Progress = SILENT
) -> Iterator[Callable[[], None]]:
    """Hold an output alone during the block; the yielded function raises Conflict if another run has taken it over.

    Args:
        output: a folder or a URL.
        wait: wait while another run writes it.
        lock: the name of the lock in it.
        busy: the message of Conflict.
        progress: receives a line while a lease of an earlier run is watched.

    Raises:
        Conflict: another run writes it, and ``wait`` is not set.
        Unavailable, PermissionDenied: it cannot be written.
    """
    folder = Folder(output)
    busy = busy or f"another run writes {output}: wait until it has finished, or name another --output"
    if folder.local:
        with locked(Path(folder.path(lock)), wait=wait, what=output, busy=busy):
            yield lambda: None
        return
    lease = _Lease(folder, lock, busy, wait=wait)
    lease.take(progress)
    try:
        yield lease.check
    finally:
        lease.release()


class _Lease:
    """The lease of one run on one folder."""

    def __init__(self, folder: Folder, name: str, busy: str, *, wait: bool) -> None:
        self._folder, self._name, self._busy, self._wait = folder, name, busy, wait
        self._owner, self._beats = uuid.uuid4().hex, 0
        self._host = f"{socket.gethostname()} (process {os.getpid()})"
        self._written = time.monotonic()
        self._lost, self._done, self._turn = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def take(self, progress: Progress) -> None:
        """Create the lease, or take over that of a dead run. Raises Conflict: its run is alive."""
        while not self._folder.create(self._name, self._content()):
            dead = self._watch(progress)
            if dead and self._read() == dead:  # nobody else has taken it over
                self._folder.remove(self._name)
        self._written = time.monotonic()
        self._thread.start()

    def check(self) -> None:
        """Raise Conflict if another run has taken the lease."""
        with self._turn:
            if time.monotonic() - self._written > DEAD_S / 2 and self._read() != self._content():
                self._lost.set()
        if self._lost.is_set():
            raise Conflict(f"{self._busy}; it took the output over while this run could not reach it")

    def release(self) -> None:
        """Stop, and delete the lease if it is still this run's."""
        self._done.set()
        self._thread.join()
        with contextlib.suppress(ScotError, OSError):
            if self._read() == self._content():
                self._folder.remove(self._name)

    def _watch(self, progress: Progress) -> bytes:
        """Watch a lease until it is gone, or has not changed for so long that its owner must be dead: returns it."""
        seen, since = self._read(), time.monotonic()
        if seen and not self._wait:
            progress.line(f"{self._folder.name} has the lock of a run: looking for {DEAD_S:.0f} s whether it is alive")
        while seen and time.monotonic() - since < DEAD_S:
            time.sleep(LOOK_S)
            if (now := self._read()) != seen:
                if now and not self._wait:
                    raise Conflict(f"{self._busy}; it runs on {_host(now)}")
                seen, since = now, time.monotonic()
        return seen

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            with contextlib.suppress(ScotError, OSError), self._turn:  # the store may come back in time
                if self._read() != self._content():
                    self._lost.set()
                    return
                self._folder.write(self._name, self._content(self._beats + 1))
                self._beats += 1
                self._written = time.monotonic()

    def _content(self, beats: int | None = None) -> bytes:
        beat = self._beats if beats is None else beats
        return json.dumps({"owner": self._owner, "host": self._host, "beat": beat}).encode()

    def _read(self) -> bytes:
        try:
            return self._folder.read(self._name)
        except FileNotFoundError:
            return b""


def _host(content: bytes) -> str:
    try:
        return str(json.loads(content)["host"])
    except (ValueError, KeyError, TypeError):
        return "another machine"
