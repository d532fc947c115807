"""A circuit breaker: after a few failures in a row, calls to an unreachable server fail at once until it answers.

The pattern is Nygard's (*Release It!*, 2007). Closed, every call passes. Open, every call is refused at once. After a
pause, one caller at a time probes the server, and the first answer closes the circuit again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable

from scot.errors import Unavailable

logger = logging.getLogger("scot.index")


class CircuitBreaker:
    """Decides whether a call may be sent. For one event loop: no method awaits between a check and its effect."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        threshold: int = 3,
        first_pause_s: float = 0.5,
        longest_pause_s: float = 8.0,
    ) -> None:
        """``probe`` is a cheap call with a short deadline; ``threshold`` failures in a row open the circuit.

        It stays open for ``first_pause_s`` seconds. Each failed probe doubles the pause, up to ``longest_pause_s``.
        """
        self._probe, self._threshold = probe, threshold
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._pause_s, self._failures, self._retry_at, self._probing = first_pause_s, 0, 0.0, False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._failures >= self._threshold

    async def enter(self) -> None:
        """Return when a call may be sent.

        Raises:
            Unavailable: the circuit is open, or the probe that this caller sent has failed.
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
        # If the server answers the probe but not the calls, the next failure opens the circuit again.
        self._failures = self._threshold - 1
        logger.warning("the vector store answers again")

    def succeeded(self) -> None:
        """Record that a call was answered, even with a refusal."""
        self._failures, self._pause_s = 0, self._first_pause_s

    def failed(self) -> None:
        """Record that a call could not connect or got no answer."""
        self._failures += 1
        if self._failures == self._threshold:
            logger.warning("the vector store cannot be reached: calls are refused until it answers")
            self._pause()

    def _pause(self) -> None:
        # With jitter, gateways that lost the server together do not return to it together.
        self._retry_at = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
