"""The files of one folder, local or at any URL that fsspec opens (:mod:`scot.data.places`)."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from scot.data.atomic_io import write_bytes, writing
from scot.data.filesystems import filesystem, is_object_store
from scot.data.places import open_place
from scot.data.remote_errors import reaching
from scot.errors import Unavailable


class Folder:
    """Atomic writes and checked reads in one local or remote folder.

    What a remote file system raises is SCOT's error, one sentence each (:func:`scot.data.remote_errors.reaching`).

    Raises:
        InvalidInput: no file system is known for the URL, or its package is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.name = str(folder)
        self.local = isinstance(open_place(self.name), Path)
        self._fs = filesystem(self.name)
        self._root = str(self._fs._strip_protocol(self.name.rstrip("/") or self.name))

    def path(self, name: str) -> str:
        """The file system's own path of a file in this folder."""
        return f"{self._root}/{name}"

    def exists(self, name: str = "") -> bool:
        """Whether the file, or the folder itself, exists."""
        path = self.path(name) if name else self._root
        if self.local:
            return bool(self._fs.exists(path))
        with contextlib.suppress(FileNotFoundError), self._reaching("read"):
            self._fs.info(path)
            return True
        return False

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError."""
        with self._reaching("read"):
            data: bytes = self._fs.cat_file(self.path(name))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically: a reader sees the whole file or none.

        Raises:
            Unavailable: the disk is full, or the folder cannot be written.
        """
        if self.local:
            write_bytes(Path(self.path(name)), data, what=self.name)
            return
        with self._writing():
            if is_object_store(self.name):
                self._fs.pipe_file(self.path(name), data)
                return
            temporary = self.path(f".{name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(temporary, data)
                self._fs.mv(temporary, self.path(name))
            except BaseException:
                with contextlib.suppress(OSError):
                    self._fs.rm_file(temporary)
                raise

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; returns whether it was written. Atomic only if the store can refuse a put."""
        with self._writing():
            try:
                if not is_object_store(self.name):
                    self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(self.path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def _reaching(self, done: str) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self.local else reaching(self.name, done=done)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with writing(self.name) if self.local else reaching(self.name, done="written"):
                yield
        except FileNotFoundError as error:
            raise Unavailable(f"{self.name} cannot be written: there is no such bucket or folder") from error

    def modified(self, name: str) -> datetime | None:
        """The time a file was written, in UTC; None if the file system does not store it."""
        try:
            with self._reaching("read"):
                time: datetime = self._fs.modified(self.path(name))
        except (NotImplementedError, FileNotFoundError):
            return None
        return time

    def names(self) -> list[str]:
        """The names of the entries of this folder."""
        try:
            with self._reaching("listed"):
                paths = self._fs.ls(self._root, detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rsplit("/", 1)[-1] for path in paths if path.rstrip("/") != self._root)

    def delete(self) -> None:
        """Delete the folder and its content, if it exists."""
        with contextlib.suppress(FileNotFoundError), self._reaching("written"):
            self._fs.rm(self._root, recursive=True)

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        with contextlib.suppress(FileNotFoundError), self._reaching("written"):
            self._fs.rm_file(self.path(name))
