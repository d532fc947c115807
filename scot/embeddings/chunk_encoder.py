"""Encodes chunks, in an actor of Ray or in this process: the one way from images and texts to shards of a cache."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scot.data.records import CaptionedImage
from scot.embeddings.cache import IMAGES, TEXTS
from scot.embeddings.chunk_shards import ChunkShards, Rows, Written
from scot.embeddings.chunks import Chunk
from scot.embeddings.hidden_states import StateType
from scot.embeddings.images import embed_images
from scot.encoders import Encoder, load_encoder
from scot.encoders.base import embed_texts
from scot.pool import Pool, RayPool, ThreadPool

_IMAGE_BATCH = 64
_AT_ONCE = 2
"""Chunks in progress in one process: one is decoded, tokenized or written while the towers have the other."""

Vector = npt.NDArray[np.float16]
States = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Job:
    """A chunk to encode, and the vectors and states that an earlier cache has, by their places in it."""

    chunk: Chunk
    earlier: dict[int, tuple[Vector, States | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderSettings:
    """What a run encodes with, and where its shards go; the workers are Ray's actors, 0: threads of this process."""

    encoder: str
    output: str
    dim: int
    made_by: dict[str, str]
    """What decides the vectors of ``images`` and ``texts`` besides the keys."""
    num_workers: int = 1
    use_gpu: bool = False
    states: StateType | None = None

    def shards(self, part: str) -> ChunkShards:
        """The shards of ``images`` or ``texts``."""
        return ChunkShards(self.output, part, self.dim, self.made_by[part], self.states)

    @property
    def threads(self) -> int:
        """The threads of one worker; all workers together use the cores of one machine."""
        return max(1, (os.cpu_count() or 1) // max(1, self.num_workers))


def open_encoders(settings: EncoderSettings, encoder: Encoder | None) -> Pool[Job, Written]:
    """The workers of a run; ``encoder`` is one that this process has loaded already, and may use."""
    if not settings.num_workers:
        here = ChunkEncoder(settings, encoder)
        return ThreadPool(here.encode, _AT_ONCE, here.stop)
    import ray

    cores = float(ray.cluster_resources().get("CPU", 1.0))
    resources: dict[str, Any] = {"num_cpus": min(1.0, cores / settings.num_workers)}
    if settings.use_gpu:
        resources = {"num_gpus": 1, "num_cpus": 0}
    return RayPool(
        ChunkEncoder, (settings,), "encode", count=settings.num_workers, items_each=_AT_ONCE, options=resources,
        what="a process that encodes",
    )  # fmt: skip


class ChunkEncoder:
    """Encodes chunks and writes their shards; several threads may do so at once, and take turns at the towers."""

    def __init__(self, settings: EncoderSettings, encoder: Encoder | None = None) -> None:
        self._settings = settings
        self._shards = {part: settings.shards(part) for part in (IMAGES, TEXTS)}
        self._towers, self._stopped = Lock(), Event()
        self._encoder = encoder or load_encoder(settings.encoder, device="cuda" if settings.use_gpu else "cpu")

    def stop(self) -> None:
        """Let the chunks in progress end after the batch that the towers have; they are not written."""
        self._stopped.set()

    def encode(self, job: Job) -> Written:
        """Encode a chunk and write its shards.

        Raises:
            Unavailable: the shards cannot be written.
            CancelledError: :meth:`stop` was called.
        """
        if self._settings.num_workers:
            torch.set_num_threads(self._settings.threads)  # the setting is each thread's own
        chunk, refused, found = job.chunk, Counter[str](), dict(job.earlier)
        places = [place for place in range(len(chunk.keys)) if place not in job.earlier]
        truncated = 0
        if chunk.part == IMAGES:
            self._images([(place, chunk.images[place]) for place in places], found, refused)
        else:
            truncated = self._texts(chunk, places, found)
        dim = self._settings.dim
        vectors_ND = np.zeros((len(chunk.keys), dim), np.float16)
        kept: list[int] = []
        for place in sorted(found):
            vector_D, states_LW = found[place]
            if np.isfinite(vector_D).all() and (states_LW is None or np.isfinite(states_LW).all()):
                vectors_ND[len(kept)] = vector_D
                kept.append(place)
            else:
                refused["not_finite"] += 1
        rows = Rows([chunk.keys[place] for place in kept], vectors_ND[: len(kept)], [found[at][1] for at in kept])
        reused = len(job.earlier)
        return self._shards[chunk.part].write(chunk, rows, refused, truncated=truncated, reused=reused)

    def _images(
        self,
        records: Iterable[tuple[int, CaptionedImage]],
        found: dict[int, tuple[Vector, States | None]],
        refused: Counter[str],
    ) -> None:
        batches = embed_images(
            records, lambda pair: pair[1].load(), self._encoder, batch_size=_IMAGE_BATCH,
            threads=max(2, self._settings.threads), states=self._settings.states is not None,
            fetch=lambda pair: (pair[0], pair[1].fetched()), turn=self._towers,
        )  # fmt: skip
        for batch in batches:
            if self._stopped.is_set():
                raise CancelledError
            refused.update(error.reason for _, error in batch.refused)
            states: Sequence[States | None] = batch.states or [None] * len(batch.sources)
            for (place, _), vector_D, states_LW in zip(batch.sources, batch.vectors, states, strict=True):
                found[place] = vector_D.astype(np.float16), states_LW

    def _texts(self, chunk: Chunk, places: list[int], found: dict[int, tuple[Vector, States | None]]) -> int:
        """Encode texts; returns the number of those that were cut to the encoder's context."""
        truncated = 0
        inside = [place for place in places if chunk.edits and chunk.edits[place]]
        outside = [place for place in places if not (chunk.edits and chunk.edits[place])]
        for group, with_states in ((inside, True), (outside, False)):
            if not group:
                continue
            keys = [chunk.keys[place] for place in group]
            texts = embed_texts(self._encoder, keys, states=with_states, turn=self._towers)
            truncated += sum(texts.truncated_N)
            for row, place in enumerate(group):
                vector_D = texts.vectors_ND[row].astype(np.float16)
                found[place] = vector_D, texts.states_NLW[row] if with_states else None
        return truncated
