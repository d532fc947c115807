"""Encoding in processes that are killed: at a write, in the midst of one, or after some time.

Each run is a fork of a server that has imported PyTorch already, so that thirty kills take seconds.
"""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from scot.data.run_report import REPORT
from scot.data.triplets import Triplet, write_triplets
from tests.support.forked import forkserver

_ROWS = 10_000


def write_pictures(folder: Path, count: int, *, side: int = 8, broken: int = 0) -> str:
    """A table with ``count`` small pictures inside, one in ``broken`` of them cut short; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("id", pa.string()), ("image", pa.binary()), ("caption", pa.string())])
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(folder / "captions.parquet", schema) as writer:
        for start in range(0, count, _ROWS):
            numbers = range(start, min(count, start + _ROWS))
            images = [_png(rng.integers(0, 256, (side, side, 3), np.uint8)) for _ in numbers]
            if broken:
                images = [
                    image[:40] if number % broken == broken - 1 else image
                    for number, image in zip(numbers, images, strict=True)
                ]
            names = [f"image-{number:08d}" for number in numbers]
            captions = [_caption(number) for number in numbers]
            writer.write_table(pa.table([names, images, captions], schema=schema), row_group_size=500)
    return str(folder)


def write_their_triplets(folder: Path, count: int, each: int = 1) -> str:
    """``each`` triplets for each picture of :func:`write_pictures`."""
    write_triplets(folder, _triplets(count, each), {})
    return str(folder)


def _triplets(count: int, each: int) -> Iterator[Triplet]:
    for number in range(count):
        for n in range(each):
            to = (number + n + 1) % 997
            yield Triplet.make(
                f"image-{number:08d}", _caption(number), f"make it {to}", _caption(to), aspect="colour",
                generator="rules", prompt_version="1", seed=0,
            )  # fmt: skip


def _caption(number: int) -> str:
    return f"a thing of the colour {number % 997}"


def _png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def content(folder: Path) -> dict[str, str]:
    """The hash of each file below a folder that belongs to the result."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", REPORT)
    }


@dataclass(slots=True)
class EncodingProcess:
    """Runs of :func:`scot.embeddings.encode.encode_triplets` with the same arguments, each in a process of its own."""

    arguments: dict[str, Any]
    log: Path
    """Receives the number of images or texts of each chunk that a run begins."""
    _context: Any = field(default_factory=forkserver)

    def run(self, *, kill_at: int = 0, torn: bool = False, kill_after_s: float = 0.0) -> int:
        """Run to the end; returns the exit code, −9 if it was killed.

        Args:
            kill_at: kill the process at this write, 1 for the first; 0: at none.
            torn: kill it when half of the file is written, not before.
            kill_after_s: kill it after this time, if it has not finished; 0: never.
        """
        process = self._context.Process(target=_encode, args=(self.arguments, str(self.log), kill_at, torn))
        process.start()
        process.join(kill_after_s or None)
        if process.is_alive():
            process.kill()
            process.join()
        return int(process.exitcode)

    def begun(self) -> int:
        """The images and texts that all runs together began to encode."""
        return sum(map(int, self.log.read_text().split())) if self.log.exists() else 0


def _encode(arguments: dict[str, Any], log: str, kill_at: int, torn: bool) -> None:
    import torch

    from scot.data import atomic_io, storage
    from scot.embeddings.chunk_encoder import ChunkEncoder, Job
    from scot.embeddings.chunk_shards import Written
    from scot.embeddings.encode import encode_triplets

    torch.set_num_threads(1)
    writes = [0]
    write_bytes, encode = atomic_io.write_bytes, ChunkEncoder.encode

    def killed(target: Path, data: bytes, **options: Any) -> None:
        writes[0] += 1
        if writes[0] == kill_at:
            if torn:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.with_name(f".{target.name}.00000000.tmp").write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write_bytes(target, data, **options)

    def logged(self: ChunkEncoder, job: Job) -> Written:
        with Path(log).open("a") as file:
            file.write(f"{len(job.chunk.keys) - len(job.earlier)}\n")
        return encode(self, job)

    setattr(storage, "write_bytes", killed)  # noqa: B010
    setattr(ChunkEncoder, "encode", logged)  # noqa: B010
    encode_triplets(**arguments)
