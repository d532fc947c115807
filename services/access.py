"""API keys of a service: a file that may change while the service runs; each key has a role and limits."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from scot.errors import InvalidInput, Overloaded, PermissionDenied, ScotError, Unauthenticated
from scot.keys import ApiKey, Role, digest_of, read_keys


class Bucket:
    """A token bucket: ``burst`` tokens at once, and on average ``rate`` a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._filled = burst, clock()

    def take(self, cost: float = 1.0) -> bool:
        """Take ``cost`` tokens; more than a burst, once the bucket is full. False: there are not as many."""
        return self.grant(cost, cost) > 0.0

    def grant(self, least: float, most: float) -> float:
        """Take whole tokens, from ``least`` to ``most``; 0: there are not as many."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled) * self._rate)
        self._filled = now
        if self._level < min(least, self._burst):
            return 0.0
        granted = max(least, min(most, math.floor(self._level)))
        self._level -= granted
        return granted

    def wait_s(self, cost: float = 1.0) -> float:
        """Seconds until ``cost`` tokens can be taken."""
        return max(0.0, min(cost, self._burst) - self._level) / self._rate


@dataclass(frozen=True, slots=True)
class Limit:
    """What a key may use: ``burst`` units at once after a pause, and on average ``rate`` a second."""

    key: str
    """The name of the key."""
    unit: Literal["requests", "bytes"]
    rate: float
    burst: float

    @property
    def sentence(self) -> str:
        """What a caller over the limit is told."""
        use = "make {:g} requests" if self.unit == "requests" else "send {:,.0f} bytes of requests"
        return f"this API key may {use.format(self.rate)} a second; try again later"


_BYTES_OVER_S = 60.0
"""The time over which the bytes of a key are averaged."""


def limits_of(key: ApiKey) -> tuple[Limit, ...]:
    """The limits of a key."""
    limits = []
    if key.rate is not None:
        limits.append(Limit(key.name, "requests", key.rate, max(1.0, key.rate) if key.burst is None else key.burst))
    if key.byte_rate is not None:
        limits.append(Limit(key.name, "bytes", key.byte_rate, key.byte_rate * _BYTES_OVER_S))
    return tuple(limits)


class Rate(Protocol):
    """What remains of a limit."""

    async def take(self, cost: float = 1.0) -> bool:
        """Take ``cost`` units. False: there are not as many."""


class LocalRate:
    """A :class:`Rate` of this process alone."""

    def __init__(self, limit: Limit, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = Bucket(limit.rate, limit.burst, clock)

    async def take(self, cost: float = 1.0) -> bool:
        """Take ``cost`` units. False: there are not as many."""
        return self._bucket.take(cost)


class Caller:
    """A known key and what remains of its limits."""

    def __init__(self, key: ApiKey, rate: Callable[[Limit], Rate]) -> None:
        self.key = key
        self._rates = [(limit, rate(limit)) for limit in limits_of(key)]

    async def spend(self, size: Callable[[], int]) -> None:
        """Count one request, whose ``size`` in bytes is asked if they are limited. Raises Overloaded over a limit."""
        for limit, rate in self._rates:
            if not await rate.take(1.0 if limit.unit == "requests" else max(1, size())):
                raise Overloaded(limit.sentence)


class Keys:
    """The keys of a file (see :mod:`scot.keys`), which is read again whenever it changes.

    When a changed file cannot be read, an error is logged and the previous keys stay valid. A changed file without keys
    admits nobody.

    Args:
        path: the file.
        logger: gets a line for each change of the file.
        rate: counts what is used of a limit; by default each process counts for itself.

    Raises:
        InvalidInput: at the start, the file cannot be read or contains no key.
    """

    def __init__(
        self, path: Path, logger: logging.Logger | None = None, *, rate: Callable[[Limit], Rate] = LocalRate
    ) -> None:
        self._path, self._logger, self._rate = path, logger or logging.getLogger("scot"), rate
        self._stamp = self._fingerprint()
        self._callers = {key: Caller(key, rate) for key in read_keys(path)}
        if not self._callers:
            raise InvalidInput(f"the file of API keys {path} contains no key; `scot keys new` makes one")

    def admit(self, authorization: str, role: Role = "read") -> Caller:
        """The caller to whom ``Bearer KEY`` belongs.

        Raises:
            Unauthenticated: the key is missing, or not in the file.
            PermissionDenied: its role does not allow the call.
        """
        self._reload()
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("the call needs an API key in its metadata, as authorization: Bearer KEY")
        digest = digest_of(key.strip())
        # Every digest is compared, each in constant time, so that the response time reveals nothing.
        found = [caller for known, caller in self._callers.items() if hmac.compare_digest(digest, known.digest)]
        if not found:
            raise Unauthenticated("this API key is not known")
        if role not in ("read", found[0].key.role):
            raise PermissionDenied(f"the role of this API key is {found[0].key.role}; the call needs {role}")
        return found[0]

    def _reload(self) -> None:
        stamp = self._fingerprint()
        if stamp == self._stamp:
            return
        self._stamp = stamp  # a damaged file is logged once, not at every request
        try:
            keys = read_keys(self._path)
        except ScotError as error:
            self._logger.error("the previous API keys stay valid: %s", error)
            return
        # A key whose line has not changed keeps the levels of its buckets.
        self._callers = {key: self._callers.get(key) or Caller(key, self._rate) for key in keys}
        self._logger.info("read the file of API keys again: %d keys", len(keys))

    def _fingerprint(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
