"""Which collection an alias means: swap in a new one, go back, and drop what is no longer needed.

A swap is one atomic request to Qdrant that moves two aliases: ``gallery`` to the new collection, and
``gallery.previous`` to the one that it meant until then. Nothing else has to be remembered for a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound
from scot.index import collections
from scot.index.engine import Engine

PREVIOUS = ".previous"


@dataclass(frozen=True, slots=True)
class Move:
    """An alias and the collections it meant before and means now."""

    alias: str
    before: str | None
    now: str


async def swap(engine: Engine, alias: str, collection: str, *, force: bool = False) -> Move:
    """Point an alias at a collection, and remember what it meant before.

    Raises:
        NotFound: there is no such collection.
        Conflict: the alias is the name of a collection; or the collection is empty or still being indexed.
        EncoderMismatch: it was made with another encoder than the one before. ``force`` overrides this and the last.
        InvalidInput: the alias is one that SCOT keeps for itself.
    """
    if alias.endswith(PREVIOUS):
        raise InvalidInput(f"an alias must not end with {PREVIOUS!r}, where SCOT keeps what to go back to")
    known = await engine.aliases()
    if collection in known:
        raise Conflict(f"{collection!r} is an alias; name a collection")
    before = known.get(alias)
    new = await collections.describe(engine, collection)
    if before == collection:
        return Move(alias, before, collection)
    if not force:
        if not new.items:
            raise Conflict(f"collection {collection!r} is empty; --force swaps it in all the same")
        if not new.ready:
            raise Conflict(f"collection {collection!r} is still being indexed; --force swaps it in all the same")
        old = await collections.describe(engine, before) if before is not None else new
        if (old.encoder_id, old.dim) != (new.encoder_id, new.dim):
            raise EncoderMismatch(
                f"collection {collection!r} was made with encoder {new.encoder_id!r} and {before!r} with "
                f"{old.encoder_id!r}: a service of that one cannot search it; --force swaps it in all the same"
            )
    await collections.point(engine, {alias: collection} | ({alias + PREVIOUS: before} if before else {}))
    return Move(alias, before, collection)


async def rollback(engine: Engine, alias: str) -> Move:
    """Go back to what the alias meant before the last swap; done again, it undoes itself.

    Raises:
        NotFound: there is no such alias, or nothing to go back to.
    """
    known = await engine.aliases()
    if alias not in known:
        raise NotFound(f"there is no alias {alias!r}")
    previous = known.get(alias + PREVIOUS)
    if previous is None:
        raise NotFound(f"nothing is known that {alias!r} meant before")
    await collections.point(engine, {alias: previous, alias + PREVIOUS: known[alias]})
    return Move(alias, known[alias], previous)


async def drop(engine: Engine, collection: str, *, force: bool = False) -> None:
    """Delete a collection that no alias needs.

    Raises:
        NotFound: there is no such collection.
        Conflict: an alias points to it. ``force`` overrides this where the alias is only kept for a rollback.
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
            f"{collection!r} is what a rollback of {pointing[0].removesuffix(PREVIOUS)!r} goes back to; "
            "--force drops it all the same"
        )
    await engine.drop(collection)


def next_collection(alias: str, known: Mapping[str, str]) -> str:
    """The name for a new collection to take an alias over: ``gallery-3`` after ``gallery-2``.

    The same until that is swapped in, so that a reindex that was interrupted goes on.
    """
    stem, _, number = known.get(alias, "").rpartition("-")
    following = int(number) + 1 if stem == alias and number.isascii() and number.isdigit() else 1
    while f"{alias}-{following}" in known.values():
        following += 1
    return f"{alias}-{following}"
