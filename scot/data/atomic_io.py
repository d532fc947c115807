"""Files and folders that appear complete or not at all, and a lock between the processes of one machine.

What is written goes to a temporary name beside the target and reaches the disk before it is renamed. After the rename
the parent folder is flushed too, so the result survives a power cut. URLs: :class:`scot.data.storage.Folder`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import portalocker

from scot.errors import Conflict, Unavailable

if TYPE_CHECKING:
    import torch

_WINDOWS = os.name == "nt"


@contextlib.contextmanager
def atomic_file(target: Path, *, what: str = "", durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path; the file that the block writes there replaces ``target`` when the block succeeds.

    Args:
        target: the file to write. Its folder is created if it is missing.
        what: what the error message says cannot be written; by default the path of ``target``.
        durable: wait for the disk. Without, a power cut may leave a damaged file, which the reader must detect.

    Raises:
        Unavailable: the disk is full, or the folder is not writable. ``target`` is unchanged.
    """
    with _temporary(target, what, durable) as temporary:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(target)


@contextlib.contextmanager
def atomic_folder(target: Path, *, replace: bool = False, what: str = "") -> Iterator[Path]:
    """Yield a temporary folder, which becomes ``target`` when the block succeeds.

    Args:
        target: the folder to make. Its parent is created if it is missing.
        replace: delete the folder that exists under this name just before the rename.
        what: what the error message says cannot be written; by default the path of ``target``.

    Raises:
        Unavailable: the disk is full, or the parent folder is not writable.
        Conflict: ``target`` exists and is not an empty folder, and ``replace`` is not set.
    """
    with _temporary(target, what) as temporary:
        temporary.mkdir()
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        if replace:
            shutil.rmtree(target, ignore_errors=True)
        try:
            temporary.rename(target)
        except OSError as error:
            if target.exists():
                raise Conflict(f"{target} already exists") from error
            raise


def write_bytes(target: Path, data: bytes, *, what: str = "", durable: bool = True) -> None:
    """Write a file atomically. Raises as :func:`atomic_file`."""
    with atomic_file(target, what=what, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_json(target: Path, value: Any, *, what: str = "") -> None:
    """Write a value as JSON atomically. Raises as :func:`atomic_file`."""
    write_bytes(target, json.dumps(value, indent=1).encode(), what=what)


def write_tensors(
    target: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None, *, what: str = ""
) -> None:
    """Write tensors as a safetensors file atomically. Raises as :func:`atomic_file`."""
    from safetensors.torch import save_file

    with atomic_file(target, what=what) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, None if metadata is None else dict(metadata))


@contextlib.contextmanager
def locked(file: Path, *, wait: bool = True, what: str = "", busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on ``file`` while the block runs; no two processes of this machine hold it at once.

    Args:
        file: the lock file. It and its folder are created if they are missing; it is never deleted.
        wait: wait until the lock is free.
        what: what the error message says cannot be written; by default the path of ``file``.
        busy: the message of ``Conflict``.

    Raises:
        Conflict: another process holds the lock, and ``wait`` is not set.
        Unavailable: the lock file cannot be written.
    """
    with writing(what or str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = file.open("a+")
    flags = portalocker.LockFlags.EXCLUSIVE
    with handle:
        try:
            portalocker.lock(handle, flags if wait else flags | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.exceptions.LockException as error:
            raise Conflict(busy or f"another process holds the lock {file}") from error
        yield


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Report an OSError of the block as Unavailable: ``what`` cannot be written, and why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Unavailable(f"{what} cannot be written: {reason}") from error


@contextlib.contextmanager
def _temporary(target: Path, what: str, durable: bool = True) -> Iterator[Path]:
    """Yield an unused name beside ``target``; flush the renamed entry, or delete what a failed block left."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    with writing(what or str(target)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                _flush(target.parent)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until the disk has a file's content or a folder's entries. Windows cannot flush a folder."""
    if _WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
