"""An embedding cache as memory-mapped files on this machine, for more triplets than fit in memory.

Parquet shards are compressed, so a single row cannot be read. The first run on a machine copies them to plain arrays;
training maps these files, and the kernel reads the rows of a batch on demand::

    SCRATCH/<hash of the cache>/
        images.npy  texts.npy     float16 (U, D) and (V, D)
        rows.npy                  int64 (N, 4): the rows of a triplet's image, edit, caption and edited caption
        text_folds.npy            uint32 (V,): decides whether a caption is held out
        image_states.npy  text_states.npy  *_states_starts.npy, if the cache has hidden states
        image_ids.arrow  triplet_ids.arrow
        train-*.npy  held-*.npy   the split of one share (scot/training/split.py), written at its first use
        _copy.json                sizes of the files

The folder appears complete, by a rename. Mapped pages belong to the page cache, which the kernel frees when memory is
short. The folder may be deleted when no run uses it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from scot.data.atomic_io import atomic_file, atomic_folder, locked
from scot.data.mirror import scratch_folder
from scot.data.shards import MANIFEST, Manifest
from scot.embeddings import cache
from scot.embeddings.cache import (
    CacheInfo,
    TripletEmbeddings,
    check_cache,
    load_cache,
    load_pairs,
    row_shards,
    vector_shards,
)
from scot.embeddings.hidden_states import StateTable, starts, state_shards
from scot.errors import InvalidInput

_META = "_copy.json"


def open_cache(
    folder: str | Path, *, memory_gib: float = 1.0, scratch: str | Path = "", encoder_id: str | None = None
) -> TripletEmbeddings:
    """Open a cache for training: loaded if it takes at most ``memory_gib`` GiB, else memory-mapped from a local copy.

    Raises:
        NotFound, EncoderMismatch, InvalidInput: as :func:`scot.embeddings.cache.load_cache`.
        Unavailable: the copy cannot be written, for instance because the disk is full.
    """
    info, _ = check_cache(folder, encoder_id)
    if size_in_memory(info) <= memory_gib * 2**30:
        return load_cache(folder, encoder_id)
    return map_cache(folder, scratch or scratch_folder())


def size_in_memory(info: CacheInfo) -> int:
    """The approximate size of a loaded cache in bytes: vectors, rows, and ids and texts as Python strings."""
    images, texts, triplets = (info.counts.get(part, 0) for part in (cache.IMAGES, cache.TEXTS, cache.TRIPLETS))
    states = sum(2 * width * info.counts.get(cache.STATES[part], 0) for part, width in info.states.items())
    return (images + texts) * (2 * info.dim + 120) + triplets * (4 * 8 + 120) + states


def map_cache(folder: str | Path, scratch: str | Path) -> TripletEmbeddings:
    """Memory-map a cache from its copy in ``scratch``, which is written first if it does not exist.

    Raises:
        NotFound, InvalidInput: the cache cannot be read, or is damaged.
        Unavailable: the copy cannot be written.
    """
    info, manifests = check_cache(folder)
    copy = Path(scratch).absolute() / info.hash
    with _exclusive(copy):
        if not _complete(copy):
            shutil.rmtree(copy, ignore_errors=True)
            with atomic_folder(copy, what=_label(copy.parent)) as place:
                _write_copy(place, folder, info, manifests)
    image_N, edit_N, caption_N, edited_N = _mapped(copy / "rows.npy").unbind(1)
    image_states, text_states = (
        StateTable(_mapped(copy / f"{name}.npy"), _mapped(copy / f"{name}_starts.npy")) if part in info.states else None
        for part, name in cache.STATES.items()
    )
    return TripletEmbeddings(
        info=info,
        image_ids=_MappedStrings(copy / "image_ids.arrow"),
        triplet_ids=_MappedStrings(copy / "triplet_ids.arrow"),
        image_UD=_mapped(copy / "images.npy"),
        text_VD=_mapped(copy / "texts.npy"),
        image_N=image_N,
        edit_N=edit_N,
        caption_N=caption_N,
        edited_N=edited_N,
        mapped=copy,
        image_states=image_states,
        text_states=text_states,
        pairs=load_pairs(folder, manifests),
    )


def _write_copy(place: Path, folder: str | Path, info: CacheInfo, manifests: Mapping[str, Manifest]) -> None:
    """Copy every shard of a cache to plain arrays in ``place``; the sizes are written last."""
    counts = {part: manifest.count for part, manifest in manifests.items()}
    images, texts, triplets = cache.IMAGES, cache.TEXTS, cache.TRIPLETS
    with (
        _Array(place / f"{images}.npy", np.float16, (counts[images], info.dim)) as vectors,
        _Strings(place / "image_ids.arrow") as ids,
    ):
        for keys, vectors_ND in vector_shards(folder, images, manifests[images], info.dim):
            vectors.append(vectors_ND)
            ids.append(keys)
    with (
        _Array(place / f"{texts}.npy", np.float16, (counts[texts], info.dim)) as vectors,
        _Array(place / cache.TEXT_FOLDS, np.uint32, (counts[texts],)) as folds,
    ):
        for keys, vectors_ND in vector_shards(folder, texts, manifests[texts], info.dim):
            vectors.append(vectors_ND)
            folds.append(cache.folds(keys.to_pylist()))
    with (
        _Array(place / "rows.npy", np.int64, (counts[triplets], 4)) as rows,
        _Strings(place / "triplet_ids.arrow") as ids,
    ):
        for keys, rows_N4 in row_shards(folder, manifests):
            rows.append(rows_N4)
            ids.append(keys)
    for part, name in cache.STATES.items():
        if part in info.states:
            _copy_states(place, folder, name, manifests[name], counts[part])
    sizes = {path.name: path.stat().st_size for path in place.iterdir()}
    (place / _META).write_text(json.dumps({"sizes": sizes}), encoding="utf-8")


def _copy_states(place: Path, folder: str | Path, name: str, manifest: Manifest, count: int) -> None:
    lengths = []
    with _Array(place / f"{name}.npy", np.float16, (manifest.extra["total"], manifest.extra["width"])) as values:
        for _, length_N, values_TW in state_shards(folder, name, manifest):
            values.append(values_TW)
            lengths.append(length_N)
    with _Array(place / f"{name}_starts.npy", np.int64, (count + 1,)) as array:
        array.append(starts(folder, lengths, count))


def mapped_rows(copy: Path, name: str, count: int, chunks: Iterable[npt.NDArray[np.int64]]) -> torch.Tensor:
    """``count`` rows of triplets as memory-mapped int64, written to a copy's folder as ``name`` unless it is there.

    Raises:
        Unavailable: the file cannot be written.
    """
    path = copy / f"{name}.npy"
    with _exclusive(copy):
        if not path.is_file():
            with atomic_file(path, what=_label(copy)) as place, _Array(place, np.int64, (count,)) as array:
                for chunk in chunks:
                    array.append(chunk)
    return _mapped(path)


def _mapped(path: Path) -> torch.Tensor:
    # Copy on write, because torch expects writable memory; nothing here writes.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _complete(copy: Path) -> bool:
    """Whether every file has its full size: reading beyond the end of a mapped file would kill the process."""
    try:
        sizes = json.loads((copy / _META).read_bytes())["sizes"]
        whole = all((copy / name).stat().st_size == size for name, size in sizes.items())
        return whole and cache.TEXT_FOLDS in sizes  # copies of earlier versions lack it
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def _exclusive(copy: Path) -> Iterator[None]:
    """One process of this machine at a time; the others find the finished copy."""
    with locked(copy.parent / f".{copy.name}.lock", what=_label(copy.parent)):
        yield


def _label(scratch: Path) -> str:
    return f"the scratch folder {scratch}"


class _Array:
    """A .npy file of known shape, written in pieces: a full disk raises OSError instead of a fault in mapped memory."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        self._path, self._dtype, self._shape, self._rows = path, np.dtype(dtype), shape, 0

    def __enter__(self) -> _Array:
        self._file: BinaryIO = self._path.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)  # type: ignore[no-untyped-call]
        return self

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write the next rows."""
        self._rows += len(rows)
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None and self._rows != self._shape[0]:
            raise InvalidInput(f"the embedding cache is damaged: a shard has other rows than {MANIFEST} says")


class _Strings:
    """An Arrow file of one column of strings, written shard by shard."""

    _SCHEMA = pa.schema([("id", pa.string())])

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Strings:
        self._writer = pa.ipc.new_file(str(self._path), self._SCHEMA)
        return self

    def append(self, ids: pa.StringArray) -> None:
        """Write the next ids."""
        self._writer.write_batch(pa.record_batch([ids], schema=self._SCHEMA))

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class _MappedStrings(Sequence[str]):
    """The strings of an Arrow file, read on demand."""

    def __init__(self, path: Path) -> None:
        self._column: pa.ChunkedArray = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column(0)

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        value: str = self._column[at].as_py()
        return value
