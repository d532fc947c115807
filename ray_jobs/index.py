"""Index a captioned folder: ``python ray_jobs/index.py --source ./pictures --store ./scot-data/qdrant``.

With ``--num-workers N``, N Ray workers decode and embed. Only this process writes to the store, because the embedded
store can be open in one process only. After Ctrl-C, run it again: the stored items stay as they are.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.data.captioned import Source, open_source
from scot.data.records import CaptionedImage, Refusals
from scot.embeddings.images import embed_images
from scot.encoders import load_encoder
from scot.errors import InvalidInput
from scot.index.bulk import Batch, index_captioned, store_batches
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.store import GalleryStore
from scot.progress import Progress


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Index the images of a captioned source.

    Example: python ray_jobs/index.py --source ./pictures --store ./scot-data/qdrant
    """

    source: str
    """A folder of images with or without a table of captions, WebDataset shards, or a COCO captions JSON."""
    store: Path | None = None
    """Folder of the embedded vector store; give either this or --qdrant-url."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """The Qdrant server, if the store is one."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """The settings of a collection that is created on a server."""
    collection: str = "gallery"
    """The collection to fill; it is created when missing."""
    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    device: str | None = None
    """The device of the encoder: cpu, cuda …; by default a GPU when there is one."""
    num_workers: int = 0
    """Ray workers that decode and embed; 0: this process, which is fastest on one machine without GPUs."""
    batch_size: int = 128
    """Images embedded and stored at once."""
    threads: int = 4
    """Threads of each process that decode images."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.threads < 1 or self.num_workers < 0:
            raise InvalidInput("batch_size and threads must be at least 1, num_workers at least 0")


def main(config: IndexConfig) -> int:
    """Index and print a summary.

    Raises:
        InvalidInput: the source or the encoder cannot be read.
        EncoderMismatch: the collection was made with another encoder.
        Conflict: another process has the embedded store open.
    """
    source = open_source(config.source, captions="optional")
    print(f"reading {source}", flush=True)
    refusals = Refusals()
    begun = time.monotonic()
    stored = asyncio.run(_index(config, source, refusals))
    print(f"indexed {stored:,} pictures in {time.monotonic() - begun:.1f} s; {refusals.summary()}")
    if stored == 0:
        raise InvalidInput(f"no image of {config.source} could be indexed")
    return 0


async def _index(config: IndexConfig, source: Source, refusals: Refusals) -> int:
    store = GalleryStore.open(path=config.store, server=config.qdrant)
    try:
        encoder = load_encoder(config.encoder, device=config.device)
        images = source.read(refusals)
        with Progress.on(sys.stderr).task("indexing", source.count(), "images") as task:
            if config.num_workers:
                batches = _ray_batches(config, images)
                return await store_batches(
                    store, config.collection, encoder, batches, refusals, layout=config.layout, task=task
                )
            sizes = {"batch_size": config.batch_size, "threads": config.threads}
            return await index_captioned(
                store, config.collection, images, encoder, refusals, **sizes, layout=config.layout, task=task
            )
    finally:
        await store.close()


def _ray_batches(config: IndexConfig, images: Iterable[CaptionedImage]) -> Iterator[Batch]:
    """Batches from a pool of Ray workers, two in flight for each, in the order they are ready."""
    import ray

    from ray_jobs.session import ray_session

    with ray_session():
        yield from _from_pool(ray, config, iter(images))


def _from_pool(ray: Any, config: IndexConfig, source: Iterator[CaptionedImage]) -> Iterator[Batch]:
    worker = ray.remote(_Worker).options(num_gpus=1 if str(config.device).startswith("cuda") else 0)
    workers = [worker.remote(config) for _ in range(config.num_workers)]
    busy: dict[Any, Any] = {}

    def feed(each: Any) -> None:
        if records := list(islice(source, config.batch_size)):
            busy[each.embed.remote(records)] = each

    for each in workers * 2:
        feed(each)
    while busy:
        ready, _ = ray.wait(list(busy), num_returns=1)
        feed(busy.pop(ready[0]))
        yield ray.get(ready[0])


class _Worker:
    """A Ray actor with an encoder of its own."""

    def __init__(self, config: IndexConfig) -> None:
        self._encoder = load_encoder(config.encoder, device=config.device)
        self._threads = config.threads

    def embed(self, records: list[CaptionedImage]) -> Batch:
        """Embed one batch."""
        batches = embed_images(
            records, CaptionedImage.load, self._encoder, batch_size=len(records), threads=self._threads
        )
        (batch,) = batches
        return batch


def run(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return flags.run("index", main, IndexConfig, argv)


if __name__ == "__main__":
    sys.exit(run())
