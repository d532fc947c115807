"""``scot index``: bring the gallery up to date with folders of images, in a running service or in the workspace."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import tyro

from scot.client import AsyncScotClient, NewItem
from scot.commands.service import ServicePlace
from scot.data.captioned import open_sources
from scot.errors import ImageRefused, InvalidFlag, InvalidInput, NotFound, Overloaded, Unavailable, install_hint
from scot.index.config import CollectionConfig
from scot.index.origin import Origin
from scot.index.sync import Gallery, Outcome, compare, sync
from scot.index.sync_plan import Pending
from scot.index.sync_report import Report
from scot.progress import Progress
from scot.results import print_json, printable, words_aside

_BATCH = 16  # a message holds this many images of the largest size
_AT_ONCE = 4  # requests: while one is embedded, others are decoded and stored
_ATTEMPTS, _PAUSE_S = 6, 0.5


@dataclass(frozen=True)
class IndexConfig:
    """Bring the gallery up to date with folders of images: only what is new or has changed is embedded.

    The images are sent to the service at --address; if none answers there, to the store of the workspace --data.

    Example: scot index ./pictures
    """

    source: tyro.conf.Positional[tuple[str, ...]]
    """Folders of images with or without a table of captions, WebDataset shards, or COCO captions JSONs."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    collection: str = ""
    """The collection to fill; by default the service's own, or gallery."""
    prune: bool = False
    """Remove items whose image is no longer in its source; items of other sources stay."""
    dry_run: bool = False
    """Print what would be done, and change nothing."""
    data: Path = Path("scot-data")
    """The workspace, if no service answers: the vector store is DATA/qdrant, the thumbnails DATA/thumbnails."""
    no_thumbnails: bool = False
    """Make no thumbnails, if no service answers; a service decides for itself (`scot serve --no-thumbnails`)."""
    encoder: str = "tiny"
    """The encoder, if no service answers: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    caption_weight: float = 0.0
    """The weight of captions in the vectors of a collection that is created, if no service answers; 0: images alone."""
    device: str | None = None
    """The device of that encoder: cpu, cuda …; by default a GPU when there is one."""
    json: bool = False
    """Print one line of JSON."""


def index(config: IndexConfig) -> int:
    """Index, and print what was stored, removed and refused.

    Raises:
        ScotError: a source cannot be read, the gallery is unavailable or of another encoder, or no image of a source
            could be indexed.
    """
    if not config.source:
        raise InvalidInput("name at least one folder of images")
    sources = open_sources(config.source, captions="optional")

    async def work() -> Report:
        async with _gallery(config) as gallery:
            progress = Progress.on(sys.stderr)
            if config.dry_run or isinstance(gallery, NoItems):
                return await compare(sources, gallery, prune=config.prune, progress=progress)
            return await sync(sources, gallery, prune=config.prune, progress=progress)

    with words_aside(config.json):
        for source in sources:
            print(f"reading {source}", flush=True)
        report = asyncio.run(work())
        for line in report.lines():
            print(printable(line))
    report.check()
    if config.json:
        print_json(report.to_json())
    return 0


@contextlib.asynccontextmanager
async def _gallery(config: IndexConfig) -> AsyncIterator[Gallery | NoItems]:
    """The gallery of the service, if one listens at the address; else that of the workspace.

    Raises:
        Unavailable: nobody listens at an address that was given.
    """
    if _listens(config.service.address) or config.service != ServicePlace():
        async with config.service.async_client() as client:
            if config.caption_weight:
                raise InvalidFlag(
                    f"--caption-weight is a setting of the service at {config.service.address} (`scot serve`), which "
                    "creates its collections"
                )
            print(f"sending them to the service at {config.service.address}", flush=True)
            yield ServiceGallery(client, config.collection)
        return
    try:
        from scot.encoders import load_encoder
        from scot.index.gallery import StoreGallery
        from scot.index.store import GalleryStore
        from scot.index.thumbnails import Thumbnails
    except ModuleNotFoundError as error:
        hint = install_hint("index")
        raise Unavailable(
            f"no service answers at {config.service.address}, and indexing without one needs {error.name}: {hint}"
        ) from error
    store_path = config.data / "qdrant"
    print(f"no service answers at {config.service.address}: ", end="")
    if config.dry_run and not store_path.exists():
        print(f"there is no store at {store_path} yet", flush=True)
        yield NoItems()
        return
    print(f"storing them in {store_path} with the encoder {config.encoder}", flush=True)
    thumbnails = None if config.no_thumbnails else Thumbnails.beside(store_path)
    store = GalleryStore.open(path=store_path, thumbnails=thumbnails)
    try:
        encoder = load_encoder(config.encoder, device=config.device)
        collection = config.collection or "gallery"
        yield StoreGallery(store, collection, encoder, layout=CollectionConfig(caption_weight=config.caption_weight))
        if not config.dry_run:
            try:
                await store.optimize(collection)
            except Overloaded as error:  # a full disk
                print(f"the images are stored; {error}", file=sys.stderr)
    finally:
        await store.close()


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


class NoItems:
    """The :class:`~scot.index.sync.KnownItems` of a dry run for a store that does not exist yet."""

    async def prepare(self, *, dry_run: bool) -> None:
        """See :class:`~scot.index.sync.Gallery`."""

    async def items_of(self, source: str) -> dict[str, Origin]:
        """See :class:`~scot.index.sync.Gallery`."""
        return {}

    async def origins(self, item_ids: Sequence[str]) -> dict[str, Origin | None]:
        """See :class:`~scot.index.sync.Gallery`."""
        return {}

    def incomplete(self, item_id: str) -> bool:
        """See :class:`~scot.index.sync.Gallery`."""
        return False

    captions_in_vectors = False
    """See :class:`~scot.index.sync.Gallery`."""


class ServiceGallery:
    """The :class:`~scot.index.sync.Gallery` of a running service, which decodes and embeds what it is sent."""

    def __init__(self, client: AsyncScotClient, collection: str = "") -> None:
        self._client, self._collection = client, collection
        self._exists, self.captions_in_vectors = True, False

    async def prepare(self, *, dry_run: bool) -> None:
        """See :class:`~scot.index.sync.Gallery`. The service creates a collection with the first item."""
        try:
            info = await self._client.info(collection=self._collection)
        except NotFound:
            self._exists = False
        else:
            self.captions_in_vectors = info.caption_weight > 0

    async def items_of(self, source: str) -> dict[str, Origin]:
        """See :class:`~scot.index.sync.Gallery`."""
        if not self._exists:
            return {}
        items = self._client.list_items(source=source, collection=self._collection)
        return {item.item_id: item.origin async for item in items if item.origin is not None}

    async def origins(self, item_ids: Sequence[str]) -> dict[str, Origin | None]:
        """See :class:`~scot.index.sync.Gallery`."""
        if not self._exists or not item_ids:
            return {}
        stored = await self._client.get(item_ids, collection=self._collection)
        return {item.item_id: item.origin for item in stored.values()}

    def incomplete(self, item_id: str) -> bool:
        """See :class:`~scot.index.sync.Gallery`: the service is not asked for the thumbnail of every item."""
        return False

    async def store(self, pictures: Iterator[Pending], done: Callable[[Outcome], None]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        sending: set[asyncio.Task[None]] = set()
        try:
            while batch := await asyncio.to_thread(_read, pictures):
                if len(sending) == _AT_ONCE:
                    finished, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                    for each in finished:
                        each.result()
                sending.add(asyncio.create_task(self._send(batch, done)))
            for each in list(sending):
                await each
        finally:
            for each in sending:
                each.cancel()

    async def update(self, pictures: Sequence[Pending]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        ids = [picture.item_id for picture in pictures]
        stored = await self._client.get(ids, collection=self._collection, with_vectors=True)
        there = [picture for picture in pictures if picture.item_id in stored]
        items = [
            NewItem(each.item_id, vector=stored[each.item_id].vector, payload=each.payload, origin=each.origin)
            for each in there
        ]
        if items:
            refused = (await self._client.upsert(items, collection=self._collection)).refused
            if refused:
                raise InvalidInput(f"the service refused the item {refused[0].item_id!r}: {refused[0].error}")

    async def delete(self, item_ids: Sequence[str]) -> None:
        """See :class:`~scot.index.sync.Gallery`."""
        await self._client.delete(item_ids, collection=self._collection)

    async def _send(
        self, batch: Sequence[tuple[Pending, bytes | ImageRefused]], done: Callable[[Outcome], None]
    ) -> None:
        refused = [(each, data.reason, "") for each, data in batch if isinstance(data, ImageRefused)]
        sent = {each.item_id: (each, data) for each, data in batch if isinstance(data, bytes)}
        before = await self.origins([item_id for item_id, (each, _) in sent.items() if each.is_new])
        if sent:
            errors = await self._upsert(
                [
                    NewItem(each.item_id, image=data, payload=each.payload, origin=each.origin)
                    for each, data in sent.values()
                ]
            )
            refused += [(sent[item_id][0], "refused_by_service", error) for item_id, error in errors.items()]
            self._exists = True
            sent = {item_id: each for item_id, each in sent.items() if item_id not in errors}
        done(Outcome([each for each, _ in sent.values()], refused, before))

    async def _upsert(self, items: Sequence[NewItem]) -> dict[str, str]:
        """Store items, and return why some are refused; a service at its limit is asked again."""
        for attempt in range(_ATTEMPTS):
            try:
                result = await self._client.upsert(items, collection=self._collection)
                return {refused.item_id: refused.error for refused in result.refused}
            except Overloaded:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError


def _read(pictures: Iterator[Pending]) -> list[tuple[Pending, bytes | ImageRefused]]:
    batch: list[tuple[Pending, bytes | ImageRefused]] = []
    for picture in islice(pictures, _BATCH):
        try:
            batch.append((picture, picture.read()))
        except ImageRefused as error:
            batch.append((picture, error))
    return batch
