"""``scot get``, ``scot delete`` and ``scot encode``: single items of a running service, and its encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scot import flags
from scot.client import Origin, StoredItem
from scot.commands.service import ServicePlace
from scot.errors import InvalidFlag, InvalidInput, NotFound
from scot.results import print_json, print_outcome, printable

_AT_ONCE = 1_000
_INPUTS = 64


@dataclass(frozen=True)
class GetConfig:
    """Show items of a collection: their payload and where they were indexed from.

    Example: scot get shirt-1 shirt-2 --json
    """

    item_ids: tyro.conf.Positional[tuple[str, ...]]
    """The items."""
    collection: str = ""
    """Which collection; by default the service's own."""
    vectors: bool = False
    """With --json, show their vectors too."""
    json: bool = False
    """Print one line of JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""


@dataclass(frozen=True)
class DeleteConfig:
    """Delete items of a collection; an item that does not exist is not an error.

    Example: scot delete shirt-1 shirt-2
    """

    item_ids: tyro.conf.Positional[tuple[str, ...]]
    """The items."""
    collection: str = ""
    """Which collection; by default the service's own."""
    json: bool = False
    """Print one line of JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""


@dataclass(frozen=True)
class EncodeConfig:
    """Embed images and texts with the encoder of a service; prints one JSON object, images first.

    Example: scot encode --image shirt.png --text "a blue shirt" --output vectors.npy
    """

    image: list[Path] = field(default_factory=list)
    """The images."""
    text: flags.Phrases = field(default_factory=list)
    """The texts."""
    output: Path | None = None
    """Write the vectors to this .npy file, float32 (N, D), and print the rest."""
    json: bool = False
    """Print errors as JSON too; the vectors are always JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""


def get(config: GetConfig) -> int:
    """Print the items. Raises NotFound when one is missing; the others are printed first."""
    _check_named(config.item_ids)
    found: dict[str, StoredItem] = {}
    with config.service.client() as client:
        for start in range(0, len(config.item_ids), _AT_ONCE):
            part = config.item_ids[start : start + _AT_ONCE]
            found |= client.get(part, collection=config.collection, with_vectors=config.vectors)
    missing = [each for each in dict.fromkeys(config.item_ids) if each not in found]
    if config.json:
        items = [
            {"item_id": item.item_id, "payload": item.payload, "origin": origin_json(item.origin)}
            | ({"vector": item.vector} if config.vectors else {})
            for item in found.values()
        ]
        print_json({"items": items, "missing": missing})
        return 1 if missing else 0
    for item in found.values():
        print(item.item_id)
        if item.origin is not None:
            print(f"  {item.origin.location}")
        for name, value in item.payload.items():
            print(printable(f"  {name}: {value}"))
    if missing:
        raise NotFound(f"there is no item {missing[0]!r}" + (f" ({len(missing)} are missing)" if missing[1:] else ""))
    return 0


def delete(config: DeleteConfig) -> int:
    """Delete the items and print how many existed."""
    _check_named(config.item_ids)
    deleted, ids = 0, list(dict.fromkeys(config.item_ids))
    with config.service.client() as client:
        for start in range(0, len(ids), _AT_ONCE):
            deleted += client.delete(ids[start : start + _AT_ONCE], collection=config.collection)
    given = len(ids)
    print_outcome(
        config.json, {"deleted": deleted, "missing": given - deleted}, f"deleted {deleted:,} of {given:,} items"
    )
    return 0


def _check_named(item_ids: tuple[str, ...]) -> None:
    if not item_ids:
        raise InvalidInput("name at least one item")


def encode(config: EncodeConfig) -> int:
    """Print the vectors, or write them to --output. Raises InvalidInput without images and texts, and for over 64."""
    if not 1 <= (count := len(config.image) + len(config.text)) <= _INPUTS:
        raise InvalidInput(f"give 1 to {_INPUTS} of --image and --text, not {count}")
    if config.output is not None and config.output.suffix != ".npy":
        raise InvalidFlag(f"--output must end with .npy, not {config.output}")
    import numpy as np  # not in the base package

    with config.service.client() as client:
        encoded = client.encode(images=config.image, texts=config.text)
    rows = {"encoder": encoded.encoder, "truncated": list(encoded.truncated)}
    if config.output is None:
        print_json(rows | {"vectors": encoded.vectors})
        return 0
    try:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        np.save(config.output, encoded.vectors)
    except OSError as error:
        raise InvalidInput(f"--output {config.output} cannot be written: {error.strerror or error}") from error
    print_json(rows | {"output": str(config.output), "shape": list(encoded.vectors.shape)})
    return 0


def origin_json(origin: Origin | None) -> dict[str, object] | None:
    """An origin as JSON."""
    return None if origin is None else origin.to_json()
