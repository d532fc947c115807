"""Refuse at once what would be refused in the end.

A proxy of Serve that refuses a call has done most of the work of passing it on. At several times what the service can
answer, refusals take the processor from the answers; a refusal from here costs a small part of that (docs/adr/0015).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FOR_S = 1.0
"""How long a limit counts that was met: by then there may be more gateways, or faster ones."""


class Shedding:
    """Knows how many calls were in flight when one was last refused, and for a while refuses those beyond that number.

    Args:
        count: called for each call that is refused here.
        clock: seconds.
    """

    def __init__(self, count: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._in_flight, self._limit, self._until = 0, 0, 0.0

    def refuses(self) -> bool:
        """Whether a call that arrives now is refused; it is counted if so."""
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

    def met_the_limit(self) -> None:
        """The call that is passing was refused: those that are in flight beside it are all that can be."""
        self._limit, self._until = self._in_flight - 1, self._clock() + _FOR_S
