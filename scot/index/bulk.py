"""Bulk indexing: workers embed parts of the sources and upload them to a Qdrant server themselves.

The driver only lists records, so its memory does not follow their number. A worker asks the server which items of its
part are there and unchanged, and embeds the others (:mod:`scot.index.sync`); a rerun after a kill does what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from scot.data.captioned import Source, count
from scot.data.key_table import SeenIds
from scot.data.places import Place
from scot.data.records import CaptionedImage, Refusals
from scot.encoders import Encoder, load_encoder
from scot.index.config import ServerConfig
from scot.index.gallery import StoreGallery
from scot.index.origin import Origin
from scot.index.store import GalleryStore
from scot.index.sync import sync_records
from scot.index.sync_report import NamedRefusals, PartReport, Report
from scot.pool import Pool
from scot.progress import SILENT, Progress

PART = 1_024
"""Records of a part."""


@dataclass(frozen=True)
class Part:
    """Some records of a source, as :class:`~scot.index.sync.Records`."""

    name: str
    root: Place
    records: tuple[CaptionedImage, ...]

    def read(self, refusals: Refusals, seen: SeenIds) -> Iterator[CaptionedImage]:
        """See :class:`~scot.index.sync.Records`; the driver has checked them."""
        return iter(self.records)


@dataclass(frozen=True)
class LoaderSettings:
    """What a worker loads with, and into which collection."""

    server: ServerConfig
    collection: str
    encoder: str
    device: str | None = None
    batch_size: int = 128
    threads: int = 4
    thumbnails: str | None = None
    thumbnails_of: str = ""
    """The collection by which the service asks for the thumbnails."""


class PartLoader:
    """Brings parts into the collection; a worker of a pool."""

    def __init__(self, settings: LoaderSettings) -> None:
        self._settings = settings
        self._encoder = load_encoder(settings.encoder, device=settings.device)

    def load(self, part: Part) -> PartReport:
        """Embed and upload what is missing of a part; when it returns, searches see it.

        Raises:
            Unavailable: the server cannot be reached.
            EncoderMismatch: the collection is of another encoder.
        """
        # No method of the class is a coroutine: Ray would run all of them in an event loop.
        return asyncio.run(_load(self._settings, self._encoder, part))


async def _load(settings: LoaderSettings, encoder: Encoder, part: Part) -> PartReport:
    store = GalleryStore.open(server=settings.server, thumbnails=settings.thumbnails)
    try:
        gallery = _PartGallery(
            store, settings.collection, encoder, batch_size=settings.batch_size, threads=settings.threads,
            thumbnails_of=settings.thumbnails_of,
        )  # fmt: skip
        report, refused = Report(), _Kept()
        report.refusals = refused
        gallery.ids = [record.image_id for record in part.records]
        await gallery.prepare(dry_run=False)
        with SILENT.task("", None, "") as task:
            await sync_records(part, gallery, gallery, report, seen=SeenIds(), task=task)
    finally:
        await store.close()
    return PartReport(report.new, report.updated, report.unchanged, report.replaced, tuple(refused.all))


class _Kept(NamedRefusals):
    """Every refusal of a part, to be counted with those of the other parts."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, str]] = []

    def add(self, reason: str, what: str, where: str = "") -> None:
        """Keep one refusal."""
        super().add(reason, what, where)
        self.all.append((reason, what))


class _PartGallery(StoreGallery):
    """A collection of which only the items of a part are known."""

    ids: Sequence[str] = ()
    _known: dict[str, Origin | None] | None = None

    async def items_of(self, source: str) -> dict[str, Origin]:
        """See :class:`~scot.index.sync.KnownItems`."""
        self._known = await super().origins(self.ids)
        return {name: origin for name, origin in self._known.items() if origin is not None and origin.source == source}

    async def origins(self, item_ids: Sequence[str]) -> dict[str, Origin | None]:
        """See :class:`~scot.index.sync.KnownItems`; they were read once for the whole part."""
        known = self._known or {}
        return {name: known[name] for name in item_ids if name in known}


def load_parts(sources: Sequence[Source], pool: Pool[Part, PartReport], progress: Progress = SILENT) -> Report:
    """Bring all records of the sources into the collection of the pool's workers; ids are unique over the sources.

    Raises:
        Unavailable: the server cannot be reached, or no worker can be started.
    """
    report, seen = Report(), SeenIds()
    with progress.task("indexing", count(sources), "images") as task:

        def add(done: Sequence[PartReport]) -> None:
            for each in done:
                report.add(each)
                task.advance(each.new + each.updated + len(each.refused), f"{report.refusals.total:,} refused")
                task.skip(each.unchanged)

        for source in sources:
            before = report.pictures
            records = source.read(report.refusals, seen)
            while some := tuple(islice(records, PART)):
                add(pool.submit(Part(source.name, source.root, some)))
            add(pool.drain())
            if report.pictures == before:
                report.empty.append(source.name)
    return report
