"""Encode the images and texts of a set of triplets into an embedding cache.

An image that cannot be used is counted and its triplets are left out; the run continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image

from scot.data.captioned import open_source
from scot.data.shards import read_manifest as read_shard_manifest
from scot.data.triplets import read_manifest, read_triplets
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo
from scot.embeddings.hidden_states import state_shards, write_states
from scot.embeddings.pairs import PAIRS, FindPairs, write_pairs
from scot.embeddings.ray_encode import EncoderPool, encode_stream
from scot.encoders import Encoder, load_encoder, state_encoder
from scot.errors import InvalidInput, NotFound
from scot.progress import SILENT, Progress

_SAVE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of a run: the manifest of the cache, and how many vectors an earlier run had encoded."""

    info: CacheInfo
    reused_images: int
    reused_texts: int
    seconds: float
    truncated_texts: int = 0


@dataclass(slots=True)
class _Collected:
    """The encoded images or texts, in the order in which they arrive."""

    keys: list[str] = field(default_factory=list)
    vectors: list[npt.NDArray[np.float16]] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(self, key: str, vector: npt.NDArray[np.float16], states: bytes = b"") -> None:
        self.known.add(key)
        self.keys.append(key)
        self.vectors.append(vector)
        self.states.append(states)

    def table(self, key: str, dim: int) -> pa.Table:
        vectors_ND = np.stack(self.vectors) if self.vectors else np.zeros((0, dim), np.float16)
        return cache.vector_table(key, self.keys, vectors_ND, dim)


def encode_triplets(
    sources: Sequence[str],
    triplets: Sequence[str],
    output: str,
    *,
    captions_only: bool = False,
    encoder: str | Encoder = "tiny",
    num_workers: int = 1,
    use_gpu: bool = False,
    states: bool = False,
    find_pairs: FindPairs | None = None,
    progress: Progress = SILENT,
) -> Encoded:
    """Write the embedding cache of ``triplets`` into ``output``; with workers, Ray must be running.

    Vectors that an earlier run with the same encoder and sources wrote to ``output`` are reused, also those of a run
    that was killed: without ``states`` they are stored every half minute.

    Args:
        sources: captioned images (:func:`scot.data.captioned.open_source`) with the images of the triplets.
        triplets: folders of triplet shards; a triplet that several of them have is encoded once.
        output: the folder of the cache.
        captions_only: encode the texts alone; each caption's vector stands in for its images.
        encoder: the name of the encoder, or without actors one that is loaded, which encodes on its own device.
        num_workers: the number of actors that encode and share the machine's cores; 0: this process, without Ray.
        use_gpu: give each actor a GPU; without actors this process uses one.
        states: store the hidden states of images and edits too, for composers that read them.
        find_pairs: makes the test of the triplets' images and their captions (:mod:`scot.embeddings.pairs`).
        progress: shows how many images and texts are encoded.

    Raises:
        NotFound, InvalidInput: a source, the triplets or the encoder cannot be read, or no triplet is usable.
    """
    started = time.monotonic()
    if num_workers < 0:
        raise InvalidInput(f"num_workers must not be negative, not {num_workers}")
    if use_gpu and not num_workers and not torch.cuda.is_available():
        raise InvalidInput("use_gpu encodes on a GPU, and PyTorch finds none here")
    if captions_only and sources:
        raise InvalidInput("captions_only encodes no image, so it takes no source")
    if num_workers and not isinstance(encoder, str):
        raise InvalidInput("actors load the encoder themselves, by its name")
    if not sources and not captions_only:
        raise InvalidInput("name at least one source of captioned images")
    for source in sources:
        progress.line(f"reading {open_source(source)}")  # an invalid source is an error before anything starts
    manifests = [read_manifest(folder) for folder in triplets]
    model = encoder if not isinstance(encoder, str) else load_encoder(encoder, device=_device(num_workers, use_gpu))
    encoder_id, dim = model.id, model.dim
    widths = _state_widths(model) if states else {}
    pool = EncoderPool(encoder if num_workers else model, num_workers, use_gpu, states)
    del model  # the actors load it themselves
    source_hash = _hash(
        [*map(_fingerprint, sources), *(each.hash for each in manifests), encoder_id]
        + ["states"] * states
        + ["pairs"] * (find_pairs is not None)
    )
    if (done := _finished(output, source_hash)) is not None:
        return Encoded(done, done.counts["images"], done.counts["texts"], time.monotonic() - started)

    table, repeated = _distinct([read_triplets(folder) for folder in triplets])
    if not table.num_rows:
        raise InvalidInput(f"{', '.join(triplets)} holds no triplets: there is nothing to encode")
    if captions_only:
        table = table.set_column(table.column_names.index("image_id"), "image_id", table.column("caption"))
    used = table.column("image_id").unique().to_pylist()
    pairs = () if find_pairs is None or captions_only else find_pairs(_captioned(table))
    texts = pa.chunked_array(
        [chunk for name in ("edit", "caption", "edited_caption") for chunk in table.column(name).chunks]
    ).unique().to_pylist()  # fmt: skip
    tested = [text for pair in pairs for text in (pair.edit, pair.caption, pair.edited_caption)]
    texts = list(dict.fromkeys(texts + tested))

    images_source = _hash([*map(_fingerprint, sources), encoder_id])
    edits = {*table.column("edit").unique().to_pylist(), *(pair.edit for pair in pairs)} if states else set()
    used_states = set(used) if states else set()
    wanted = set() if captions_only else set(used)
    images = _earlier(output, cache.IMAGES, lambda extra: extra.get("source") == images_source, wanted, used_states)
    known = _earlier(output, cache.TEXTS, lambda extra: extra.get("encoder_id") == encoder_id, set(texts), edits)
    reused_images, reused_texts = len(images.keys), len(known.keys)
    missing = wanted - set(images.keys)
    new_texts = list(set(texts) - set(known.keys))
    refusals: Counter[str] = Counter()
    truncated = 0
    write = partial(cache.write_vectors, output, encoder_id=encoder_id, dim=dim)
    saved = time.monotonic()
    if missing or new_texts:
        stream = encode_stream(list(sources) if missing else [], missing, sorted(new_texts), edits, pool)
        with progress.task("encoding", len(missing) + len(new_texts), "images and texts") as task:
            for row in stream:
                if row.refused:
                    refusals[row.refused] += row.count
                elif row.image_id in images.known:
                    refusals["duplicate_id"] += 1
                elif row.image_id:
                    images.add(row.image_id, row.vector, row.states)
                    task.advance()
                else:
                    known.add(row.text, row.vector, row.states)
                    truncated += row.count
                    task.advance()
                if not states and time.monotonic() - saved > _SAVE_EVERY_S:
                    write(cache.IMAGES, [images.table("image_id", dim)], source=images_source)
                    write(cache.TEXTS, [known.table("text", dim)], source=source_hash)
                    saved = time.monotonic()

    if captions_only:
        vector_of = dict(zip(known.keys, known.vectors, strict=True))
        for caption in filter(vector_of.__contains__, used):
            images.add(caption, vector_of[caption])
    image_row, text_row = _in_order(images, used), _in_order(known, texts)
    rows, dropped = _rows(table, image_row, text_row)
    if not rows.num_rows:
        reasons = ", ".join(f"{count} {name}" for name, count in refusals.most_common()) or "no id is in the sources"
        raise InvalidInput(
            f"none of the {table.num_rows} triplets has a usable picture in {', '.join(sources)} ({reasons})"
        )
    parts = [
        write(cache.IMAGES, [images.table("image_id", dim)], source=images_source),
        write(cache.TEXTS, [known.table("text", dim)], source=source_hash),
        cache.write_triplet_rows(output, rows),
    ]
    counts = {"images": len(images.keys), "texts": len(known.keys), "triplets": rows.num_rows}
    for part, collected in ((cache.IMAGES, images), (cache.TEXTS, known)) if states else ():
        name = cache.STATES[part]
        about = {"encoder_id": encoder_id, "source": images_source if part == cache.IMAGES else source_hash}
        written = write_states(output, name, collected.keys, collected.states, width=widths[part], about=about)
        parts.append(written.hash)
        counts[name] = int(written.extra["total"])
    if pairs:
        test = write_pairs(output, pairs, image_row, text_row)
        if test.count:
            parts.append(test.hash)
            counts[PAIRS] = test.count
    rejected = {f"image_{reason}": count for reason, count in sorted(refusals.items())}
    if dropped:
        rejected["triplet_without_image"] = dropped
    if repeated:
        rejected["duplicate_triplet"] = repeated
    hashed = cache.content_hash(parts)
    info = CacheInfo(encoder_id, dim, source_hash, counts, rejected, hashed, states=widths, captions_only=captions_only)
    cache.write_info(output, info)
    return Encoded(info, reused_images, reused_texts, time.monotonic() - started, truncated)


def _device(num_workers: int, use_gpu: bool) -> str:
    """Where this process needs the encoder: to encode, or only to know its id."""
    return "cuda" if use_gpu and not num_workers else "cpu"


def _distinct(folders: list[pa.Table]) -> tuple[pa.Table, int]:
    """The triplets of all folders, the first of those with one id, and the number of the others."""
    table = pa.concat_tables(folders)
    if len(folders) == 1:
        return table, 0
    ids = table.column("triplet_id").to_pylist()
    first = dict(zip(reversed(ids), reversed(range(len(ids))), strict=True))
    return table.take(pa.array(sorted(first.values()), pa.int64())), len(ids) - len(first)


def _captioned(table: pa.Table) -> list[tuple[str, str]]:
    """The distinct pairs of an image and a caption of it, in the order of the triplets."""
    columns = (table.column(name).to_pylist() for name in ("image_id", "caption"))
    return list(dict.fromkeys(zip(*columns, strict=True)))


def _rows(table: pa.Table, image_row: dict[str, int], text_row: dict[str, int]) -> tuple[pa.Table, int]:
    """The triplets with an image and all texts, as rows into the two tables, and the number of the others."""
    columns = {
        role: np.array([row.get(key, -1) for key in table.column(name).to_pylist()], np.int64)
        for (role, name), row in zip(cache.COLUMNS.items(), (image_row, text_row, text_row, text_row), strict=True)
    }
    complete = np.min(np.stack(list(columns.values())), axis=0) >= 0
    ids = table.column("triplet_id").combine_chunks().filter(pa.array(complete))
    rows = pa.Table.from_arrays(
        [ids, *(pa.array(column[complete]) for column in columns.values())], schema=cache.TRIPLET_SCHEMA
    )
    return rows, int((~complete).sum())


def _state_widths(model: Encoder) -> dict[str, int]:
    """The widths of the hidden states of images and texts. Raises InvalidInput if the encoder has none."""
    encoder = state_encoder(model)
    _, (image,) = encoder.encode_pixels_states([model.preprocess(Image.new("RGB", (64, 64)))])
    _, (text,) = encoder.encode_texts_states(["a"])
    return {cache.IMAGES: image.shape[1], cache.TEXTS: text.shape[1]}


def _in_order(collected: _Collected, order: list[str]) -> dict[str, int]:
    """Sort the rows in the order of the triplets, so that equal inputs give equal files; returns key to row."""
    at = {key: n for n, key in enumerate(collected.keys)}
    chosen = [key for key in order if key in at]
    collected.vectors = [collected.vectors[at[key]] for key in chosen]
    collected.states = [collected.states[at[key]] for key in chosen]
    collected.keys = chosen
    return {key: n for n, key in enumerate(chosen)}


def _earlier(
    output: str, part: str, fits: Callable[[dict[str, Any]], bool], wanted: set[str], inside: set[str]
) -> _Collected:
    """The wanted rows that an earlier run wrote of a part; keys in ``inside`` only if it wrote their states too."""
    collected = _Collected()
    try:
        keys, vectors_ND, extra = cache.read_vectors(output, part)
    except (NotFound, InvalidInput):
        return collected
    if fits(extra):
        states = _earlier_states(output, cache.STATES[part], fits) if inside else {}
        for key, vector in zip(keys, vectors_ND, strict=True):
            if key in wanted and (key not in inside or states.get(key)):
                collected.add(key, vector, states.get(key, b""))
    return collected


def _earlier_states(output: str, name: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, bytes]:
    """The hidden states that an earlier run wrote; those of another encoder do not count."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(NotFound, InvalidInput):
        manifest = read_shard_manifest(f"{output}/{name}", name)
        for keys, length_N, values_TW in state_shards(output, name, manifest) if fits(dict(manifest.extra)) else ():
            parts = np.split(values_TW, np.cumsum(length_N)[:-1])
            found |= {key: part.tobytes() for key, part in zip(keys, parts, strict=True)}
    return found


def _finished(output: str, source_hash: str) -> CacheInfo | None:
    """The manifest of a complete cache of the same inputs."""
    try:
        info = cache.read_info(output)
        if info.source != source_hash:
            return None
        cache.load_cache(output)
    except (NotFound, InvalidInput):
        return None
    return info


def _fingerprint(source: str) -> str:
    """Changes if the names, sizes or times of a source's files change; the images are not read."""
    path = Path(source)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return _hash([str(path), json.dumps(stats)])


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
