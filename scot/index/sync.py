"""Bring the gallery up to date with a source: only what is new or has changed is embedded.

Every item remembers its :class:`~scot.index.origin.Origin`. For each picture of the source, compared with the item that
has its id and this source:

- its file has the same size and modification time: nothing is read;
- else its content has the same SHA-256: nothing is embedded, the origin is brought up to date;
- else, or without such an item: it is embedded and stored.

If only captions or payload have changed, the item keeps its vector, unless the collection has captions in its vectors:
then it is embedded again. Items whose picture is no longer in the source
have vanished: they are counted, and removed on request. Every batch is durable when it is stored, so a run that is
killed is continued by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from scot.data.captioned import Source, count
from scot.data.filesystems import is_url
from scot.data.key_table import SeenIds
from scot.data.read_ahead import read_ahead
from scot.data.records import CaptionedImage
from scot.index.origin import Origin
from scot.index.sync_plan import UPDATED_AT_ONCE, KnownItems, Pending, Plan, Records, refused_so_far, source_name
from scot.index.sync_report import Report
from scot.progress import SILENT, Progress, Task

_DELETED_AT_ONCE = 1_000
_NOT_READ_WHOLE = ("unreadable_folder", "not_utf8_folder", "broken_shard", "broken_record", "open_quote")
"""Reasons for a refusal that may hide any number of pictures."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some pictures."""

    stored: Sequence[Pending]
    refused: Sequence[tuple[Pending, str, str]]
    """Each with the reason, and what the service said of it, if it was the service that refused it."""
    before: Mapping[str, Origin | None]
    """Of those new to their source: the ids that the collection had before, with their origins."""


class Gallery(KnownItems, Protocol):
    """The collection to bring up to date: in a store that is open here, or behind a running service."""

    async def store(self, pictures: Iterator[Pending], done: Callable[[Outcome], None]) -> None:
        """Embed pictures and store them, and report each batch when it is stored.

        ``pictures`` reads files: it must be consumed in a thread.
        """

    async def update(self, pictures: Sequence[Pending]) -> None:
        """Replace payload and origin of items, which keep their vectors."""

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete items."""


async def sync(
    sources: Sequence[Source],
    gallery: Gallery,
    *,
    prune: bool = False,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Bring the gallery up to date with sources; ids are unique over all of them.

    Args:
        sources: what to index, opened with ``captions="optional"``.
        gallery: where to.
        prune: remove the items of a source whose picture is no longer in it.
        dry_run: count what would be done, and write nothing. Pictures are not decoded, so none is refused for it.
        progress: where to show the progress.

    Raises:
        EncoderMismatch: the collection was made with another encoder.
        Unavailable: the gallery is unavailable.
    """
    return await _all(sources, gallery, None if dry_run else gallery, prune, progress)


async def compare(
    sources: Sequence[Source], gallery: KnownItems, *, prune: bool = False, progress: Progress = SILENT
) -> Report:
    """What :func:`sync` would do, for a gallery that need not be writable: its ``dry_run``."""
    return await _all(sources, gallery, None, prune, progress)


async def _all(
    sources: Sequence[Source], known: KnownItems, gallery: Gallery | None, prune: bool, progress: Progress
) -> Report:
    """Compare with the known items, and write into the gallery, if there is one."""
    dry_run = gallery is None
    report, seen = Report(dry_run), SeenIds()
    await known.prepare(dry_run=dry_run)
    with progress.task("comparing" if dry_run else "indexing", count(sources), "images") as task:
        for source in sources:
            await sync_records(source, known, gallery, report, seen=seen, task=task, prune=prune)
    return report


async def sync_records(
    source: Records,
    items: KnownItems,
    gallery: Gallery | None,
    report: Report,
    *,
    seen: SeenIds,
    task: Task,
    prune: bool = False,
) -> None:
    """Compare the records of one source with the known items, and write into the gallery, if there is one."""
    name, refusals = source_name(source), report.refusals
    before, refused_before = report.pictures, refusals.counts.copy()
    refusals.names.clear()
    known = await items.items_of(name)
    loop = asyncio.get_running_loop()

    def update(pictures: Sequence[Pending]) -> None:
        if gallery is not None:  # the plan is made in a thread of its own
            asyncio.run_coroutine_threadsafe(gallery.update(pictures), loop).result()

    def done(outcome: Outcome) -> None:
        for picture, reason, why in outcome.refused:
            refusals.add(reason, picture.item_id, why)
        new = [picture for picture in outcome.stored if picture.is_new]
        report.new += len(new)
        report.updated += len(outcome.stored) - len(new)
        for picture in new:
            if picture.item_id in outcome.before:
                origin = outcome.before[picture.item_id]
                if origin is None or origin.source != name:
                    report.replaced["no named source" if origin is None else origin.source] += 1
        task.advance(len(outcome.stored) + len(outcome.refused), refused_so_far(refusals))

    plan = Plan(source, known, refusals, update, items, task=task)
    records = source.read(refusals, seen)
    if is_url(source.name):  # a table at a URL names images without their sizes and times
        records = read_ahead(records, CaptionedImage.located)
    pictures = plan.of(records)
    if gallery is None:
        while some := await asyncio.to_thread(_take, pictures, UPDATED_AT_ONCE):
            there = await items.origins([each.item_id for each in some if each.is_new])
            done(Outcome(some, (), there))
    else:
        await gallery.store(pictures, done)
    report.updated += plan.updated
    report.unchanged += plan.unchanged
    if report.pictures == before:
        report.empty.append(source.name)
        return
    vanished = [item_id for item_id in known if item_id not in refusals.names]
    not_read = refusals.since(refused_before, _NOT_READ_WHOLE)
    if vanished and not_read:
        report.not_read_whole[source.name] = not_read
    elif prune:
        if gallery is not None:
            for start in range(0, len(vanished), _DELETED_AT_ONCE):
                await gallery.delete(vanished[start : start + _DELETED_AT_ONCE])
        report.removed += len(vanished)
        return
    if vanished:
        report.vanished[source.name] = len(vanished)


def _take(plan: Iterator[Pending], number: int) -> list[Pending]:
    return list(islice(plan, number))
