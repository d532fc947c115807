"""Index a captioned folder: ``python ray_jobs/index.py --source ./pictures --store ./scot-data/qdrant``.

With ``--num-workers N``, N Ray workers decode and embed. Only this process writes to the store, because the embedded
store can be open in one process only. Only what is new or has changed is embedded; after Ctrl-C, run it again.

With ``--new-collection`` the workers write to a Qdrant server themselves, into a collection beside the one that serves:

    python ray_jobs/index.py --source ./pictures --qdrant-url http://qdrant:6333 --new-collection --num-workers 8
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.data.captioned import Source, count, open_source
from scot.data.run_report import RunReport
from scot.embeddings.images import EmbeddedBatch, embed_images
from scot.encoders import load_encoder
from scot.errors import InvalidFlag, InvalidInput
from scot.index import rebuild
from scot.index.aliases import AliasChange
from scot.index.bulk import LoaderSettings, Part, PartLoader, load_parts
from scot.index.captions import with_captions
from scot.index.config import CollectionConfig, ServerConfig
from scot.index.gallery import Batches, StoreGallery, load_image
from scot.index.store import GalleryStore
from scot.index.sync import sync
from scot.index.sync_plan import Pending
from scot.index.sync_report import PartReport, Report
from scot.index.thumbnails import Thumbnails
from scot.pool import Pool, RayPool, ThreadPool
from scot.progress import Progress

_AT_ONCE = 2  # parts of one worker


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
    """The settings of a collection that is created."""
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
    new_collection: bool = False
    """Fill a new collection of the Qdrant server, then point --collection at it; each worker writes to the server."""
    force: bool = False
    """With --new-collection: swap even if the encoder differs from that of the previous collection."""
    wait_s: float = 86_400.0
    """With --new-collection: seconds to wait, before the swap, for the server to build the graph."""
    report: str = ""
    """A folder for the report of what was done (`scot plan --check` reads it)."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.threads < 1 or self.num_workers < 0:
            raise InvalidInput("batch_size and threads must be at least 1, num_workers at least 0")
        if self.thumbnails and self.no_thumbnails:
            raise InvalidFlag("--no-thumbnails contradicts --thumbnails")
        if self.new_collection and self.qdrant.qdrant_url is None:
            raise InvalidFlag("--new-collection needs a Qdrant server: name it with --qdrant-url")
        if self.new_collection and (self.prune or self.dry_run):
            raise InvalidFlag("--new-collection has nothing to prune, and no dry run")

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
    report = asyncio.run(_index(config, source)) if not config.new_collection else _load(config, source)
    report.check()
    if config.report and not config.dry_run:
        counts = {"images": report.new + report.updated, "unchanged": report.unchanged}
        store = "embedded" if config.qdrant.qdrant_url is None else "qdrant"
        settings = {"encoder": config.encoder, "store": store, "workers": config.num_workers}
        RunReport("indexing", report.seconds, counts, settings).write(config.report)
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
        report = await sync([source], gallery, prune=config.prune, dry_run=config.dry_run, progress=progress)
        print(*report.lines(), sep="\n")
        return report
    finally:
        await store.close()


def _load(config: IndexConfig, source: Source) -> Report:
    """Fill a new collection by workers, count it, and point the alias at it."""
    encoder = load_encoder(config.encoder, device=config.device)
    layout = None if config.layout == CollectionConfig() else config.layout

    async def begin() -> str:
        store = GalleryStore.open(server=config.qdrant)
        try:
            images = count([source])
            name = await rebuild.begin(store, config.collection, encoder, layout=layout, images=images)
            if items := (await store.info(name)).items:
                print(f"continuing with {name}, which contains {items:,} items", flush=True)
            return name
        finally:
            await store.close()

    async def finish(name: str, images: int) -> AliasChange | None:
        store = GalleryStore.open(server=config.qdrant)
        try:
            force, wait_s = config.force, config.wait_s
            return await rebuild.finish(store, config.collection, name, images, swap=True, force=force, wait_s=wait_s)
        finally:
            await store.close()

    name = asyncio.run(begin())
    settings = LoaderSettings(
        config.qdrant.resolved(), name, config.encoder, config.device, config.batch_size, config.threads,
        config.thumbnails_url(), config.collection,
    )  # fmt: skip
    with _workers(config, settings) as pool:
        report = load_parts([source], pool, Progress.on(sys.stderr))
    print(f"{name}:", *report.lines(), sep="\n", flush=True)
    report.check()
    swapped = asyncio.run(finish(name, report.pictures))
    assert swapped is not None
    print(f"{swapped.alias} now points at {swapped.now}" + (f"; before: {swapped.before}" if swapped.before else ""))
    return report


@contextmanager
def _workers(config: IndexConfig, settings: LoaderSettings) -> Iterator[Pool[Part, PartReport]]:
    """Actors of Ray, or two threads of this process: one uploads or decodes while the towers have the other's part."""
    if not config.num_workers:
        here = PartLoader(settings)
        with closing(ThreadPool(here.load, _AT_ONCE, lambda: None)) as threads:
            yield threads
        return
    from ray_jobs.session import ray_session

    resources = {"num_gpus": 1} if str(config.device).startswith("cuda") else {}
    with ray_session():
        actors: RayPool[Part, PartReport] = RayPool(
            PartLoader, (settings,), "load", count=config.num_workers, items_each=_AT_ONCE, options=resources,
            what="a process that indexes",
        )  # fmt: skip
        with closing(actors):
            yield actors


def _ray_batches(config: IndexConfig, pictures: Iterator[Pending], caption_weight: float) -> Batches:
    """Batches from a pool of Ray workers, two in flight for each, in the order they are ready."""
    import ray

    from ray_jobs.session import ray_session

    with ray_session():
        yield from _from_pool(ray, config, pictures, caption_weight)


def _from_pool(ray: Any, config: IndexConfig, pictures: Iterator[Pending], caption_weight: float) -> Batches:
    worker = ray.remote(_Worker).options(num_gpus=1 if str(config.device).startswith("cuda") else 0)
    workers = [worker.remote(config) for _ in range(config.num_workers)]
    busy: dict[Any, Any] = {}

    def feed(each: Any) -> None:
        if batch := list(islice(pictures, config.batch_size)):
            busy[each.embed.remote(batch, caption_weight)] = each

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

    def embed(self, pictures: list[Pending], caption_weight: float) -> EmbeddedBatch[Pending]:
        """Embed one batch."""
        (batch,) = embed_images(
            pictures,
            self._load,
            self._encoder,
            batch_size=len(pictures),
            threads=self._threads,
            fetch=Pending.fetched,
        )
        return with_captions(batch, self._encoder, caption_weight)


def run(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return flags.run("index", main, IndexConfig, argv)


if __name__ == "__main__":
    sys.exit(run())
