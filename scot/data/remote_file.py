"""A file of fsspec as Python's own kind of file, whose errors are SCOT's."""

from __future__ import annotations

import io
from typing import Any

from scot.data.remote_errors import reaching

BLOCK_BYTES = 8 * 2**20
"""What a file that is read from its beginning to its end is fetched in; the next block is fetched meanwhile."""
_BLOCKS = 3  # of an open file, in memory
WEB = ("http", "https")
"""The protocols of servers that list nothing, and may send whole files alone."""


class RemoteFile(io.RawIOBase):
    """A file of fsspec as Python's own kind of file, whose errors are SCOT's.

    Args:
        url: its URL, which errors name.
        fs: its file system.
        key: the file system's name of it.
        seek: another place than the next one is read too.
        ahead: read from its beginning to its end, a block ahead; or a small part.
    """

    def __init__(self, url: str, fs: Any, key: str, *, seek: bool, ahead: bool) -> None:
        self._url = url
        self._seekable = seek or not url.startswith(WEB)
        options: dict[str, Any] = {"block_size": 2**16, "cache_type": "readahead"}
        if not self._seekable:
            options = {"block_size": 0}  # one request, whose body is read as it comes
        elif ahead:
            options = {"block_size": BLOCK_BYTES, "cache_type": "background", "cache_options": {"maxblocks": _BLOCKS}}
        with reaching(self._url):
            self._file = fs.open(key, "rb", **options)

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether another place than the next one can be read."""
        return self._seekable

    def tell(self) -> int:
        """The place that is read next."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to another place."""
        with reaching(self._url):
            return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as there are bytes; the number of these."""
        view = memoryview(buffer).cast("B")
        with reaching(self._url):
            data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file and end its thread."""
        if not self.closed:
            super().close()
            self._file.close()
