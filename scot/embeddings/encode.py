"""Encode the images and texts of a set of triplets into an embedding cache.

The work is cut into chunks (:mod:`scot.embeddings.chunks`); each becomes shards of the cache as soon as it is encoded,
and a run that starts again encodes only the chunks that are missing. Memory depends on the settings: triplets, sources
and shards are read one after the other, and ids are numbered in tables on the disk. An image that cannot be used is
counted and its triplets are left out; the run continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from PIL import Image

from scot.data.captioned import open_sources, read_sources
from scot.data.filesystems import is_url
from scot.data.fingerprint import fingerprint
from scot.data.one_writer import one_writer
from scot.data.places import open_place
from scot.data.records import Refusals
from scot.data.triplets import read_manifest
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo
from scot.embeddings.chunk_encoder import EncoderSettings
from scot.embeddings.chunks import CHUNK, chunk_rows, image_chunks, text_chunks
from scot.embeddings.encode_run import EncodeRun
from scot.embeddings.hidden_states import StateType, state_shards
from scot.embeddings.needed import Needed
from scot.embeddings.pairs import FindPairs
from scot.encoders import Encoder, load_encoder, state_encoder
from scot.errors import InvalidInput, NotFound
from scot.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of a run: the manifest of the cache, and how many vectors an earlier run had encoded."""

    info: CacheInfo
    reused_images: int
    reused_texts: int
    seconds: float
    truncated_texts: int = 0


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
    state_type: StateType = "float16",
    chunk_size: int = CHUNK,
    find_pairs: FindPairs | None = None,
    progress: Progress = SILENT,
) -> Encoded:
    """Write the embedding cache of ``triplets`` into ``output``; with workers, Ray must be running.

    A chunk that an earlier run has finished, killed or not, is not encoded again; nor is a vector of the finished cache
    that ``output`` holds, if it is of the same encoder and, for an image, of the same sources.

    Args:
        sources: captioned images (:func:`scot.data.captioned.open_source`) with the images of the triplets.
        triplets: folders of triplet shards; a triplet that several of them have is encoded once.
        output: the folder of the cache; every worker must reach it under this name.
        captions_only: encode the texts alone; each caption's vector stands in for its images.
        encoder: the name of the encoder, or without actors one that is loaded, which encodes on its own device.
        num_workers: the number of actors that encode and share the machine's cores; 0: this process, without Ray.
        use_gpu: give each actor a GPU; without actors this process uses one.
        states: store the hidden states of images and edits too, for composers that read them.
        state_type: how they are stored: float16, or int8 with a scale for each place, in half of the bytes.
        chunk_size: images or texts of a chunk, the most that a kill costs each worker twice. Another size is another
            result: the same rows in other shards.
        find_pairs: makes the test of the triplets' images and their captions (:mod:`scot.embeddings.pairs`).
        progress: shows how many images and texts are encoded.

    Raises:
        NotFound, InvalidInput: a source, the triplets or the encoder cannot be read, or no triplet is usable.
        Conflict: another run writes ``output``.
        Unavailable: the disk is full, or the output cannot be written; what is finished stays.
    """
    started = time.monotonic()
    if num_workers < 0:
        raise InvalidInput(f"num_workers must not be negative, not {num_workers}")
    if chunk_size < 1:
        raise InvalidInput(f"chunk_size must be at least 1, not {chunk_size}")
    if use_gpu and not num_workers and not torch.cuda.is_available():
        raise InvalidInput("use_gpu encodes on a GPU, and PyTorch finds none here")
    if captions_only and sources:
        raise InvalidInput("captions_only encodes no image, so it takes no source")
    if num_workers and not isinstance(encoder, str):
        raise InvalidInput("actors load the encoder themselves, by its name")
    if not sources and not captions_only:
        raise InvalidInput("name at least one source of captioned images")
    opened = open_sources(sources)  # an invalid source is an error before anything starts
    for each in opened:
        progress.line(f"reading {each}")
    manifests = [read_manifest(folder) for folder in triplets]
    device = "cuda" if use_gpu and not num_workers else "cpu"  # actors load it again, here its id is needed
    model = load_encoder(encoder, device=device) if isinstance(encoder, str) else encoder
    widths, sizes = _states(model) if states else ({}, {cache.IMAGES: 0, cache.TEXTS: 0})
    stored = state_type if states else None
    fingerprints = [fingerprint(source) for source in sources]
    images_source = _hash([*fingerprints, model.id])
    source_hash = _hash(
        [*fingerprints, *(each.hash for each in manifests), model.id]
        + ["states"] * states
        + [state_type] * (states and state_type != "float16")
        + ["pairs"] * (find_pairs is not None)
        + [f"chunks of {chunk_size}"] * (chunk_size != CHUNK)
    )
    made_by = {cache.IMAGES: f"{images_source} {stored}", cache.TEXTS: f"{model.id} {stored}"}
    place = output if is_url(output) else str(Path(output).absolute())  # a worker of Ray may run in another folder
    name = encoder if isinstance(encoder, str) else model.id
    settings = EncoderSettings(name, place, model.dim, made_by, num_workers, use_gpu, stored)
    with _alone(output, progress) as still_alone:
        if (done := _finished(output, source_hash)) is not None:
            return Encoded(done, done.counts["images"], done.counts["texts"], time.monotonic() - started)
        needed = Needed.survey(triplets, captions_only=captions_only, states=states, find_pairs=find_pairs)
        if not needed.rows:
            raise InvalidInput(f"{', '.join(triplets)} holds no triplets: there is nothing to encode")
        run = EncodeRun(settings, model, {cache.IMAGES: images_source, cache.TEXTS: source_hash}, progress)
        refusals = Refusals(keep=0)
        rows = {part: chunk_rows(chunk_size, size) for part, size in sizes.items()}
        records = read_sources(opened, refusals) if opened else ()
        total = len(needed.texts) + (0 if captions_only else len(needed.images))
        with progress.task("encoding", total, "images and texts") as task:
            images = image_chunks(records, needed.images, rows[cache.IMAGES])
            texts = text_chunks(needed.all_texts(), needed.texts, needed.edits, rows[cache.TEXTS])
            run.encode(chain(images, texts), task)
        if captions_only:
            run.captions_as_images(needed.images)
        if [fingerprint(source) for source in sources] != fingerprints:
            raise InvalidInput(f"{', '.join(sources)} changed while it was read: start again")
        still_alone()
        info = run.publish(needed, refusals, widths, opened)
    reused = {part: sum(each.reused for each in written) for part, written in run.written.items()}
    truncated = sum(each.truncated for each in run.fresh if each.part == cache.TEXTS)
    seconds = time.monotonic() - started
    return Encoded(info, reused[cache.IMAGES], reused[cache.TEXTS], seconds, truncated)


def _states(model: Encoder) -> tuple[dict[str, int], dict[str, int]]:
    """The widths of the hidden states of images and texts, and the most bytes of one in float16.

    Raises:
        InvalidInput: the encoder has none.
    """
    encoder = state_encoder(model)
    _, (image,) = encoder.encode_pixels_states([model.preprocess(Image.new("RGB", (64, 64)))])
    _, (text,) = encoder.encode_texts_states(["a"])
    longest = len(model.tokenize(["a"])[0].tokens)
    widths = {cache.IMAGES: image.shape[1], cache.TEXTS: text.shape[1]}
    return widths, {cache.IMAGES: image.nbytes, cache.TEXTS: 2 * longest * text.shape[1]}


@contextlib.contextmanager
def _alone(output: str, progress: Progress) -> Iterator[Callable[[], None]]:
    """One run at a time; it deletes the half-written files of runs and workers that were killed on this machine."""
    place = open_place(output)
    with one_writer(output, progress=progress) as still_alone:
        if isinstance(place, Path):
            _sweep(place)
        yield still_alone
        if isinstance(place, Path):
            _sweep(place)


def _sweep(folder: Path) -> None:
    for left in chain(folder.glob(".*.tmp"), folder.glob("*/.*.tmp")):
        left.unlink(missing_ok=True)


def _finished(output: str, source_hash: str) -> CacheInfo | None:
    """The manifest of a complete cache of the same inputs, whose shards are undamaged."""
    try:
        info, manifests = cache.check_cache(output)
        if info.source != source_hash:
            return None
        for part in (cache.IMAGES, cache.TEXTS):
            for _ in cache.vector_shards(output, part, manifests[part], info.dim):
                pass
            for _ in state_shards(output, cache.STATES[part], manifests[cache.STATES[part]]) if info.states else ():
                pass
        for _ in cache.row_shards(output, manifests):
            pass
        cache.load_pairs(output, manifests)
    except (NotFound, InvalidInput):
        return None
    return info


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
