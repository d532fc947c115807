"""The folder of the embedded store: one process has it open, and its disk has to have room."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from scot.data.atomic_io import locked
from scot.errors import InvalidInput, Overloaded, Unavailable

_RESERVED_BYTES = 256 * 2**20
"""What must be free on the disk for a write: the engine's files grow by 32 MiB at a time."""


def check_free(path: Path) -> None:
    """Make the store's folder if it is missing, and check that no process has the store open.

    Raises:
        Conflict: another process has it open.
        InvalidInput: the folder cannot be made or written.
    """
    with open_folder(path):
        pass


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is missing. Raises Conflict, InvalidInput."""
    in_use = f"the store at {path} is open in another process; stop that one first, or use a Qdrant server"
    try:
        with locked(path / ".lock", wait=False, what=f"the store at {path}", busy=in_use):
            yield
    except Unavailable as error:
        raise InvalidInput(str(error)) from error


def check_room(path: Path) -> None:
    """Raise Overloaded if the disk is nearly full: the engine writes to mapped files, and would be killed."""
    if shutil.disk_usage(path).free < _RESERVED_BYTES:
        raise Overloaded(
            f"the vector store has no room left: less than {_RESERVED_BYTES // 2**20} MB are free on its disk"
        )


def check_room_for_copy(path: Path, shard: Path) -> None:
    """Raise Overloaded if the disk has no room for a copy of a shard's folder and the graph built on it."""
    size = sum(file.stat().st_size for file in shard.rglob("*") if file.is_file())
    needed, free = 2 * size + _RESERVED_BYTES, shutil.disk_usage(path).free
    if free < needed:
        raise Overloaded(
            f"building the graph needs {needed / 2**30:.1f} GB of free disk, and {free / 2**30:.1f} are free; "
            "searches compare every vector until then"
        )
