"""Which calls are let in, in front of Serve: what cannot be answered in time is refused at once.

A Serve proxy that refuses a call has routed it first, and a call that waits beyond its deadline was work for nobody. A
refusal here costs a small part of either (docs/adr/0029). The estimate is Little's law: where calls are many, one that
took t seconds, during which n were in flight on average, had t / n of the service; the next one takes that times those
in flight.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from services.search.rpc.limits import FEW_IN_FLIGHT, LONGEST_EXPECTED_S, MAX_AT_WORK

Reason = Literal["full", "share", "deadline", "bulk"]
"""Why a call is refused: the service or the key's share of it is full, it would end too late, or searches go first."""
_FULL_S = 1.0
"""How long Serve's own limit is valid; after that there may be more gateways, or faster ones."""
_WEIGHT = 0.05
"""Of the newest call in the running mean."""
_FORGET_S = 1.0
"""A call that took less than the mean counts for as much of it as the part of this time that it is old."""
_TRY_S = 0.25
"""Where none was let in for so long, one is, whatever is expected: or a service that was away would refuse for ever."""
_MANY = MAX_AT_WORK // 4
_MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call as it arrives."""

    method: str
    key: str = ""
    """Identifies the caller's API key."""
    bulk: bool = False
    """Whether it gives way to other calls."""
    remaining_s: float | None = None
    """Seconds to its deadline; None: it has none."""


@dataclass(slots=True)
class InFlight:
    """A call in flight."""

    answered: bool = False
    """Whether it was answered, and did not fail: how long that took says how long others take."""


class Refused(Exception):
    """A call that is not let in, and what its caller is told."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


class Admission:
    """The calls in flight through one proxy. For one event loop.

    Bulk calls are counted apart, so they take no place of the others; where others are many, one is let in at a time.

    Args:
        count: called with the reason of each refusal.
        clock: seconds.
    """

    def __init__(self, count: Callable[[Reason], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._in_flight: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}  # by bulk, then by owner
        self._call_s = {bulk: (self._clock(), 0.0) for bulk in (False, True)}
        self._alone_s: dict[str, float] = {}  # that a call takes where others are few, by method
        self._share_s: dict[str, float] = {}  # of the service that a call takes where others are many
        self._learned: dict[str, float] = {}  # when something was last learned of a method
        self._let_in = {False: self._clock(), True: self._clock()}  # when a call last was, by bulk
        self._known: set[str] = set()
        self._full, self._full_until = 0, 0.0

    def expected_s(self, arrival: Arrival) -> float:
        """How long a call that arrives now takes; 0 before the first has ended."""
        others, share_s = self._in_flight[arrival.bulk].total(), self._share_s.get(arrival.method)
        if others >= _MANY and share_s is not None:
            return share_s * (others + 1)
        return self._alone_s.get(arrival.method, 0.0)  # batches make few calls take hardly longer than one

    def limit(self, method: str) -> int:
        """How many calls that are bulk, or how many that are not, may be in flight when one of this method arrives."""
        share_s = self._share_s.get(method)
        limit = 2 * FEW_IN_FLIGHT if share_s is None else max(FEW_IN_FLIGHT, int(LONGEST_EXPECTED_S / share_s))
        return min(limit, self._full) if self._clock() < self._full_until else limit

    def check(self, arrival: Arrival) -> None:
        """Raise Refused, and count it, if a call that arrives now is not let in.

        A full service still takes the calls of a key that has less than its share in flight.
        """
        try:
            self._check(arrival, self._owner(arrival.key))
        except Refused as refused:
            self._count(refused.reason)
            raise

    def _check(self, arrival: Arrival, owner: str) -> None:
        limit, of_owner = self.limit(arrival.method), self._in_flight[arrival.bulk]
        if arrival.bulk and of_owner and self._in_flight[False].total() >= _MANY:
            raise Refused("bulk", "the service is busy with calls that go before bulk calls; try again later")
        if of_owner.total() >= limit:
            owners = len(of_owner.keys() | {owner})
            if owners == 1:
                raise Refused("full", "the service is at its limit; try again later")
            if of_owner[owner] >= limit / owners:
                raise Refused("share", "the service is at its limit, and this API key at its share; try again later")
        expected_s = self.expected_s(arrival)
        late = arrival.remaining_s is not None and expected_s > arrival.remaining_s
        if late and of_owner and self._clock() - self._let_in[arrival.bulk] < _TRY_S:
            raise Refused(
                "deadline",
                f"the service answers in about {expected_s:.2f} seconds now, and this call may take "
                f"{max(0.0, arrival.remaining_s or 0.0):.2f}; give it more time, or try again later",
            )

    @contextmanager
    def passing(self, arrival: Arrival) -> Iterator[InFlight]:
        """A call is in flight while the block runs."""
        owner, of_owner, call = self._owner(arrival.key), self._in_flight[arrival.bulk], InFlight()
        begun, call_s = self._counted(arrival.bulk)
        of_owner[owner] += 1
        self._let_in[arrival.bulk] = begun
        try:
            yield call
        finally:
            now, call_s = self._counted(arrival.bulk, call_s)
            took_s = now - begun
            if call.answered:
                self._known.add(arrival.key)
            of_owner[owner] -= 1
            if not of_owner[owner]:
                del of_owner[owner]
            if call.answered or took_s > self.expected_s(arrival):  # a caller that gave up waited so long
                self._learn(arrival.method, took_s, call_s / took_s if took_s else 1.0)

    def serve_is_full(self) -> None:
        """Serve refused the current call: the other calls in flight are the limit for a while."""
        others = sum(each.total() for each in self._in_flight.values()) - 1
        self._full, self._full_until = others, self._clock() + _FULL_S

    def _owner(self, key: str) -> str:
        """Whose share a call is of: that of its key, once one of its calls was answered, since keys can be made up."""
        if len(self._known) > _MOST_KEYS:
            self._known.clear()
        return key if key in self._known else ""

    def _counted(self, bulk: bool, since: float = 0.0) -> tuple[float, float]:
        """The time, and the seconds that all calls together were in flight, without those ``since`` a moment."""
        now = self._clock()
        at, call_s = self._call_s[bulk]
        call_s += (now - at) * self._in_flight[bulk].total()
        self._call_s[bulk] = now, call_s
        return now, call_s - since

    def _learn(self, method: str, took_s: float, calls: float) -> None:
        means, new_s = (self._share_s, took_s / calls) if calls >= _MANY else (self._alone_s, took_s)
        now, mean_s, weight = self._clock(), means.get(method, new_s), _WEIGHT
        if new_s < mean_s:
            weight = max(weight, min(1.0, (now - self._learned.get(method, now)) / _FORGET_S))
        self._learned[method] = now
        means[method] = new_s + (1 - weight) * (mean_s - new_s)
