"""API keys of a service: a file that may change while the service runs; each key has a role and a rate."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from scot.errors import InvalidInput, Overloaded, PermissionDenied, ScotError, Unauthenticated
from scot.keys import ApiKey, Role, digest_of, read_keys


class Bucket:
    """A token bucket: ``burst`` requests at once, and on average ``rate`` a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._filled = burst, clock()

    def take(self) -> bool:
        """Take one token. False: there is none."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled) * self._rate)
        self._filled = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    @property
    def wait_s(self) -> float:
        """Seconds until there is a token."""
        return max(0.0, 1.0 - self._level) / self._rate


class Rate(Protocol):
    """The remaining rate of a key."""

    async def take(self) -> bool:
        """Take one token. False: there is none."""


class LocalRate:
    """A :class:`Rate` of this process alone."""

    def __init__(self, key: ApiKey, clock: Callable[[], float] = time.monotonic) -> None:
        assert key.rate is not None
        self._bucket = Bucket(key.rate, burst_of(key), clock)

    async def take(self) -> bool:
        """Take one token. False: there is none."""
        return self._bucket.take()


def burst_of(key: ApiKey) -> float:
    """How many requests at once a key with a rate may make after a pause."""
    return max(1.0, key.rate or 0.0) if key.burst is None else key.burst


class Caller:
    """A known key and its remaining rate, if it is limited."""

    def __init__(self, key: ApiKey, rate: Rate | None) -> None:
        self.key, self._rate = key, rate

    async def spend(self) -> None:
        """Count one request. Raises Overloaded over the key's rate."""
        if self._rate is not None and not await self._rate.take():
            raise Overloaded(f"this API key may make {self.key.rate:g} requests a second; try again later")


class Keys:
    """The keys of a file (see :mod:`scot.keys`), which is read again whenever it changes.

    When a changed file cannot be read, an error is logged and the previous keys stay valid. A changed file without keys
    admits nobody.

    Args:
        path: the file.
        logger: gets a line for each change of the file.
        rate: makes the rate of a key that has one; by default each process counts for itself.

    Raises:
        InvalidInput: at the start, the file cannot be read or contains no key.
    """

    def __init__(
        self, path: Path, logger: logging.Logger | None = None, *, rate: Callable[[ApiKey], Rate] = LocalRate
    ) -> None:
        self._path, self._logger, self._rate = path, logger or logging.getLogger("scot"), rate
        self._stamp = self._fingerprint()
        self._callers = {key: self._caller(key) for key in read_keys(path)}
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
        # A key whose line has not changed keeps the level of its bucket.
        self._callers = {key: self._callers.get(key) or self._caller(key) for key in keys}
        self._logger.info("read the file of API keys again: %d keys", len(keys))

    def _caller(self, key: ApiKey) -> Caller:
        return Caller(key, None if key.rate is None else self._rate(key))

    def _fingerprint(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
