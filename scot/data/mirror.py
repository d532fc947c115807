"""A local working folder of a folder at a URL: for what appends, renames, or writes with libraries that know no URLs.

What is finished is uploaded: new and changed files, each whole; those that mark others as complete come last, so that a
reader of the URL, or a run that continues from it, never takes half of something for all of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from scot.data.atomic_io import locked, write_bytes, writing
from scot.data.filesystems import is_url
from scot.data.places import RemotePath
from scot.data.read_ahead import read_ahead
from scot.data.storage import Folder
from scot.errors import Conflict

_IN_PROGRESS = ".tmp"


def scratch_folder() -> Path:
    """This user's folder for copies, in the temporary folder of the system.

    Raises:
        Unavailable: it cannot be created.
        Conflict: it belongs to another user.
    """
    if not hasattr(os, "getuid"):  # Windows, where each user has a temporary folder
        return Path(tempfile.gettempdir()) / "scot"
    place = Path(tempfile.gettempdir()) / f"scot-{os.getuid()}"
    with writing(f"the scratch folder {place}"):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = place.stat().st_uid
    if owner != os.getuid():
        raise Conflict(f"the scratch folder {place} belongs to another user: choose another --scratch")
    return place


class Mirror:
    """The working folder of a URL.

    Args:
        url: the folder at the URL.
        local: the working folder; by default one in the scratch folder, the same for the same URL.
        last: names of files, in order, that are uploaded after all others: they say that these are complete.
    """

    def __init__(self, url: str, local: Path | None = None, *, last: Sequence[str] = ()) -> None:
        self.url, self._last = url.rstrip("/"), tuple(last)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.local = local or scratch_folder() / "urls" / name
        self._stored: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Make the working folder what the URL holds. Raises as :func:`scot.data.remote_errors.reaching`."""
        with locked(self.local.with_name(f"{self.local.name}.lock")):  # several workers of a machine share it
            there = dict(_files(RemotePath(self.url)))
            for path, data in read_ahead(there.items(), lambda each: (each[0], each[1].read_bytes())):
                write_bytes(self.local / path, data, durable=False)
            for path in self._here():
                if path not in there:
                    (self.local / path).unlink(missing_ok=True)
        self._stored = self._here()

    def store(self) -> None:
        """Upload what is new or has changed since the last time, then delete at the URL what was deleted here.

        Raises:
            Unavailable, PermissionDenied: the URL cannot be written.
        """
        here = self._here()
        changed = [path for path, about in here.items() if self._stored.get(path) != about]
        ranks = {path: self._rank(path) for path in changed}
        for rank in sorted(set(ranks.values())):
            for path in read_ahead([each for each in changed if ranks[each] == rank], self._put):
                self._stored[path] = here[path]
        for path in [each for each in self._stored if each not in here]:
            self._folder(path).remove(PurePosixPath(path).name)
            del self._stored[path]

    def _put(self, path: str) -> str:
        self._folder(path).write(PurePosixPath(path).name, (self.local / path).read_bytes())
        return path

    def _folder(self, path: str) -> Folder:
        above = PurePosixPath(path).parent.as_posix()
        return Folder(self.url if above == "." else f"{self.url}/{above}")

    def _rank(self, path: str) -> int:
        name = PurePosixPath(path).name
        return self._last.index(name) + 1 if name in self._last else 0

    def _here(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for folder, folders, files in os.walk(self.local):
            folders[:] = sorted(each for each in folders if not each.endswith(_IN_PROGRESS))
            for name in sorted(files):
                if not name.endswith((_IN_PROGRESS, ".lock")):
                    with contextlib.suppress(FileNotFoundError):
                        stat = Path(folder, name).stat()
                        path = Path(folder, name).relative_to(self.local).as_posix()
                        found[path] = stat.st_size, stat.st_mtime_ns
        return found


@contextlib.contextmanager
def working_folder(output: str | Path, *, last: Sequence[str] = ()) -> Iterator[Path]:
    """The folder of an output: itself, or for a URL one that has what the URL holds, uploaded when the block ends.

    Raises:
        PermissionDenied, Unavailable: the URL cannot be read or written.
    """
    if not is_url(str(output)):
        yield Path(output)
        return
    with tempfile.TemporaryDirectory(prefix="scot-") as temporary:
        mirror = Mirror(str(output), Path(temporary) / "output", last=last)
        mirror.fetch()
        yield mirror.local
        mirror.store()


def _files(folder: RemotePath, above: str = "") -> Iterator[tuple[str, RemotePath]]:
    """The files below a folder, by their paths in it; none if there is no such folder."""
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError:
        return
    for each in entries:
        if each.is_dir():
            yield from _files(each, f"{above}{each.name}/")
        elif not each.name.endswith(".lock"):
            yield f"{above}{each.name}", each
