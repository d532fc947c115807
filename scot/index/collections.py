"""Collections and their aliases, as Qdrant keeps them: made, described, renamed atomically, dropped.

A collection remembers in its metadata which encoder made its vectors, and how it was laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdrant_client import models

from scot.errors import Conflict, EncoderMismatch, NotFound
from scot.index.config import CollectionConfig
from scot.index.embedded import Connection

_ENCODER_KEY, _DIM_KEY, _LAYOUT_KEY = "scot_encoder", "scot_dim", "scot_layout"


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection: how many items it has, and the encoder (of dimension ``dim``) that made their vectors."""

    name: str
    items: int
    encoder_id: str
    dim: int
    payload_index: Mapping[str, str] = field(default_factory=dict)
    """The indexed payload fields and their kinds; always empty in the embedded store."""
    quantization: str = "none"
    """As :data:`~scot.index.config.Quantization` names it."""
    ready: bool = True
    """Whether the server has built the indexes of all that was stored."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """How it was asked to be laid out."""


async def create(connection: Connection, name: str, encoder_id: str, dim: int, layout: CollectionConfig) -> None:
    """Make a collection and its payload indexes, unless it is there with items in it.

    Raises:
        Conflict: the name is an alias.
        EncoderMismatch: it is there, for another encoder or dimension.
        InvalidInput: the name is none that Qdrant takes.
    """
    if name in await aliases(connection):
        raise Conflict(f"{name!r} is an alias; name a collection")
    if name not in await names(connection):
        await connection.call(
            lambda client: client.create_collection(
                name,
                vectors_config=layout.vectors(dim),
                metadata={_ENCODER_KEY: encoder_id, _DIM_KEY: dim, _LAYOUT_KEY: layout.to_json()},
                **layout.settings(),
            ),
            name,
            already_there=True,
        )
    held = await describe(connection, name)
    if (held.encoder_id, held.dim) != (encoder_id, dim):
        raise EncoderMismatch(
            f"collection {name!r} was made with encoder {held.encoder_id!r} (dimension {held.dim}), "
            f"not {encoder_id!r} (dimension {dim})"
        )
    # Qdrant's graph gets links for filters only over fields that are indexed while it is built, so not afterwards.
    if not (connection.embedded or held.items):
        for key, kind in layout.indexes():
            await _index(connection, name, key, kind)


async def _index(connection: Connection, name: str, key: str, kind: models.PayloadSchemaType) -> None:
    await connection.call(
        lambda client: client.create_payload_index(name, field_name=key, field_schema=kind, wait=True), name
    )


async def describe(connection: Connection, name: str) -> CollectionInfo:
    """What a collection, or the one behind an alias, holds.

    Raises:
        NotFound: there is none of that name.
        EncoderMismatch: it was not made by SCOT, so nothing is known of its vectors.
    """
    found: models.CollectionInfo = await connection.call(lambda client: client.get_collection(name), name)
    metadata = found.config.metadata or {}
    if _ENCODER_KEY not in metadata or _DIM_KEY not in metadata:
        raise EncoderMismatch(f"collection {name!r} does not say which encoder made its vectors")
    return CollectionInfo(
        name,
        int(found.points_count or 0),
        str(metadata[_ENCODER_KEY]),
        int(metadata[_DIM_KEY]),
        {key: str(schema.data_type.value) for key, schema in (found.payload_schema or {}).items()},
        _quantization_name(found.config.quantization_config),
        found.status is models.CollectionStatus.GREEN,
        CollectionConfig.from_json(metadata.get(_LAYOUT_KEY)),
    )


async def names(connection: Connection) -> list[str]:
    """The names of all collections, sorted; aliases are not among them."""
    found: models.CollectionsResponse = await connection.call(lambda client: client.get_collections())
    return sorted(each.name for each in found.collections)


async def aliases(connection: Connection) -> dict[str, str]:
    """Every alias and the collection behind it, sorted."""
    found: models.CollectionsAliasesResponse = await connection.call(lambda client: client.get_aliases())
    return dict(sorted((each.alias_name, each.collection_name) for each in found.aliases))


async def point(connection: Connection, targets: Mapping[str, str | None]) -> None:
    """Point aliases at collections, or remove those of ``None``: all of them in one step, or none.

    Raises:
        NotFound: a collection is not there.
        Conflict: an alias has the name of a collection.
    """
    there = await names(connection)
    if taken := sorted(set(targets) & set(there)):
        raise Conflict(f"{taken[0]!r} is a collection itself, so it cannot be an alias")
    known = await aliases(connection)
    operations: list[models.AliasOperations] = []
    for alias, collection in targets.items():
        if alias in known:
            operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        if collection is not None:
            made = models.CreateAlias(alias_name=alias, collection_name=collection)
            operations.append(models.CreateAliasOperation(create_alias=made))
    if missing := sorted({each for each in targets.values() if each is not None} - set(there)):
        raise NotFound(f"there is no collection {missing[0]!r}")
    if operations:
        await connection.call(lambda client: client.update_collection_aliases(operations))


async def drop(connection: Connection, name: str) -> None:
    """Delete a collection and all that is in it."""
    await connection.call(lambda client: client.delete_collection(name), name)


def _quantization_name(config: models.QuantizationConfig | None) -> str:
    match config:
        case models.ScalarQuantization():
            return "int8"
        case models.TurboQuantization():
            return "turbo"
        case models.ProductQuantization():
            return "product"
        case models.BinaryQuantization():
            return "binary"
        case _:
            return "none"
