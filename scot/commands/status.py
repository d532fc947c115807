"""``scot status``: what a service is and whether it answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from scot.client import CollectionInfo, ComposerInfo, ScotClient
from scot.commands.service import ServicePlace
from scot.errors import InvalidInput, NotFound, Unavailable

_LOOK_S = 1.0
_SAY_S = 30.0


@dataclass(frozen=True)
class StatusConfig:
    """Say whether a service answers, with which encoder and composers, and how many items it holds.

    Example: scot status --address localhost:9000 --wait 300
    """

    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    collection: str = ""
    """Which collection; by default the service's own."""
    wait: float = 0.0
    """How many seconds to wait for a service that does not answer yet."""


def status(config: StatusConfig) -> int:
    """Print one line for the service, one for the collection, one for the composers.

    Raises:
        Unavailable: the service does not answer, or says of itself that it is not serving.
        ScotError: it refuses; the message says why.
    """
    if config.wait < 0:
        raise InvalidInput("--wait must not be negative")
    with config.service.client() as client:
        _await(client, config)
        composers = client.composers()
        collection = _collection(client, config.collection)
    print(f"{config.service.address} is serving")
    made_by = f"{collection.encoder} ({collection.dim} numbers)"
    print(f"collection {collection.collection}: {collection.items:,} items of {made_by}")
    print(answering(composers))
    return 0


def answering(composers: Sequence[ComposerInfo]) -> str:
    """One line: which composers answer when none is named, with their shares if there are several, and the others."""
    asked = [each for each in composers if each.share > 0]
    if len(asked) > 1:
        answers = "composers " + ", ".join(f"{each.name} ({each.share:.1%})" for each in asked) + " answer"
    else:  # a service of before shares says only which one is released
        name = next((each.name for each in (*asked, *composers) if each.share or each.released), "none")
        answers = f"composer {name} answers"
    shadow = "".join(f"; {each.name} is their shadow" for each in composers if each.shadow)
    others = ", ".join(each.name for each in composers if not (each.share or each.released or each.shadow))
    return f"{answers}{shadow}; also loaded: {others}"


def _await(client: ScotClient, config: StatusConfig) -> None:
    until = time.monotonic() + config.wait
    said = time.monotonic()
    while not client.healthy():
        if time.monotonic() >= until:
            raise Unavailable(f"no SCOT service is serving at {config.service.address}")
        if time.monotonic() - said > _SAY_S:
            said = time.monotonic()
            print(f"waiting for {config.service.address}", file=sys.stderr, flush=True)
        time.sleep(min(_LOOK_S, max(0.0, until - time.monotonic())))


def _collection(client: ScotClient, name: str) -> CollectionInfo:
    try:
        return client.info(collection=name)
    except NotFound as error:
        raise NotFound(f"{error}; `scot index` makes one") from None
