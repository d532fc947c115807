"""``scot keys``: make the API keys of a service."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from scot.keys import ApiKey, Role, digest_of, new_key


@dataclass(frozen=True)
class NewConfig:
    """Make an API key: its line for the keys file on standard output, and the key itself, this once, on standard error.

    Example: scot keys new --name shop --role read --rate 50 >> keys.txt
    """

    name: str
    """Who gets it, for logs."""
    role: Role = "read"
    """What it may do: read searches, encodes and lists; read-write stores and deletes items too."""
    rate: float | None = None
    """Requests a second, on average; without one there is no limit."""
    burst: float | None = None
    """Requests at once after a pause; by default one second's worth, and at least one."""


def new(config: NewConfig) -> int:
    """Print a new key and its line.

    Raises:
        InvalidInput: the name, the rate or the burst is none.
    """
    key = new_key()
    line = ApiKey(digest_of(key), config.name, config.role, config.rate, config.burst).line
    print(f"the key of {config.name}, which nothing can show again: {key}", file=sys.stderr)
    print(line)
    return 0
