"""Collections and their aliases in Qdrant: create, describe, point aliases atomically, drop.

The metadata of a collection stores the encoder that made its vectors and its configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from scot.errors import Conflict, EncoderMismatch, NotFound
from scot.index.config import CollectionConfig
from scot.index.engine import Engine, Stored

_ENCODER_KEY, _DIM_KEY, _LAYOUT_KEY = "scot_encoder", "scot_dim", "scot_layout"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection: its number of items, and the encoder (of dimension ``dim``) that made their vectors."""

    name: str
    items: int
    encoder_id: str
    dim: int
    payload_index: Mapping[str, str] = field(default_factory=dict)
    """The indexed payload fields and their kinds."""
    quantization: str = "none"
    """As :data:`~scot.index.config.Quantization` names it."""
    ready: bool = True
    """Whether the server has built the indexes of all that was stored."""
    config: CollectionConfig = field(default_factory=CollectionConfig)
    """The configuration it was created with."""


async def create(
    engine: Engine, name: str, encoder_id: str, dim: int, config: CollectionConfig, *, graph: bool = True
) -> None:
    """Create a collection and its payload indexes; a collection that exists and has items stays as it is.

    Without ``graph`` it is to be filled first (:mod:`scot.index.rebuild`).

    Raises:
        Conflict: the name is an alias, or it exists with another weight of captions.
        EncoderMismatch: it exists, for another encoder or dimension.
        InvalidInput: Qdrant does not accept the name.
    """
    if name in await engine.aliases():
        raise Conflict(f"{name!r} is an alias; name a collection")
    if name not in await engine.names():
        about = {_ENCODER_KEY: encoder_id, _DIM_KEY: dim, _LAYOUT_KEY: config.to_json()}
        await engine.create(name, dim, config, about, graph=graph)
    current = await describe(engine, name)
    if (current.encoder_id, current.dim) != (encoder_id, dim):
        raise EncoderMismatch(
            f"collection {name!r} was made with encoder {current.encoder_id!r} (dimension {current.dim}), "
            f"not {encoder_id!r} (dimension {dim})"
        )
    check_caption_weight(current, config)


def check_caption_weight(found: CollectionInfo, config: CollectionConfig | None) -> None:
    """Check that a configuration that has a weight of captions has that of the collection. Raises Conflict."""
    stored = found.config.caption_weight
    if config is not None and config.caption_weight not in (0.0, stored):
        raise Conflict(
            f"collection {found.name!r} was made with caption_weight {stored:g}, not {config.caption_weight:g}: leave "
            "the setting out, or build another collection with `scot collections reindex`"
        )


async def describe(engine: Engine, name: str) -> CollectionInfo:
    """Describe a collection, or the one behind an alias.

    Raises:
        NotFound: there is no collection or alias of that name.
        EncoderMismatch: SCOT did not create it, so the encoder of its vectors is unknown.
    """
    found = _read(name, await engine.describe(name))
    if found is None:
        raise EncoderMismatch(f"collection {name!r} does not name the encoder that made its vectors")
    return found


async def describe_all(engine: Engine) -> list[CollectionInfo]:
    """Every alias, and every collection without one, sorted by name; without collections that SCOT did not create."""
    aliases = await engine.aliases()
    names = {*aliases, *await engine.names()} - set(aliases.values())

    async def one(name: str) -> CollectionInfo | None:
        try:
            return _read(name, await engine.describe(name))
        except NotFound:  # dropped since it was listed
            return None

    found = await asyncio.gather(*map(one, sorted(names)))
    return [each for each in found if each is not None]


def _read(name: str, found: Stored) -> CollectionInfo | None:
    """None: SCOT did not create it."""
    if _ENCODER_KEY not in found.metadata or _DIM_KEY not in found.metadata:
        return None
    return CollectionInfo(
        name,
        found.points,
        str(found.metadata[_ENCODER_KEY]),
        int(found.metadata[_DIM_KEY]),
        found.payload_index,
        found.quantization,
        found.ready,
        CollectionConfig.from_json(found.metadata.get(_LAYOUT_KEY)),
    )


async def point(engine: Engine, targets: Mapping[str, str | None]) -> None:
    """Point aliases at collections, or remove those with ``None``, in one atomic step.

    Raises:
        NotFound: a collection does not exist.
        Conflict: an alias has the name of a collection.
    """
    there = await engine.names()
    if taken := sorted(set(targets) & set(there)):
        raise Conflict(f"{taken[0]!r} is a collection, so it cannot be an alias")
    if missing := sorted({each for each in targets.values() if each is not None} - set(there)):
        raise NotFound(f"there is no collection {missing[0]!r}")
    await engine.set_aliases(targets)
