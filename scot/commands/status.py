"""``scot status``: whether a service answers, and what it serves."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from scot.channels import proxy_of
from scot.client import CollectionInfo, ComposerInfo, ScotClient
from scot.commands.service import ServicePlace
from scot.errors import InvalidFlag, NotFound, Unavailable
from scot.results import print_json

_POLL_S = 1.0
_REPORT_S = 30.0


@dataclass(frozen=True)
class StatusConfig:
    """Show whether a service answers, its encoder and composers, and its number of items.

    Example: scot status --address localhost:9000 --wait 300
    """

    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    collection: str = ""
    """Which collection; by default the service's own."""
    json: bool = False
    """Print one line of JSON."""
    wait: float = 0.0
    """Seconds to wait for a service that does not answer yet."""


def status(config: StatusConfig) -> int:
    """Print one line for the service, one for the collection, one for the composers.

    Raises:
        Unavailable: the service does not answer, or reports that it is not serving.
        ScotError: the service refuses; the message has the reason.
    """
    if config.wait < 0:
        raise InvalidFlag("--wait must not be negative")
    _await(config)
    with config.service.client() as client:
        composers = client.composers()
        collection = _collection(client, config.collection)
    if config.json:
        shown = [dataclasses.asdict(each) for each in composers]
        print_json(
            {"address": config.service.address, "collection": dataclasses.asdict(collection), "composers": shown}
        )
        return 0
    print(f"{config.service.address} is serving")
    captions = f", captions with weight {collection.caption_weight:g}" if collection.caption_weight else ""
    made_by = f"{collection.encoder} ({collection.dim} numbers{captions})"
    print(f"collection {collection.collection}: {collection.items:,} items of {made_by}")
    print(answering(composers))
    return 0


def answering(composers: Sequence[ComposerInfo]) -> str:
    """One line: the composers that answer queries without a composer, with their shares, and the other ones."""
    sharing = [each for each in composers if each.share > 0]
    if len(sharing) > 1:
        answers = "composers " + ", ".join(f"{each.name} ({each.share:.1%})" for each in sharing) + " answer"
    else:  # services of older versions report no shares, only the released composer
        name = next((each.name for each in (*sharing, *composers) if each.share or each.released), "none")
        answers = f"composer {name} answers"
    shadow = "".join(f"; {each.name} is their shadow" for each in composers if each.shadow)
    others = ", ".join(each.name for each in composers if not (each.share or each.released or each.shadow))
    return f"{answers}{shadow}; also loaded: {others}"


def _await(config: StatusConfig) -> None:
    until = time.monotonic() + config.wait
    reported = time.monotonic()
    while not _healthy(config):
        if time.monotonic() >= until:
            address = config.service.address
            raise Unavailable(f"no SCOT service is serving at {address}{proxy_of(address)}")
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            print(f"waiting for {config.service.address}", file=sys.stderr, flush=True)
        time.sleep(min(_POLL_S, max(0.0, until - time.monotonic())))


def _healthy(config: StatusConfig) -> bool:
    # With a connection of its own: gRPC looks a name up again after up to two minutes if it did not exist before.
    with config.service.client() as client:
        return client.healthy()


def _collection(client: ScotClient, name: str) -> CollectionInfo:
    try:
        return client.info(collection=name)
    except NotFound as error:
        raise NotFound(f"{error}; `scot index` makes one") from None
