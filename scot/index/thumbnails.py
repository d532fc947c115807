"""Thumbnails of the items: small WebP images, made once while indexing, in a folder beside the store or at a URL.

A thumbnail is ``COLLECTION/NN/POINT_ID.webp``: names that SCOT makes, so no id of a caller can lead out of the folder.
A new local folder is marked as a cache (``CACHEDIR.TAG``), so that no thumbnail is ever indexed as an image.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from PIL import Image

from scot.data import paths
from scot.data.atomic_io import atomic_folder, write_bytes, writing
from scot.data.filesystems import filesystem, is_object_store
from scot.data.places import open_place
from scot.data.remote_errors import reaching
from scot.errors import Conflict, Unavailable
from scot.index.payload import point_id

Result = TypeVar("Result")

SIDE = 256
"""The longest side of a thumbnail, in pixels."""
CONTENT_TYPE = "image/webp"
_QUALITY, _METHOD = 75, 0  # a third of the time of the default method 4, for a quarter more bytes
_THREADS = 8  # for a remote file system, where each file is a request


class Thumbnails:
    """The thumbnails of a store's items, by collection and item id.

    Args:
        url: a local folder, which is created with the first thumbnail, or any URL that fsspec opens.

    Raises:
        InvalidInput: no file system is known for the URL.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self._local = isinstance(open_place(self.url), Path)
        self._fs = filesystem(self.url)
        self._root = str(self._fs._strip_protocol(self.url))

    @classmethod
    def beside(cls, store: Path) -> Path:
        """The folder of the thumbnails of an embedded store: ``thumbnails``, beside the store's folder."""
        return store.parent / "thumbnails"

    def write(self, collection: str, item_id: str, image: Image.Image) -> None:
        """Make and store the thumbnail of an upright sRGB image; an earlier one is replaced atomically.

        Raises:
            Unavailable: the folder cannot be written.
        """
        path, data = self._path(collection, item_id), encode(image)
        if self._local:
            self._make_folder(Path(self._root))
            # Not flushed to the disk: a thumbnail that a power cut has damaged is read as missing.
            write_bytes(Path(path), data, what=f"the thumbnail folder {self.url}", durable=False)
            return
        with reaching(self.url, done="written"):
            if not is_object_store(self.url):
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)

    def missing(self, collection: str, item_id: str) -> bool:
        """Whether an item has no thumbnail in a local folder; at a URL, where each look is a request, False."""
        return self._local and not os.path.exists(self._path(collection, item_id))  # noqa: PTH110  # ten times as fast

    def read(self, collection: str, item_ids: Iterable[str]) -> dict[str, bytes]:
        """The thumbnails that exist, as WebP. Raises Unavailable: the folder cannot be read."""

        def one(item_id: str) -> tuple[str, bytes]:
            try:
                data = bytes(self._fs.cat_file(self._path(collection, item_id)))
            except FileNotFoundError:
                return item_id, b""
            except Exception as error:  # of whatever library
                reason = getattr(error, "strerror", "") or type(error).__name__  # callers need not know the folders
                raise Unavailable(f"the thumbnails cannot be read: {reason}") from error
            return item_id, data if _is_whole(data) else b""

        return {item_id: data for item_id, data in self._each(one, item_ids) if data}

    def delete(self, collection: str, item_ids: Iterable[str]) -> None:
        """Delete the thumbnails of items that exist. Raises Unavailable: the folder cannot be written."""

        def one(item_id: str) -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(collection, item_id))

        with self._writing():
            self._each(one, item_ids)

    def drop(self, collection: str) -> None:
        """Delete all thumbnails of a collection. Raises Unavailable: the folder cannot be written."""
        with self._writing(), suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{_folder(collection)}", recursive=True)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(f"the thumbnail folder {self.url}") if self._local else reaching(self.url, done="written")

    def _make_folder(self, folder: Path) -> None:
        """Make the folder, if it is missing, with the mark in it: it may lie in a folder that is being indexed."""
        if folder.exists():
            return
        with suppress(Conflict), atomic_folder(folder, what=f"the thumbnail folder {self.url}") as new:
            tag = paths.CACHE_SIGNATURE + b"\n# SCOT's thumbnails; see https://bford.info/cachedir/\n"
            (new / paths.CACHE_TAG).write_bytes(tag)

    def _path(self, collection: str, item_id: str) -> str:
        name = point_id(item_id)
        return f"{self._root}/{_folder(collection)}/{name[:2]}/{name}.webp"

    def _each(self, work: Callable[[str], Result], item_ids: Iterable[str]) -> list[Result]:
        """The work for each id, in order; at once where a file is a request."""
        if self._local:
            return [work(item_id) for item_id in item_ids]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails") as pool:
            return list(pool.map(work, item_ids))


def encode(image: Image.Image) -> bytes:
    """The thumbnail of an RGB image: WebP, at most ``SIDE`` pixels a side, never enlarged."""
    scale = SIDE / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD)
    return buffer.getvalue()


def _folder(collection: str) -> str:
    """A folder's name of its own for each collection, without a separator and not ``.`` or ``..``."""
    return quote(collection, safe="").replace(".", "%2E")


def _is_whole(data: bytes) -> bool:
    """Whether this is a WebP file of the length that it declares."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 == len(data)
