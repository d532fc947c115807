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
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from scot.data.filesystems import filesystem, is_url
from scot.data.remote_errors import changed, reaching
from scot.data.remote_file import WEB, RemoteFile
from scot.errors import InvalidInput, PermissionDenied, Unavailable

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
        if self.url.startswith(WEB):
            return False
        with contextlib.suppress(FileNotFoundError):
            return self.status().folder
        return False

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in the folder, by name. Raises InvalidInput: the server cannot list."""
        if self.url.startswith(WEB):
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
        stream = io.BufferedReader(RemoteFile(self.url, self.fs, self.key, seek=seek, ahead=ahead), 2**16)
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


def below(place: Place, folder: Place) -> str:
    """The path of a place below a folder."""
    if isinstance(place, RemotePath):
        return "." if place == folder else place.url.removeprefix(f"{folder}/")
    return place.relative_to(str(folder)).as_posix()


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
