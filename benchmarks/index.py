"""How fast a folder is indexed, and how fast a second run sees that nothing has changed.

    python benchmarks/index.py --output index.json

The pictures are drawn before the clock starts. Encoding alone (read, decode, embed; nothing is stored) and indexing
(the same, with hashes and the embedded store) take turns over the same files; the ratio is the median over
the rounds. Then a second run over a folder of small pictures, and one over many unchanged files, whose items are stored
beforehand with random vectors.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.data.captioned import open_source
from scot.data.records import CaptionedImage, Refusals
from scot.embeddings.images import EmbeddedBatch, embed_images
from scot.encoders import load_encoder
from scot.encoders.base import Encoder
from scot.index.gallery import Batches, StoreGallery
from scot.index.store import GalleryStore
from scot.index.sync import sync
from scot.index.sync_plan import Pending
from scot.index.sync_report import Report
from scot.machine import machine


@dataclass(frozen=True, slots=True)
class IndexBenchmark:
    """Measure indexing beside encoding alone, and runs over folders that have not changed.

    Example: python benchmarks/index.py --pictures 1000 --unchanged 20000
    """

    pictures: int = 2_000
    """Pictures of the comparison with encoding alone."""
    side: int = 640
    """Their longer side, in pixels; they are JPEGs."""
    rounds: int = 3
    """Rounds of it; the median counts."""
    small: int = 10_000
    """Small pictures of the folder that is indexed twice."""
    unchanged: int = 200_000
    """Files of the folder of which nothing has changed."""
    dim: int = 512
    """Width of the random vectors of their items."""
    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    device: str = "cpu"
    """The device of the encoder."""
    threads: int = 4
    """Threads that decode."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: IndexBenchmark) -> int:
    """Measure and print a Markdown table."""
    print(f"{machine()}\n")
    encoder = load_encoder(config.encoder, device=config.device)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        numbers = _compared(config, encoder, root) | _twice(config, encoder, root) | _unchanged(config, encoder, root)
    print("| what | number |\n|---|---|")
    for name, value in numbers.items():
        print(f"| {name} | {value:,.3g} |" if value < 100 else f"| {name} | {value:,.0f} |")
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), **numbers}, indent=1), encoding="utf-8")
    return 0


def _compared(config: IndexBenchmark, encoder: Encoder, root: Path) -> dict[str, float]:
    """Images per second of encoding alone and of indexing, and the ratio."""
    pictures = root / "pictures"
    draw_jpegs(pictures, config.pictures, config.side)
    sizes: dict[str, Any] = {"batch_size": 128, "threads": config.threads}
    alone, indexed, with_thumbnails = list[Timed](), list[Timed](), list[Timed]()

    def encode() -> int:
        records = open_source(pictures, captions="optional").read(Refusals())
        batches = embed_images(records, CaptionedImage.load, encoder, **sizes)
        return sum(len(batch.sources) for batch in batches)

    for number in range(config.rounds + 1):
        encoding = _timed(lambda: asyncio.run(asyncio.to_thread(encode)))  # in a thread, as indexing does it
        indexing = _timed(partial(_index, pictures, root / f"store-{number}", encoder, **sizes))
        again = root / f"thumbnails-{number}"
        showing = _timed(partial(_index, pictures, again / "store", encoder, thumbnails=again / "thumbnails", **sizes))
        assert indexing.result.new == showing.result.new == config.pictures
        if number:  # the first round warms up
            alone.append(encoding)
            indexed.append(indexing)
            with_thumbnails.append(showing)
    pairs, thumbnailed = list(zip(alone, indexed, strict=True)), list(zip(alone, with_thumbnails, strict=True))
    return {
        "encoding alone, images/s": config.pictures / statistics.median(each.seconds for each in alone),
        "indexing, images/s": config.pictures / statistics.median(each.seconds for each in indexed),
        "ratio": statistics.median(theirs.seconds / ours.seconds for theirs, ours in pairs),
        "ratio of CPU time": statistics.median(theirs.cpu_s / ours.cpu_s for theirs, ours in pairs),
        "with thumbnails, ratio": statistics.median(theirs.seconds / ours.seconds for theirs, ours in thumbnailed),
        "with thumbnails, ms more for an image": 1_000
        * statistics.median(ours.seconds - theirs.seconds for theirs, ours in thumbnailed)
        / config.pictures,
    }


def _twice(config: IndexBenchmark, encoder: Encoder, root: Path) -> dict[str, float]:
    """Seconds of a first and a second run over small pictures."""
    pictures = root / "small"
    draw_jpegs(pictures, config.small, 64)
    first = _timed(lambda: _index(pictures, root / "small-store", encoder))
    second = _timed(lambda: _index(pictures, root / "small-store", encoder))
    assert second.result.unchanged == config.small, second.result.summary()
    name = f"{config.small:,} small pictures"
    return {
        f"{name}: first run, s": first.seconds,
        f"{name}: second run, s": second.seconds,
        f"{name}: second run, CPU s": second.cpu_s,
    }


def _unchanged(config: IndexBenchmark, encoder: Encoder, root: Path) -> dict[str, float]:
    """Seconds of a run over many files of which nothing has changed."""
    pictures, rng = root / "many", np.random.default_rng(0)
    pictures.mkdir()
    draw_jpegs(root / "few", 8, 64)
    for number in range(config.unchanged):  # few files under many names: the run looks at names, sizes and times only
        os.link(root / "few" / f"{number % 8}.jpg", pictures / f"{number}.jpg")

    def embed(batches: Iterator[Pending], caption_weight: float) -> Batches:
        while some := list(islice(batches, 512)):
            for picture in some:
                picture.read()
            vectors = rng.standard_normal((len(some), config.dim), dtype=np.float32)
            yield EmbeddedBatch(some, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [], [])

    wide: Any = type("Wide", (), {"id": f"random@0-{config.dim}d", "dim": config.dim})()
    _index(pictures, root / "many-store", wide, embed=embed)
    again = _timed(lambda: _index(pictures, root / "many-store", wide, embed=embed))
    assert again.result.unchanged == config.unchanged, again.result.summary()
    name = f"{config.unchanged:,} unchanged pictures"
    return {f"{name}, s": again.seconds, f"{name}, CPU s": again.cpu_s}


def _index(pictures: Path, path: Path, encoder: Encoder, *, thumbnails: Path | None = None, **options: Any) -> Report:
    async def work() -> Report:
        store = GalleryStore.open(path=path, thumbnails=thumbnails)
        try:
            source = open_source(pictures, captions="optional")
            return await sync([source], StoreGallery(store, "gallery", encoder, **options))
        finally:
            await store.close()

    return asyncio.run(work())


def draw_jpegs(folder: Path, number: int, side: int) -> None:
    """JPEGs with the noise of a photograph, all different, an hour old."""
    folder.mkdir()
    rng, hour_ago = np.random.default_rng(0), time.time() - 3_600
    coarse = rng.integers(0, 255, (max(2, side // 16), max(2, side // 20), 3), dtype=np.uint8)
    for place in range(number):
        shifted = np.roll(coarse, place, (0, 2)) ^ np.uint8(place % 251)
        file = folder / f"{place}.jpg"
        Image.fromarray(shifted).resize((side, side * 3 // 4), Image.Resampling.BILINEAR).save(file, quality=85)
        os.utime(file, (hour_ago, hour_ago))


@dataclass(frozen=True, slots=True)
class Timed:
    """What a piece of work took, and its result."""

    seconds: float
    cpu_s: float
    result: Any


def _timed(work: Callable[[], Any]) -> Timed:
    begun, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Timed(time.perf_counter() - begun, time.process_time() - cpu, result)


if __name__ == "__main__":
    sys.exit(flags.run("index", main, IndexBenchmark))
