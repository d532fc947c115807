"""``scot index``: store the images of a folder in a running service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import tyro

from scot.client import NewItem
from scot.commands.service import ServicePlace
from scot.data.captioned import open_source
from scot.data.records import CaptionedImage, Refusals
from scot.errors import ImageRefused, InvalidInput
from scot.index.payload import payload_of

_BATCH = 16  # a message holds this many images of the largest size


@dataclass(frozen=True)
class IndexConfig:
    """Store the images of a folder in a running service; a second run changes nothing.

    Example: scot index ./pictures --address localhost:9000
    """

    source: tyro.conf.Positional[Path]
    """A folder of images with or without a table of captions, WebDataset shards, or a COCO captions JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    collection: str = ""
    """The collection to fill; by default the service's own."""


def index(config: IndexConfig) -> int:
    """Index, and print how many images were stored and refused.

    Raises:
        ScotError: the source cannot be read, the service is unavailable, or no image was stored.
    """
    source = open_source(config.source, captions="optional")
    print(f"reading {source}", flush=True)
    refusals = Refusals()
    started = time.monotonic()
    stored, shown = 0, started
    with config.service.client() as client:
        items = _items(source.read(refusals), refusals)
        while batch := list(islice(items, _BATCH)):
            done = client.upsert(batch, collection=config.collection)
            stored += done.upserted
            for refused in done.refused:
                refusals.add("refused_by_service", f"{refused.item_id}: {refused.error}")
            if time.monotonic() - shown > 3:
                shown = time.monotonic()
                print(
                    f"{stored:,} stored, {refusals.total:,} refused ({stored / (shown - started):,.0f}/s)", flush=True
                )
    print(f"indexed {stored:,} pictures in {time.monotonic() - started:.1f} s; {refusals.summary()}")
    if stored == 0:
        raise InvalidInput(f"no image of {config.source} could be indexed")
    return 0


def _items(records: Iterator[CaptionedImage], refusals: Refusals) -> Iterator[NewItem]:
    for record in records:
        try:
            yield NewItem(record.image_id, image=record.read(), payload=payload_of(record))
        except ImageRefused as error:
            refusals.add(error.reason, record.image_id)
