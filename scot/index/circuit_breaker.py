"""A circuit breaker: after a few failures in a row nobody waits for an unreachable server any more, until it answers.

The pattern is Nygard's (*Release It!*, 2007). Closed, every call passes. Open, every call is refused at once. After a
pause, one caller at a time asks the server for a sign of life, and the first answer closes the circuit again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable

from scot.errors import Unavailable

logger = logging.getLogger("scot.index")


class Circuit:
    """Decides whether a call may go out. For one event loop: nothing here waits between looking and acting."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        threshold: int = 3,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 8.0,
    ) -> None:
        """``probe`` is a cheap call that must end soon; ``threshold`` failures in a row open the circuit.

        It stays open for ``first_pause_s`` seconds, then twice that after each probe that failed, up to
        ``longest_pause_s``.
        """
        self._probe, self._threshold = probe, threshold
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._pause_s, self._failures, self._retry_at, self._probing = first_pause_s, 0, 0.0, False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._failures >= self._threshold

    async def enter(self) -> None:
        """Return when a call may go out.

        Raises:
            Unavailable: at once while the circuit is open; or the probe, which this caller made, has failed.
        """
        if not self.is_open:
            return
        if self._probing or time.monotonic() < self._retry_at:
            raise Unavailable("the vector store cannot be reached")
        self._probing = True
        try:
            await self._probe()
        except Exception as error:
            self._pause()
            raise Unavailable("the vector store cannot be reached") from error
        finally:
            self._probing = False
        # A server that says it lives but answers nothing opens the circuit again with its next failure.
        self._failures = self._threshold - 1
        logger.warning("the vector store answers again")

    def succeeded(self) -> None:
        """A call was answered, be it with a refusal."""
        self._failures, self._pause_s = 0, self._first_pause_s

    def failed(self) -> None:
        """A call found nobody, or no answer came."""
        self._failures += 1
        if self._failures == self._threshold:
            logger.warning("the vector store cannot be reached: calls are refused until it answers")
            self._pause()

    def _pause(self) -> None:
        # The jitter keeps gateways that lost the server together from coming back to it together.
        self._retry_at = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
