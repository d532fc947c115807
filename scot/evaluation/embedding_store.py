"""Embeddings of a benchmark's pictures and texts, kept in small shards on disk: a run that was killed goes on.

A shard is named by what it was made from (encoder, files, sizes, times, boxes), so nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from scot.composers.base import States, padded
from scot.data.atomic_io import write_tensors
from scot.encoders import Encoder, Pixels, Vectors, state_encoder
from scot.errors import ImageRefused, InvalidInput
from scot.evaluation.images import Picture
from scot.evaluation.topk import BLOCK

SHARD = 256
"""Pictures a shard: what a killed run loses at most."""

_SAID_EVERY = 3.0


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Unit vectors of named pictures, in order, on disk; and the pictures that could not be decoded."""

    shards: tuple[Path, ...]
    names: tuple[str, ...]
    dim: int
    refused: Mapping[str, str]
    """Name to the reason."""

    def blocks(self, size: int = BLOCK, *, reuse: bool = False) -> Iterator[torch.Tensor]:
        """The rows in order, float32 ``(B, D)``, at most ``size`` a block (or a shard, if that is more).

        With ``reuse`` a block lasts until the next one is asked for: all are read into the same memory, which is much
        quicker than to ask the system for new memory every time.
        """
        size = max(size, SHARD)
        buffer_BD = torch.empty(0)
        used = 0
        for shard in self.shards:
            if not used and not (reuse and len(buffer_BD)):
                buffer_BD = torch.empty(size, self.dim)
            used += _read_into(shard, buffer_BD[used:])
            if used + SHARD > size:
                yield buffer_BD[:used]
                used = 0
        if used:
            yield buffer_BD[:used]

    def rows(self, wanted: Sequence[str]) -> torch.Tensor:
        """The rows of some pictures, in the order asked for, ``(W, D)``."""
        row_of = {name: row for row, name in enumerate(self.names)}
        at = torch.tensor([row_of[name] for name in wanted], dtype=torch.int64)
        rows_WD, start = torch.empty(len(at), self.dim), 0
        for block_BD in self.blocks(reuse=True):
            here = (at >= start) & (at < start + len(block_BD))
            rows_WD[here] = block_BD[at[here] - start]
            start += len(block_BD)
        return rows_WD


def encode_pictures(
    pictures: Mapping[str, Picture],
    encoder: Encoder,
    cache: Path,
    *,
    what: str = "pictures",
    on_progress: Callable[[str], None] = lambda line: None,
) -> StoredVectors:
    """Embed pictures that are not in ``cache`` yet.

    Args:
        pictures: name to picture; their order is the order of the rows.
        encoder: the encoder.
        cache: the folder of the shards.
        what: what to call them in a line of progress.
        on_progress: receives such a line every few seconds.
    """
    names = list(pictures)
    lots = [names[start : start + SHARD] for start in range(0, len(names), SHARD)]
    files = [cache / f"{_key(encoder.id, lot, pictures)}.safetensors" for lot in lots]
    todo = [(lot, file) for lot, file in zip(lots, files, strict=True) if not file.exists()]
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:

        def decoding(lot: Sequence[str]) -> list[Future[Pixels | str]]:
            return [pool.submit(_pixels, encoder, pictures[name]) for name in lot]

        progress = _Progress(what, sum(len(lot) for lot, _ in todo), on_progress)
        ahead = decoding(todo[0][0]) if todo else []
        for number, (lot, file) in enumerate(todo):
            current, ahead = ahead, decoding(todo[number + 1][0]) if number + 1 < len(todo) else []
            decoded = [each.result() for each in current]
            pixels = [each for each in decoded if not isinstance(each, str)]
            refused = {name: each for name, each in zip(lot, decoded, strict=True) if isinstance(each, str)}
            vectors_ND = torch.from_numpy(encoder.encode_pixels(pixels))
            write_shard(file, vectors_ND, [name for name in lot if name not in refused], refused)
            progress.add(len(lot))
    kept: list[str] = []
    bad: dict[str, str] = {}
    for file in files:
        shard_names, shard_refused = _names(file)
        kept += shard_names
        bad |= shard_refused
    return StoredVectors(tuple(files), tuple(kept), encoder.dim, bad)


def encode_texts(texts: Sequence[str], encoder: Encoder, cache: Path) -> Mapping[str, Vectors]:
    """Text to its unit vector ``(D,)``; the vectors of these very texts are kept in ``cache``."""
    distinct = list(dict.fromkeys(texts))
    file = cache / f"texts-{_hash([encoder.id, json.dumps(distinct)])}.safetensors"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_shard(file, torch.from_numpy(encoder.encode_texts(distinct)), distinct, {})
    return dict(zip(distinct, load_file(file)["vectors"], strict=True))


def pair_states(
    pairs: Sequence[tuple[str, str]], encoder: Encoder, pictures: Mapping[str, Picture]
) -> tuple[States, States]:
    """The hidden states of (picture, edit) pairs, for a composer that reads them.

    Raises:
        InvalidInput: the encoder does not tell its hidden states.
    """
    telling = state_encoder(encoder)
    names = list(dict.fromkeys(name for name, _ in pairs))
    with ThreadPoolExecutor(4, thread_name_prefix="decode") as pool:
        decoded = list(pool.map(lambda name: _pixels(encoder, pictures[name]), names))
    _, images = telling.encode_pixels_states([pixels for pixels in decoded if not isinstance(pixels, str)])
    _, edits = telling.encode_texts_states([edit for _, edit in pairs])
    states_of = dict(zip(names, images, strict=True))
    return padded([states_of[name] for name, _ in pairs]), padded(edits)


def write_shard(file: Path, vectors_ND: torch.Tensor, names: Sequence[str], refused: Mapping[str, str]) -> None:
    """Write unit vectors ``(N, D)`` with their names, and the names that have none with the reason.

    A reader sees all of the file or none.
    """
    metadata = {"names": json.dumps(list(names)), "refused": json.dumps(dict(refused))}
    write_tensors(file, {"vectors": vectors_ND}, metadata)


def _pixels(encoder: Encoder, picture: Picture) -> Pixels | str:
    """Pixels for the tower, or why the picture cannot be decoded."""
    try:
        return encoder.preprocess(picture.load())
    except ImageRefused as error:
        return error.reason


def _key(encoder_id: str, lot: Sequence[str], pictures: Mapping[str, Picture]) -> str:
    described = []
    for name in lot:
        stat = pictures[name].file.stat()
        described.append(json.dumps([name, pictures[name].box, stat.st_size, stat.st_mtime_ns]))
    return _hash([encoder_id, *described])


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _names(file: Path) -> tuple[list[str], dict[str, str]]:
    """The names of a shard's rows, and those that have none with the reason."""
    with safe_open(file, "pt") as shard:
        metadata = shard.metadata()
    return json.loads(metadata["names"]), json.loads(metadata["refused"])


def _read_into(file: Path, rows_BD: torch.Tensor) -> int:
    """Read a shard's vectors into the first of these rows; returns how many it has.

    A safetensors file is the length of its header in eight bytes, the header, and the tensors; a shard has one tensor.
    """
    with file.open("rb", buffering=0) as shard:
        shard.seek(8 + int.from_bytes(shard.read(8), "little"))
        wanted = file.stat().st_size - shard.tell()
        if shard.readinto(rows_BD.numpy().data.cast("B")[:wanted]) != wanted:
            raise InvalidInput(f"{file} is damaged: delete it, and its pictures are encoded again")
    return wanted // (4 * rows_BD.shape[1])


class _Progress:
    """One line every few seconds: how many, how fast, how long still."""

    def __init__(self, what: str, total: int, write: Callable[[str], None]) -> None:
        self._what, self._total, self._write = what, total, write
        self._done, self._started = 0, time.monotonic()
        self._said = self._started

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said < _SAID_EVERY and self._done < self._total:
            return
        self._said = now
        rate = self._done / max(now - self._started, 1e-9)
        left = (self._total - self._done) / rate
        self._write(f"encoded {self._done:,} of {self._total:,} {self._what} ({rate:,.0f}/s, {left:,.0f} s left)")
