"""``scot keys``: make the API keys of a service."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from scot.keys import ApiKey, Role, digest_of, new_key
from scot.results import print_json


@dataclass(frozen=True)
class NewConfig:
    """Make an API key: print its line for the keys file on standard output, and the key once on standard error.

    Example: scot keys new --name shop --role read --rate 50 >> keys.txt
    """

    name: str
    """Who gets the key, for logs."""
    role: Role = "read"
    """read allows to search, encode and list; read-write also to store and delete items."""
    rate: float | None = None
    """Requests per second, on average; by default there is no limit."""
    burst: float | None = None
    """Requests at once after a pause; by default those of one second, at least one."""
    byte_rate: float | None = None
    """Bytes of requests per second, on average over a minute; by default there is no limit."""
    collections: tuple[str, ...] = ()
    """The collections that the key opens; * and ? match several; by default all."""
    items: int | None = None
    """The most items of a collection to which the key may add; by default there is no limit."""
    json: bool = False
    """Print one line of JSON, with the key and its line."""


def new(config: NewConfig) -> int:
    """Print a new key and its line.

    Raises:
        InvalidInput: the name, a rate, the burst, a collection or the number of items is malformed.
    """
    key = new_key()
    line = ApiKey(
        digest_of(key), config.name, config.role, config.rate, config.burst, config.collections, config.items,
        config.byte_rate,
    ).line  # fmt: skip
    if config.json:
        print_json({"key": key, "line": line})
        return 0
    print(f"the key of {config.name}, which is shown only now: {key}", file=sys.stderr)
    print(line)
    return 0
