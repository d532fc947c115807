"""The collection that an alias points to: swap in a new one, roll back, and drop collections that are not needed.

A swap is one atomic request to Qdrant that moves two aliases: ``gallery`` to the new collection, and
``gallery.previous`` to the collection before it. A rollback needs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound
from scot.index import collections
from scot.index.engine import Engine

PREVIOUS = ".previous"


@dataclass(frozen=True, slots=True)
class AliasChange:
    """An alias, the collection it pointed to before (None: it is new), and the one it points to now."""

    alias: str
    before: str | None
    now: str


async def swap(engine: Engine, alias: str, collection: str, *, force: bool = False) -> AliasChange:
    """Point an alias at a collection, and store the collection before it for a rollback.

    Raises:
        NotFound: there is no such collection.
        Conflict: the alias is the name of a collection; or, without ``force``, the collection is empty or still being
            indexed.
        EncoderMismatch: without ``force``, the two collections were made with different encoders.
        InvalidInput: the alias is reserved by SCOT.
    """
    if alias.endswith(PREVIOUS):
        raise InvalidInput(f"an alias must not end with {PREVIOUS!r}: SCOT reserves it for rollbacks")
    known = await engine.aliases()
    if collection in known:
        raise Conflict(f"{collection!r} is an alias; name a collection")
    before = known.get(alias)
    new = await collections.describe(engine, collection)
    if before == collection:
        return AliasChange(alias, before, collection)
    if not force:
        if not new.items:
            raise Conflict(f"collection {collection!r} is empty; --force swaps it in anyway")
        if not new.ready:
            raise Conflict(f"collection {collection!r} is still being indexed; --force swaps it in anyway")
        old = await collections.describe(engine, before) if before is not None else new
        if (old.encoder_id, old.dim) != (new.encoder_id, new.dim):
            raise EncoderMismatch(
                f"collection {collection!r} was made with encoder {new.encoder_id!r} and {before!r} with "
                f"{old.encoder_id!r}: a service with that encoder cannot search it; --force swaps it in anyway"
            )
    await collections.point(engine, {alias: collection} | ({alias + PREVIOUS: before} if before else {}))
    return AliasChange(alias, before, collection)


async def rollback(engine: Engine, alias: str) -> AliasChange:
    """Point the alias at the collection from before the last swap; a second rollback undoes the first.

    Raises:
        NotFound: there is no such alias, or it has no previous collection.
    """
    known = await engine.aliases()
    if alias not in known:
        raise NotFound(f"there is no alias {alias!r}")
    previous = known.get(alias + PREVIOUS)
    if previous is None:
        raise NotFound(f"the alias {alias!r} has no previous collection")
    await collections.point(engine, {alias: previous, alias + PREVIOUS: known[alias]})
    return AliasChange(alias, known[alias], previous)


async def drop(engine: Engine, collection: str, *, force: bool = False) -> None:
    """Delete a collection that no alias points to.

    Raises:
        NotFound: there is no such collection.
        Conflict: an alias points to it. ``force`` overrides this for an alias that only serves a rollback.
    """
    known = await engine.aliases()
    if collection in known:
        raise Conflict(f"{collection!r} is an alias of {known[collection]!r}; name a collection")
    if collection not in await engine.names():
        raise NotFound(f"there is no collection {collection!r}")
    pointing = [alias for alias, target in known.items() if target == collection]
    if live := [alias for alias in pointing if not alias.endswith(PREVIOUS)]:
        raise Conflict(f"the alias {live[0]!r} points to {collection!r}; swap another in first")
    if pointing and not force:
        raise Conflict(
            f"{collection!r} is the collection that a rollback of {pointing[0].removesuffix(PREVIOUS)!r} restores; "
            "--force drops it anyway"
        )
    await engine.drop(collection)


def next_collection(alias: str, known: Mapping[str, str]) -> str:
    """The name of the next collection of an alias: ``gallery-3`` after ``gallery-2``.

    The name stays the same until that collection is swapped in, so an interrupted reindex can continue.
    """
    stem, _, number = known.get(alias, "").rpartition("-")
    following = int(number) + 1 if stem == alias and number.isascii() and number.isdigit() else 1
    while f"{alias}-{following}" in known.values():
        following += 1
    return f"{alias}-{following}"
