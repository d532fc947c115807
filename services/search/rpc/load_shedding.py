"""Refuse a call at once if Serve would refuse it in the end.

When a Serve proxy refuses a call, it has already done most of the work of passing it on. At several times the service's
capacity, these refusals take processor time from the answers; a refusal here costs a small part of that
(docs/adr/0015).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_DURATION_S = 1.0
"""How long a limit is valid; after that there may be more gateways, or faster ones."""


class Shedding:
    """Stores the number of calls in flight at the last refusal, and for a while refuses calls beyond that number.

    Args:
        count: called for each call that is refused here.
        clock: seconds.
    """

    def __init__(self, count: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._in_flight, self._limit, self._until = 0, 0, 0.0

    def refuses(self) -> bool:
        """Whether a call that arrives now is refused; if so, it is counted."""
        if self._in_flight < self._limit or self._clock() >= self._until:
            return False
        self._count()
        return True

    @contextmanager
    def passing(self) -> Iterator[None]:
        """A call is in flight while the block runs."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def limit_reached(self) -> None:
        """The current call was refused: the other calls in flight are the limit."""
        self._limit, self._until = self._in_flight - 1, self._clock() + _DURATION_S
