"""Encode a stream of images and texts: Ray Data tasks read the images, a pool of actors encodes them.

Without workers this process does both and needs no Ray.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from scot.data.captioned import read_captioned
from scot.data.records import CaptionedImage, Refusals
from scot.embeddings.images import embed_images
from scot.encoders import load_encoder
from scot.encoders.base import Encoder, embed_texts
from scot.errors import ImageRefused, our_cause

_IMAGE_BATCH = 64
_TEXT_BATCH = 256
_READ_BATCH = 32
_TEXT_BLOCK = 2048
_BLOCK_BYTES = 1024**2
_READER_CPUS = 0.25
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("data", pa.binary()),
        ("text", pa.string()),
        ("edit", pa.bool_()),
        ("refused", pa.string()),
        ("count", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class EncoderPool:
    """The actors that encode (0: this process): their encoder, whether each has a GPU, and whether states are kept.

    The encoder of actors is a name; that of this process may be loaded already.
    """

    encoder: str | Encoder
    num_workers: int = 1
    use_gpu: bool = False
    states: bool = False

    @property
    def threads(self) -> int:
        """The threads of one actor; all actors together use the cores of one machine."""
        return max(1, (os.cpu_count() or 1) // max(1, self.num_workers))


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """The float16 vector of an image or a text; or, with ``refused``, the reason why ``count`` images have none.

    In the row of a text, ``count`` is 1 if the text was cut to the encoder's context. ``states`` are the float16 bytes
    of the hidden states of an image or an edit, if they were requested.
    """

    image_id: str
    text: str
    refused: str
    count: int
    states: bytes
    vector: npt.NDArray[np.float16]


_COLUMNS: dict[str, type] = {"image_id": object, "text": object, "refused": object, "count": np.int64, "states": object}
"""The fields of :class:`EncodedRow` before the vector, and their types as columns of Ray Data."""


def encode_stream(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Iterator[EncodedRow]:
    """Encode the ``wanted`` images of ``sources`` and all ``texts``; images come in the order of the sources.

    ``edits`` are the texts whose hidden states are kept, if the pool keeps them.

    Raises:
        ScotError: what a source or the encoder raised.
    """
    rows = _rows_by_actors if pool.num_workers else _rows_here
    try:
        yield from rows(sources, wanted, texts, edits, pool)
    except Exception as error:
        raise our_cause(error) from None


class ReadSource:
    """Reads the ``wanted`` images of sources, still encoded as files, in a Ray Data task."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Stream the images of a batch of sources; the last rows of each source count what was refused."""
        for source in batch.column("text").to_pylist():
            refusals = Refusals()
            rows: list[dict[str, Any]] = []
            for record in read_captioned(source, refusals):
                if record.image_id not in self._wanted:
                    continue
                try:
                    rows.append({"image_id": record.image_id, "data": record.read()})
                except ImageRefused as error:
                    refusals.add(error.reason, record.image_id)
                if len(rows) >= _READ_BATCH:
                    yield pa.Table.from_pylist(rows, _SCHEMA)
                    rows = []
            rows += [{"refused": reason, "count": count} for reason, count in refusals.counts.items()]
            yield pa.Table.from_pylist(rows, _SCHEMA)


class EncodeRows:
    """Encodes images and texts, in a Ray Data actor or in this process."""

    def __init__(self, pool: EncoderPool) -> None:
        if pool.num_workers:
            torch.set_num_threads(pool.threads)
        device = "cuda" if pool.use_gpu else "cpu"
        self._encoder = load_encoder(pool.encoder, device=device) if isinstance(pool.encoder, str) else pool.encoder
        self._states = pool.states
        self._threads = max(2, pool.threads)

    def __call__(self, batch: pa.Table) -> dict[str, Any]:
        """Encode a batch of Ray Data: the fields of :class:`EncodedRow` as columns."""
        rows = batch.to_pylist()
        images = (CaptionedImage(row["image_id"], row["data"], (), {}) for row in rows if row["data"] is not None)
        texts = [row["text"] for row in rows if row["text"] is not None]
        edits = {row["text"] for row in rows if row["edit"]}
        encoded = [*self.images(images), *self.texts(texts, edits)]
        encoded += [self.refusal(row["refused"], row["count"]) for row in rows if row["refused"]]
        columns: dict[str, Any] = {
            name: np.array([getattr(row, name) for row in encoded], kind) for name, kind in _COLUMNS.items()
        }
        return {**columns, "vector": np.array([row.vector for row in encoded]).reshape(-1, self._encoder.dim)}

    def images(self, records: Iterable[CaptionedImage]) -> Iterator[EncodedRow]:
        """Encode images, with their hidden states if the pool asks for them."""
        batches = embed_images(
            records,
            CaptionedImage.load,
            self._encoder,
            batch_size=_IMAGE_BATCH,
            threads=self._threads,
            states=self._states,
        )
        for batch in batches:
            for record, error in batch.refused:
                yield self._row(image_id=record.image_id, refused=error.reason, count=1)
            for record, vector, states in zip_longest(batch.sources, batch.vectors, batch.states):
                yield self._row(vector, states, image_id=record.image_id)

    def texts(self, texts: Sequence[str], edits: Set[str]) -> Iterator[EncodedRow]:
        """Encode texts, with the hidden states of those in ``edits`` if the pool asks for them."""
        with_states = [text for text in texts if self._states and text in edits]
        without = [text for text in texts if not (self._states and text in edits)]
        for group in filter(None, (with_states, without)):
            vectors_ND, states, truncated_N = embed_texts(self._encoder, group, states=group is with_states)
            for text, vector, inside, truncated in zip_longest(group, vectors_ND, states, truncated_N):
                yield self._row(vector, inside, text=text, count=int(truncated))

    def refusal(self, reason: str, count: int) -> EncodedRow:
        """A row that reports refused images."""
        return self._row(refused=reason, count=count)

    def _row(
        self,
        vector: npt.NDArray[np.float32] | None = None,
        states: npt.NDArray[np.float16] | None = None,
        *,
        image_id: str = "",
        text: str = "",
        refused: str = "",
        count: int = 0,
    ) -> EncodedRow:
        half = np.zeros(self._encoder.dim, np.float16) if vector is None else vector.astype(np.float16)
        if not (np.isfinite(half).all() and (states is None or np.isfinite(states).all())):
            refused, count = "not_finite", 1
        return EncodedRow(image_id, text, refused, count, b"" if states is None else states.tobytes(), half)


def _rows_here(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Iterator[EncodedRow]:
    encode = EncodeRows(pool)
    for source in sources:
        refusals = Refusals()
        yield from encode.images(each for each in read_captioned(source, refusals) if each.image_id in wanted)
        yield from (encode.refusal(reason, count) for reason, count in refusals.counts.items())
    for start in range(0, len(texts), _TEXT_BLOCK):
        yield from encode.texts(texts[start : start + _TEXT_BLOCK], edits)


def _text_blocks(texts: list[str], edits: set[str]) -> Iterator[pa.Table]:
    for start in range(0, len(texts), _TEXT_BLOCK):
        rows = [{"text": text, "edit": text in edits} for text in texts[start : start + _TEXT_BLOCK]]
        yield pa.Table.from_pylist(rows, _SCHEMA)


def _rows_by_actors(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Iterator[EncodedRow]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES  # small blocks, so that encoding starts while the reader still reads
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.execution_options.preserve_order = True  # of two pictures with one id, the first is kept, every time
    parts: list[Any] = []
    if sources:
        names = ray.data.from_arrow([pa.table({"text": [source]}) for source in sources])
        read = ReadSource(wanted).__call__
        parts.append(names.map_batches(read, batch_format="pyarrow", batch_size=1, num_cpus=_READER_CPUS))
    if texts:
        parts.append(ray.data.from_arrow(list(_text_blocks(texts, edits))))
    # The readers need a place beside the actors: without one they would wait for each other for ever.
    places = float(ray.cluster_resources().get("CPU", 1.0)) - (_READER_CPUS * len(sources) if sources else 0.0)
    encode = {
        "fn_constructor_args": (pool,),
        "batch_format": "pyarrow",
        "compute": ray.data.ActorPoolStrategy(size=pool.num_workers),
        "batch_size": _TEXT_BATCH if texts else _IMAGE_BATCH,
        **({"num_gpus": 1, "num_cpus": 0} if pool.use_gpu else {"num_cpus": min(1.0, places / pool.num_workers)}),
    }
    whole = parts[0] if len(parts) == 1 else parts[0].union(parts[1])
    for batch in whole.map_batches(EncodeRows, **encode).iter_batches(batch_size=None, batch_format="numpy"):
        columns = (batch[name] for name in (*_COLUMNS, "vector"))
        for image_id, text, refused, count, states, vector in zip(*columns, strict=True):
            yield EncodedRow(image_id, text, refused, int(count), states, vector)
