"""Embeddings of a benchmark's images and texts, cached in small shards on disk: a run that was killed goes on.

A shard is named by a hash of what it was made from (encoder, names, file sizes, times, boxes): no stale one is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from scot.composers.base import States, padded
from scot.data.atomic_io import write_tensors
from scot.data.places import Place, RemotePath
from scot.embeddings.images import embed_images
from scot.encoders import Encoder, MultiVectorEncoder, PairEncoder, Vectors, state_encoder
from scot.errors import InvalidInput
from scot.evaluation.images import ImageFile
from scot.evaluation.topk import BLOCK
from scot.progress import SILENT, Progress

_THREADS = 4
SHARD = 256
"""Images a shard: what a killed run loses at most."""


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Unit vectors of named images, in order, on disk; and the images that could not be decoded."""

    shards: tuple[Path, ...]
    names: tuple[str, ...]
    shape: tuple[int, ...]
    """Of one image: ``(D,)``, or ``(V, D)`` for several vectors an image."""
    refused: Mapping[str, str]
    """Name to the reason."""

    def blocks(self, size: int = BLOCK, *, reuse: bool = False) -> Iterator[torch.Tensor]:
        """The rows in order, float32 ``(B, D)`` or ``(B, V, D)``, at most ``size`` a block (at least one shard).

        With ``reuse`` a block is valid until the next one is read: all blocks share the same memory, which is much
        faster than allocating new memory every time.
        """
        size = max(size, SHARD)
        buffer = torch.empty(0)
        used = 0
        for shard in self.shards:
            if not used and not (reuse and len(buffer)):
                buffer = torch.empty(size, *self.shape)
            used += _read_into(shard, buffer[used:])
            if used + SHARD > size:
                yield buffer[:used]
                used = 0
        if used:
            yield buffer[:used]

    def rows(self, wanted: Sequence[str]) -> torch.Tensor:
        """The rows of some images, in the order of ``wanted``: ``(W, D)`` or ``(W, V, D)``."""
        row_of = {name: row for row, name in enumerate(self.names)}
        at = torch.tensor([row_of[name] for name in wanted], dtype=torch.int64)
        rows, start = torch.empty(len(at), *self.shape), 0
        for block in self.blocks(reuse=True):
            here = (at >= start) & (at < start + len(block))
            rows[here] = block[at[here] - start]
            start += len(block)
        return rows


def encode_images(
    images: Mapping[str, ImageFile],
    encoder: Encoder,
    cache: Path,
    *,
    several: bool = False,
    what: str = "images",
    progress: Progress = SILENT,
) -> StoredVectors:
    """Embed the images that are not in ``cache`` yet.

    Args:
        images: name to image; their order is the order of the rows.
        encoder: the encoder.
        cache: the folder of the shards.
        several: store every vector that the encoder has of an image, not one.
        what: what the progress display calls the images.
        progress: shows how many are encoded.

    Raises:
        InvalidInput: ``several``, and the encoder has one vector an image.
    """
    if several and not isinstance(encoder, MultiVectorEncoder):
        raise InvalidInput(f"the encoder {encoder.id} has one vector a picture: there is no best of several")
    multi = encoder if several and isinstance(encoder, MultiVectorEncoder) else None
    names = list(images)
    lots = [names[start : start + SHARD] for start in range(0, len(names), SHARD)]
    files = [cache / f"{_key(encoder.id, lot, images, several=several)}.safetensors" for lot in lots]
    todo = [(lot, file) for lot, file in zip(lots, files, strict=True) if not file.exists()]
    batches = embed_images(
        [(name, images[name]) for lot, _ in todo for name in lot],  # all lots but the last are of one size: a batch
        lambda pair: pair[1].load(),
        encoder,
        batch_size=SHARD,
        fetch=lambda pair: (pair[0], pair[1].fetched()),
        embed=multi.encode_pixels_multi if multi else None,
    )
    with progress.task(f"encoding {what}", total=sum(len(lot) for lot, _ in todo), unit="images") as task:
        for (lot, file), batch in zip(todo, batches, strict=True):
            refused = {name: error.reason for (name, _), error in batch.refused}
            write_shard(file, torch.from_numpy(batch.vectors), [name for name, _ in batch.sources], refused)
            task.advance(len(lot))
    stored: list[str] = []
    broken: dict[str, str] = {}
    for file in files:
        shard_names, shard_refused = _names(file)
        stored += shard_names
        broken |= shard_refused
    shape = (multi.vectors_per_image, multi.dim) if multi else (encoder.dim,)
    return StoredVectors(tuple(files), tuple(stored), shape, broken)


def encode_texts(texts: Sequence[str], encoder: Encoder, cache: Path) -> Mapping[str, Vectors]:
    """Text to its unit vector ``(D,)``; the vectors of this list of texts are cached."""
    distinct = list(dict.fromkeys(texts))
    file = cache / f"texts-{_hash([encoder.id, json.dumps(distinct)])}.safetensors"
    if not file.exists():
        write_shard(file, torch.from_numpy(encoder.encode_texts(distinct)), distinct, {})
    return dict(zip(distinct, load_file(file)["vectors"], strict=True))


def encode_pairs(
    asked: Sequence[tuple[Sequence[str], str]], encoder: PairEncoder, images: Mapping[str, ImageFile], cache: Path
) -> torch.Tensor:
    """The vectors ``(N, D)`` of inputs of several images and a text each; those of this list of inputs are cached.

    Raises:
        InvalidInput: the images of an input alone are too many for the encoder's context.
    """
    names = list(dict.fromkeys(name for group, _ in asked for name in group))
    file = cache / f"pairs-{_hash([_key(encoder.id, names, images, several=False), json.dumps(asked)])}.safetensors"
    if not file.exists():
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="decode") as pool:
            loaded = pool.map(lambda name: encoder.preprocess(images[name].fetched().load()), names)
            pixels = dict(zip(names, loaded, strict=True))
        rows, _ = encoder.encode_pairs(
            [[pixels[name] for name in group] for group, _ in asked], [text for _, text in asked]
        )
        write_shard(file, torch.from_numpy(rows), [], {})
    return torch.from_numpy(load_file(file)["vectors"])


def pair_states(
    pairs: Sequence[tuple[str, str]], encoder: Encoder, images: Mapping[str, ImageFile]
) -> tuple[States, States]:
    """The hidden states of (image, edit) pairs, for a composer that reads them.

    Raises:
        InvalidInput: the encoder does not expose its hidden states.
    """
    names = list(dict.fromkeys(name for name, _ in pairs))
    (batch,) = embed_images(names, lambda name: images[name].load(), encoder, batch_size=len(names), states=True)
    states_of = dict(zip(batch.sources, batch.states, strict=True))
    _, edit_states = state_encoder(encoder).encode_texts_states([edit for _, edit in pairs])
    return padded([states_of[name] for name, _ in pairs]), padded(edit_states)


def write_shard(file: Path, vectors: torch.Tensor, names: Sequence[str], refused: Mapping[str, str]) -> None:
    """Write unit vectors ``(N, D)`` or ``(N, V, D)`` with their names, and the refused names with the reason.

    A reader sees the whole file or none.
    """
    metadata = {"names": json.dumps(list(names)), "refused": json.dumps(dict(refused))}
    write_tensors(file, {"vectors": vectors}, metadata)


def _key(encoder_id: str, lot: Sequence[str], images: Mapping[str, ImageFile], *, several: bool) -> str:
    described = []
    for name in lot:
        described.append(json.dumps([name, images[name].box, *_file_version(images[name].file)]))
    return _hash([encoder_id, *["multi"] * several, *described])


def _file_version(file: Place) -> tuple[int, int | str]:
    """The size of a file, and its time or, at a URL, its version."""
    if isinstance(file, RemotePath):
        return file.status().size, file.status().version
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _names(file: Path) -> tuple[list[str], dict[str, str]]:
    """The names of a shard's rows, and the refused ones with the reason."""
    with safe_open(file, "pt") as shard:
        metadata = shard.metadata()
    return json.loads(metadata["names"]), json.loads(metadata["refused"])


def _read_into(file: Path, rows: torch.Tensor) -> int:
    """Read a shard's vectors into the first of these rows; returns how many it has.

    A safetensors file is the length of its header in eight bytes, the header, and the tensors; a shard has one tensor.
    """
    with file.open("rb", buffering=0) as shard:
        shard.seek(8 + int.from_bytes(shard.read(8), "little"))
        size = file.stat().st_size - shard.tell()
        if shard.readinto(rows.numpy().data.cast("B")[:size]) != size:
            raise InvalidInput(f"{file} is damaged: delete it, and its pictures are encoded again")
    return size // (4 * rows[0].numel())
