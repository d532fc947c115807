"""A place is a local path or a URL that fsspec opens; :func:`open_place` makes one from its name.

A :class:`RemotePath` has the methods of :class:`pathlib.Path` that the readers of sources use, so that one reader
serves both. It differs in three ways. A listing gives its files with their sizes and versions, so that none is asked
for twice. What is read is checked: a file that is not the one that was listed or opened is refused. And every error is
one sentence (:mod:`scot.data.remote_errors`).

Credentials and endpoints are those of each file system's own library: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN, or fsspec's configuration.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from scot.data.read_ahead import AT_ONCE
from scot.data.remote_errors import EXTRAS, changed, reaching
from scot.errors import InvalidInput, PermissionDenied, Unavailable

BLOCK_BYTES = 8 * 2**20
"""What a file that is read from its beginning to its end is fetched in; the next block is fetched meanwhile."""
_BLOCKS = 3  # of an open file, in memory
_URL = re.compile(r"[a-z][a-z0-9+.-]*(://|::[a-z])", re.IGNORECASE)
_CONNECTIONS = 2 * AT_ONCE
_VERSION = (
    "ETag",
    "etag",
    "generation",
    "blob_id",
    "md5Hash",
    "content_hash",
    "Last-Modified",
    "LastModified",
    "mtime",
)
_MODIFIED = ("LastModified", "mtime", "last_modified", "updated")
_NOT_LISTED = ("http", "https")
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})


def is_url(name: str | Path) -> bool:
    """Whether a name is a URL and not a local path."""
    return isinstance(name, str) and _URL.match(name) is not None


def is_object_store(url: str) -> bool:
    """Whether a file appears with all of its content where it is put, without a folder that is made before."""
    return url.partition("://")[0].lower() in _OBJECT_STORES


def open_place(name: str | Path) -> Place:
    """The place of a name; nothing is read yet.

    Raises:
        InvalidInput: no file system is known for the URL, or its package is not installed.
    """
    if not is_url(name):
        return Path(name)
    filesystem(str(name))
    url = str(name).rstrip("/")
    if url.startswith(("file://", "local://")):
        from fsspec.implementations.local import LocalFileSystem

        return Path(LocalFileSystem._strip_protocol(url))
    return RemotePath(url)


def filesystem(url: str | Path) -> Any:
    """The file system of a path or URL.

    Raises:
        InvalidInput: none is known for the URL, or its package is not installed.
    """
    protocol, _, rest = str(url).partition("://") if is_url(url) else ("file", "", "")
    if "::" in protocol or "::" in rest:
        raise InvalidInput(f"{url} is a file system inside another, which cannot be streamed: unpack it")
    return _filesystem(protocol.lower())


@lru_cache
def _filesystem(protocol: str) -> Any:
    import fsspec  # here: the client alone is installed without it

    if protocol not in fsspec.registry and protocol not in fsspec.available_protocols():
        known = ", ".join(f"{name}://" for name in EXTRAS)
        raise InvalidInput(f"there is no file system {protocol}://; known are {known} and what else fsspec has")
    with reaching(f"{protocol}://"):
        return fsspec.filesystem(protocol, **_options(protocol))


def _options(protocol: str) -> dict[str, Any]:
    """How a file system is opened; what a user has configured for fsspec comes first."""
    import fsspec

    if protocol in ("file", "local"):
        return {}
    options: dict[str, Any] = {"use_listings_cache": False}  # a source may change between two looks
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = {"max_pool_connections": _CONNECTIONS}
    return {name: value for name, value in options.items() if name not in fsspec.config.conf.get(protocol, {})}


@dataclass(frozen=True)
class RemotePath:
    """A file or folder at a URL. One that a listing gave knows its size, version and time; see the module's docstring.

    Nothing but :meth:`open`, :meth:`read_bytes`, :meth:`status`, :meth:`entries` and what they are the base of makes a
    request. Each of them raises as :func:`scot.data.remote_errors.reaching`, and FileNotFoundError.
    """

    url: str
    found: Status | None = field(default=None, compare=False)
    """What a listing said of it."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        below = str(name).strip("/")
        return RemotePath(f"{self.url}/{below}") if below not in ("", ".") else self

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.url.partition("://")[2])

    @property
    def name(self) -> str:
        """The last component."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last component without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The suffix of the last component, with its dot, or nothing."""
        return self._pure.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in; that of a bucket is the bucket."""
        head, _, _ = self.url.rpartition("/")
        return RemotePath(head) if not head.endswith(("/", ":")) else self

    def resolve(self) -> RemotePath:
        """The path itself: URLs have no links."""
        return self

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """The path below another one. Raises ValueError: it is not below it."""
        return self._pure.relative_to(other._pure)

    @property
    def fs(self) -> Any:
        """The file system."""
        return filesystem(self.url)

    @property
    def key(self) -> str:
        """The file system's own name of the path."""
        return str(self.fs._strip_protocol(self.url))

    def status(self) -> Status:
        """What a listing said of it, or what the store says now."""
        return self.found or self.now()

    def now(self) -> Status:
        """What the store says of it now."""
        try:
            with reaching(self.url):
                return Status.of(self.fs.info(self.key))
        except (PermissionDenied, Unavailable):
            # The answer to HEAD says no reason; that to GET does.
            if "/" in self.key:
                with contextlib.suppress(FileNotFoundError), reaching(self.url):
                    self.fs.cat_file(self.key, start=0, end=1)
            else:
                next(self.iterdir(), None)
            raise

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        with contextlib.suppress(FileNotFoundError):
            self.status()
            return True
        return False

    def is_file(self) -> bool:
        """Whether there is such a file."""
        with contextlib.suppress(FileNotFoundError):
            return not self.status().folder
        return False

    def is_dir(self) -> bool:
        """Whether there is such a folder. A server of HTTP has none: its pages cannot be told from files."""
        if self.url.startswith(_NOT_LISTED):
            return False
        with contextlib.suppress(FileNotFoundError):
            return self.status().folder
        return False

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in the folder, by name. Raises InvalidInput: the server cannot list."""
        if self.url.startswith(_NOT_LISTED):
            raise InvalidInput(
                f"{self.url} cannot be listed: name its tars, by a pattern if there are several, or a table"
            )
        with reaching(self.url, done="listed"):
            listed = self.fs.ls(self.key, detail=True)
        own = self.key.rstrip("/")
        for each in sorted(listed, key=lambda each: str(each["name"])):
            name = str(each["name"]).rstrip("/")
            if name != own and not (each["type"] != "directory" and str(each["name"]).endswith("/")):
                yield RemotePath(f"{self.url}/{name.rpartition('/')[2]}", Status.of(each))

    def open(
        self, mode: str = "rb", *, encoding: str | None = None, newline: str | None = None, seek: bool = False,
        ahead: bool = True,
    ) -> IO[Any]:  # fmt: skip
        """Open the file to read it.

        Args:
            mode: ``r`` or ``rb``.
            encoding: of text.
            newline: of text, as :func:`open` has it.
            seek: another place than the next one is read too; not every web server can do that.
            ahead: read it from its beginning to its end, a block ahead; or look into a small part of it.
        """
        stream = io.BufferedReader(_Reader(self, seek=seek, ahead=ahead), 2**16)
        if "b" in mode:
            return stream
        return io.TextIOWrapper(stream, encoding=encoding, newline=newline)

    def read_bytes(self, limit: int | None = None) -> bytes:
        """The file's bytes, at most ``limit`` of them.

        Raises:
            InvalidInput: the file is not the one that was listed.
        """
        with reaching(self.url):
            data: bytes = self.fs.cat_file(self.key, **({} if limit is None else {"start": 0, "end": limit}))
        if self.found is not None and limit is None and len(data) != self.found.size:
            raise changed(self.url)
        return data

    def tail(self, count: int) -> bytes:
        """The last bytes of the file."""
        with reaching(self.url):
            data: bytes = self.fs.cat_file(self.key, start=-count)
        return data


@dataclass(frozen=True, slots=True)
class Status:
    """What a store says of a file: whether it is a folder, its size in bytes, its version and its time."""

    folder: bool
    size: int
    version: str = ""
    """The ETag, the generation or the time: another one means other content."""
    modified_ns: int = 0
    """0 where the store does not say."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Status:
        """The status in what fsspec returns for a file."""
        folder = info.get("type") == "directory"
        version = next((str(info[name]) for name in _VERSION if info.get(name)), "")
        time = next((info[name] for name in _MODIFIED if hasattr(info.get(name), "timestamp")), None)
        modified_ns = 0 if time is None else int(time.timestamp() * 1_000) * 1_000_000
        return cls(folder, 0 if folder else int(info.get("size") or 0), version, modified_ns)


Place: TypeAlias = Path | RemotePath
"""A local path or a URL."""


def for_arrow(place: Place, *, ahead: bool) -> AbstractContextManager[Path | IO[bytes]]:
    """A file for pyarrow to read: ``ahead`` from its beginning to its end, or else its end alone."""
    return contextlib.nullcontext(place) if isinstance(place, Path) else place.open(seek=True, ahead=ahead)


def version_of(place: Place) -> tuple[int, str]:
    """The size and version of a file as it is now. Raises FileNotFoundError, or as :class:`RemotePath`."""
    if isinstance(place, Path):
        stat = place.stat()
        return stat.st_size, str(stat.st_mtime_ns)
    status = place.now()
    return status.size, status.version


@contextlib.contextmanager
def unchanged(place: Place) -> Iterator[None]:
    """Refuse a file that is replaced or written while the block reads it, however the block ends.

    Raises:
        InvalidInput: the file has changed.
    """
    before = version_of(place)
    try:
        yield
    except GeneratorExit:  # the reader has stopped early
        raise
    except Exception:
        if _is_other(place, before):
            raise changed(str(place)) from None
        raise
    if _is_other(place, before):
        raise changed(str(place))


def _is_other(place: Place, before: tuple[int, str]) -> bool:
    try:
        return version_of(place) != before
    except FileNotFoundError:
        return True


class _Reader(io.RawIOBase):
    """A file of fsspec as Python's own kind of file, whose errors are SCOT's."""

    def __init__(self, path: RemotePath, *, seek: bool, ahead: bool) -> None:
        self._url = path.url
        self._seekable = seek or not path.url.startswith(_NOT_LISTED)
        options: dict[str, Any] = {"block_size": 2**16, "cache_type": "readahead"}
        if not self._seekable:
            options = {"block_size": 0}  # one request, whose body is read as it comes
        elif ahead:
            options = {"block_size": BLOCK_BYTES, "cache_type": "background", "cache_options": {"maxblocks": _BLOCKS}}
        with reaching(self._url):
            self._file = path.fs.open(path.key, "rb", **options)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        with reaching(self._url):
            return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        with reaching(self._url):
            data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._file.close()
