"""Who may call a service: API keys from a file that may change while the service runs, each with a role and a rate."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from scot.errors import InvalidInput, Overloaded, PermissionDenied, ScotError, Unauthenticated
from scot.keys import ApiKey, Role, digest_of, read_keys


class Bucket:
    """A token bucket: ``burst`` requests at once, and ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._filled = burst, clock()

    def take(self) -> bool:
        """Whether one more request may pass now."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled) * self._rate)
        self._filled = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class Caller:
    """A key that was recognised, and what it may still ask for."""

    def __init__(self, key: ApiKey, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = key
        burst = max(1.0, key.rate or 0.0) if key.burst is None else key.burst
        self._bucket = None if key.rate is None else Bucket(key.rate, burst, clock)

    def spend(self) -> None:
        """Count one request. Raises Overloaded over the key's rate."""
        if self._bucket is not None and not self._bucket.take():
            raise Overloaded(f"this API key may make {self.key.rate:g} requests a second; try again later")


class Keys:
    """The keys of a file (see :mod:`scot.keys`), which is read again whenever it changes.

    A changed file that cannot be read is logged, and the keys read before stay; one without a key in it admits nobody.

    Raises:
        InvalidInput: at the start, the file cannot be read or holds no key.
    """

    def __init__(
        self, path: Path, logger: logging.Logger | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._logger, self._clock = path, logger or logging.getLogger("scot"), clock
        self._stamp = self._look()
        self._callers = {key: Caller(key, clock) for key in read_keys(path)}
        if not self._callers:
            raise InvalidInput(f"the file of API keys {path} holds no key; `scot keys new` makes one")

    def admit(self, authorization: str, role: Role = "read") -> Caller:
        """Whom ``Bearer KEY`` belongs to.

        Raises:
            Unauthenticated: there is no key, or it is not in the file.
            PermissionDenied: its role does not allow the call.
        """
        self._reload()
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Unauthenticated("an API key is needed in the metadata, as authorization: Bearer KEY")
        digest = digest_of(given.strip())
        # Every digest is compared, each in constant time, so that how long an answer takes tells nothing.
        found = [caller for key, caller in self._callers.items() if hmac.compare_digest(digest, key.digest)]
        if not found:
            raise Unauthenticated("this API key is not known")
        if role not in ("read", found[0].key.role):
            raise PermissionDenied(f"this API key may only {found[0].key.role}; the call needs {role}")
        return found[0]

    def _reload(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp  # a damaged file is told once, not at every request
        try:
            keys = read_keys(self._path)
        except ScotError as error:
            self._logger.error("the API keys read before stay: %s", error)
            return
        # A key whose line has not changed goes on with what is left in its bucket.
        self._callers = {key: self._callers.get(key) or Caller(key, self._clock) for key in keys}
        self._logger.info("read the file of API keys again: %d keys", len(keys))

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
