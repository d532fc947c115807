"""Index a captioned folder: ``python ray_jobs/index.py --source ./pictures --store ./scot-data/qdrant``.

With ``--num-workers N``, N Ray workers decode and embed. Only this process writes to the store, because the embedded
store can be open in one process only. Only what is new or has changed is embedded; after Ctrl-C, run it again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.data.captioned import Source, open_source
from scot.embeddings.images import EmbeddedBatch, embed_images
from scot.encoders import load_encoder
from scot.errors import InvalidFlag, InvalidInput
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.gallery import Batches, StoreGallery, load_image
from scot.index.store import GalleryStore
from scot.index.sync import Pending, sync
from scot.index.sync_report import Report
from scot.index.thumbnails import Thumbnails
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
    thumbnails: str = ""
    """Folder or URL of the thumbnails; by default the folder thumbnails beside --store, and none with --qdrant-url."""
    no_thumbnails: bool = False
    """Make no thumbnails."""
    prune: bool = False
    """Remove items whose image is no longer in the source; items of other sources stay."""
    dry_run: bool = False
    """Print what would be done, and change nothing."""
    num_workers: int = 0
    """Ray workers that decode and embed; 0: this process, which is fastest on one machine without GPUs."""
    batch_size: int = 128
    """Images embedded and stored at once."""
    threads: int = 4
    """Threads of each process that decode images."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.threads < 1 or self.num_workers < 0:
            raise InvalidInput("batch_size and threads must be at least 1, num_workers at least 0")
        if self.thumbnails and self.no_thumbnails:
            raise InvalidFlag("--no-thumbnails contradicts --thumbnails")

    def thumbnails_url(self) -> str | None:
        """Where the thumbnails are, if any are to be made."""
        if self.no_thumbnails:
            return None
        return self.thumbnails or (None if self.store is None else str(Thumbnails.beside(self.store)))


def main(config: IndexConfig) -> int:
    """Index and print a summary.

    Raises:
        InvalidInput: the source or the encoder cannot be read.
        EncoderMismatch: the collection was made with another encoder.
        Conflict: another process has the embedded store open.
    """
    source = open_source(config.source, captions="optional")
    print(f"reading {source}", flush=True)
    report = asyncio.run(_index(config, source))
    for line in report.lines():
        print(line)
    report.check()
    return 0


async def _index(config: IndexConfig, source: Source) -> Report:
    store = GalleryStore.open(path=config.store, server=config.qdrant, thumbnails=config.thumbnails_url())
    try:
        encoder = load_encoder(config.encoder, device=config.device)
        gallery = StoreGallery(
            store,
            config.collection,
            encoder,
            batch_size=config.batch_size,
            threads=config.threads,
            layout=config.layout,
            embed=partial(_ray_batches, config) if config.num_workers else None,
        )
        progress = Progress.on(sys.stderr)
        return await sync([source], gallery, prune=config.prune, dry_run=config.dry_run, progress=progress)
    finally:
        await store.close()


def _ray_batches(config: IndexConfig, pictures: Iterator[Pending]) -> Batches:
    """Batches from a pool of Ray workers, two in flight for each, in the order they are ready."""
    import ray

    from ray_jobs.session import ray_session

    with ray_session():
        yield from _from_pool(ray, config, pictures)


def _from_pool(ray: Any, config: IndexConfig, pictures: Iterator[Pending]) -> Batches:
    worker = ray.remote(_Worker).options(num_gpus=1 if str(config.device).startswith("cuda") else 0)
    workers = [worker.remote(config) for _ in range(config.num_workers)]
    busy: dict[Any, Any] = {}

    def feed(each: Any) -> None:
        if batch := list(islice(pictures, config.batch_size)):
            busy[each.embed.remote(batch)] = each

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
        url = config.thumbnails_url()
        self._load = partial(load_image, None if url is None else Thumbnails(url), config.collection)
        self._threads = config.threads

    def embed(self, pictures: list[Pending]) -> EmbeddedBatch[Pending]:
        """Embed one batch."""
        (batch,) = embed_images(
            pictures,
            self._load,
            self._encoder,
            batch_size=len(pictures),
            threads=self._threads,
            fetch=Pending.fetched,
        )
        return batch


def run(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return flags.run("index", main, IndexConfig, argv)


if __name__ == "__main__":
    sys.exit(run())
