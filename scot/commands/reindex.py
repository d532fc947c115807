"""``scot collections reindex``: build a new collection from captioned images beside the one that serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import tyro

from scot.commands.collections import StorePlace, sentence
from scot.data.captioned import Source, count, open_sources
from scot.encoders import load_encoder
from scot.errors import InvalidInput
from scot.index import rebuild
from scot.index.config import CollectionConfig
from scot.index.gallery import StoreGallery
from scot.index.sync import sync
from scot.progress import Progress
from scot.results import print_json, words_aside


@dataclass(frozen=True)
class ReindexConfig:
    """Embed captioned images into a new collection; with --swap, point the alias at it. A rerun continues.

    Example: scot collections reindex ./pictures --alias gallery --qdrant-url http://qdrant:6333 --swap
    """

    source: tyro.conf.Positional[tuple[str, ...]]
    """Folders of images with or without a table of captions, WebDataset shards, or COCO captions JSONs."""
    alias: str = "gallery"
    """The alias of the collection."""
    collection: str | None = None
    """The name of the collection; by default the alias with the next number."""
    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    device: str | None = None
    """The device of the encoder: cpu, cuda …; by default a GPU when there is one."""
    batch_size: int = 128
    """Images embedded and stored at once."""
    threads: int = 4
    """Threads that decode images."""
    swap: bool = False
    """Point the alias at the collection when it is complete and indexed."""
    force: bool = False
    """Swap even if the encoder differs from that of the previous collection."""
    wait_s: float = 3_600.0
    """Seconds to wait, before the swap, for the server to index the stored items."""
    json: bool = False
    """Print one line of JSON."""
    place: StorePlace = field(default_factory=StorePlace)
    """The store of the collection."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """Its settings on a server; by default those of the collection that it replaces."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.threads < 1:
            raise InvalidInput("batch_size and threads must be at least 1")


def reindex(config: ReindexConfig) -> int:
    """Build the collection, and swap with --swap.

    Raises:
        InvalidInput: a source or the encoder cannot be read, or no image could be indexed.
        EncoderMismatch: the collection, or the one behind the alias, has another encoder.
        Conflict: the alias is the name of a collection, or the collection contains more than the sources.
        Unavailable: the server is unavailable, or did not finish indexing.
    """
    if not config.source:
        raise InvalidInput("name at least one folder of images")
    sources = open_sources(config.source, captions="optional")
    with words_aside(config.json):
        for source in sources:
            print(f"reading {source}", flush=True)
        done = asyncio.run(_reindex(config, sources))
    if config.json:
        print_json(done)
    return 0


async def _reindex(config: ReindexConfig, sources: Sequence[Source]) -> dict[str, Any]:
    async with config.place.opened(create=True) as store:
        encoder = load_encoder(config.encoder, device=config.device)
        layout = None if config.layout == CollectionConfig() else config.layout
        images = count(sources)
        name = await rebuild.begin(store, config.alias, encoder, name=config.collection, layout=layout, images=images)
        if items := (await store.info(name)).items:
            print(f"continuing with {name}, which contains {items:,} items", flush=True)
        gallery = StoreGallery(
            store,
            name,
            encoder,
            batch_size=config.batch_size,
            threads=config.threads,
            thumbnails_of=config.alias,
        )
        report = await sync(sources, gallery, prune=True, progress=Progress.on(sys.stderr))
        print(f"{name}:", *report.lines(), sep="\n")
        report.check()
        pictures, wait_s = report.pictures, config.wait_s
        swapped = await rebuild.finish(
            store, config.alias, name, pictures, swap=config.swap, force=config.force, wait_s=wait_s
        )
        done = {"collection": name, **report.to_json()}
        if swapped is None:
            print(f"`scot collections swap {config.alias} {name}` points {config.alias} at it")
            return done | {"swap": None}
        print(sentence(swapped))
        return done | {"swap": asdict(swapped)}
