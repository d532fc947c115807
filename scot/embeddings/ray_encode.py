"""The streaming side of encoding: Ray Data's tasks read pictures and a pool of actors turns them into vectors.

Without workers this process does both, and needs no Ray.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from scot.data.captioned import read_captioned
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.encoders import Pixels, load_encoder, state_encoder
from scot.encoders.base import encode_pixels
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
    """How many actors encode (0: this process), with which encoder, with a GPU each, and with hidden states or not."""

    encoder: str
    num_workers: int = 1
    use_gpu: bool = False
    states: bool = False

    @property
    def threads(self) -> int:
        """The threads of one actor: together they fill one machine."""
        return max(1, (os.cpu_count() or 1) // max(1, self.num_workers))


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A picture's or a text's float16 vector; or, with ``refused``, the reason why ``count`` pictures have none.

    On a text's row, ``count`` is 1 when the text was cut to the encoder's context. ``states`` are the float16 bytes of
    the hidden states of a picture or an edit, where they were asked for.
    """

    image_id: str
    text: str
    refused: str
    count: int
    vector: npt.NDArray[np.float16]
    states: bytes


def encode_stream(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Iterator[EncodedRow]:
    """Encode the ``wanted`` pictures of ``sources`` and all ``texts``; rows come as they are done, in input order.

    ``edits`` are the texts whose hidden states are wanted where the pool gives them.

    Raises:
        ScotError: what a source or the encoder raised.
    """
    batches = _batches_by_actors if pool.num_workers else _batches_here
    try:
        for batch in batches(sources, wanted, texts, edits, pool):
            columns = (batch[name] for name in ("image_id", "text", "refused", "count", "vector", "states"))
            for image_id, text, refused, count, vector, states in zip(*columns, strict=True):
                yield EncodedRow(str(image_id), str(text), str(refused), int(count), vector, states)
    except Exception as error:
        raise our_cause(error) from None


class ReadSource:
    """One source to batches of encoded pictures, only those that are wanted; in a Ray Data task or here."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Stream the sources of a batch; the last rows tell what was refused."""
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
    """Pictures and texts to vectors, in a Ray Data actor or here. Decoding runs in threads beside the towers."""

    def __init__(self, pool: EncoderPool) -> None:
        if pool.num_workers:
            torch.set_num_threads(pool.threads)
        self._encoder = load_encoder(pool.encoder, device="cuda" if pool.use_gpu else "cpu")
        self._states = pool.states
        self._threads = ThreadPoolExecutor(max(2, pool.threads))

    def __call__(self, batch: pa.Table) -> dict[str, Any]:
        """Columns image_id, text, refused, count, vector (float16; zeros where a row was refused) and states."""
        rows = batch.to_pylist()
        vectors_ND = np.zeros((len(rows), self._encoder.dim), np.float16)
        pictures = [n for n, row in enumerate(rows) if row["data"] is not None]
        texts = [n for n, row in enumerate(rows) if row["text"] is not None]
        decoded = list(self._threads.map(self._decode, (rows[n]["data"] for n in pictures)))
        for n, pixels in zip(pictures, decoded, strict=True):
            if isinstance(pixels, str):
                rows[n] |= {"refused": pixels, "count": 1}
        good = {n: pixels for n, pixels in zip(pictures, decoded, strict=True) if not isinstance(pixels, str)}
        tokenized = dict(zip(texts, self._encoder.tokenize([rows[n]["text"] for n in texts]), strict=True))
        for n, text in tokenized.items():
            rows[n]["count"] = int(text.truncated)
        tokens = {n: text.tokens for n, text in tokenized.items()}
        told = [n for n in texts if self._states and rows[n]["edit"]]
        vectors_ND[list(good)], states = encode_pixels(self._encoder, list(good.values()), states=self._states)
        inside = dict(zip(good, states, strict=False))
        if told:
            vectors_ND[told], states = state_encoder(self._encoder).encode_tokens_states([tokens.pop(n) for n in told])
            inside |= dict(zip(told, states, strict=True))
        vectors_ND[list(tokens)] = self._encoder.encode_tokens(list(tokens.values()))
        for n in [*good, *texts]:
            if not (np.isfinite(vectors_ND[n]).all() and (n not in inside or np.isfinite(inside[n]).all())):
                rows[n].update(refused="not_finite", count=1)
        return {
            "image_id": np.array([row["image_id"] or "" for row in rows], object),
            "text": np.array([row["text"] or "" for row in rows], object),
            "refused": np.array([row["refused"] or "" for row in rows], object),
            "count": np.array([row["count"] or 0 for row in rows], np.int64),
            "vector": vectors_ND,
            "states": np.array([inside[n].tobytes() if n in inside else b"" for n in range(len(rows))], object),
        }

    def _decode(self, data: bytes) -> Pixels | str:
        try:
            return self._encoder.preprocess(decode_image(data))
        except ImageRefused as error:
            return error.reason


def _batches_here(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Iterator[dict[str, Any]]:
    read, encode = ReadSource(wanted), EncodeRows(pool)
    for source in sources:
        for batch in read(pa.table({"text": [source]})):
            yield encode(batch)
    for block in _text_blocks(texts, edits):
        yield encode(block)


def _text_blocks(texts: list[str], edits: set[str]) -> Iterator[pa.Table]:
    for start in range(0, len(texts), _TEXT_BLOCK):
        rows = [{"text": text, "edit": text in edits} for text in texts[start : start + _TEXT_BLOCK]]
        yield pa.Table.from_pylist(rows, _SCHEMA)


def _batches_by_actors(
    sources: list[str], wanted: set[str], texts: list[str], edits: set[str], pool: EncoderPool
) -> Any:
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
    return whole.map_batches(EncodeRows, **encode).iter_batches(batch_size=None, batch_format="numpy")
