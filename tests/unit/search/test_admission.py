"""Which calls a proxy lets in: by how many there are, whose they are, how urgent they are, and their deadlines."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from services.search.rpc.admission import Admission, Arrival, Reason, Refused
from services.search.rpc.limits import FEW_IN_FLIGHT, LONGEST_EXPECTED_S

SEARCH = Arrival("ComposeSearch")


class Proxy:
    """An Admission with a clock of its own, and what it let in."""

    def __init__(self) -> None:
        self.now = 100.0
        self.refusals: Counter[Reason] = Counter()
        self.admission = Admission(lambda reason: self.refusals.update([reason]), lambda: self.now)
        self.calls = ExitStack()

    def arrives(self, arrival: Arrival = SEARCH) -> Reason | None:
        """Let it in and keep it in flight, or say why not."""
        try:
            self.admission.check(arrival)
        except Refused as refused:
            return refused.reason
        self.calls.enter_context(self.admission.passing(arrival)).answered = True
        return None

    def admitted(self, arrival: Arrival = SEARCH, *, of: int = 500) -> int:
        """How many of so many are let in."""
        return sum(self.arrives(arrival) is None for _ in range(of))

    def all_end(self, seconds: float) -> None:
        """All calls in flight are answered after so many seconds."""
        self.now += seconds
        self.calls.close()

    def learns(self, arrival: Arrival = SEARCH, *, share_s: float) -> None:
        """Batches that take this long for each of their calls."""
        for _ in range(40):
            count = self.admitted(arrival, of=FEW_IN_FLIGHT)
            self.all_end(share_s * count)


def test_as_many_are_let_in_as_are_answered_within_the_longest_time() -> None:
    for share_s in (0.1, 0.01, 0.001):
        proxy = Proxy()
        proxy.learns(share_s=share_s)
        exact = max(FEW_IN_FLIGHT, LONGEST_EXPECTED_S / share_s)
        assert proxy.admitted() == pytest.approx(exact, abs=1)
        assert set(proxy.refusals) == {"full"}


def test_calls_that_are_few_are_let_in_however_long_they_take() -> None:
    proxy = Proxy()
    proxy.learns(share_s=30.0)
    assert proxy.admitted() == FEW_IN_FLIGHT


def test_each_method_has_times_of_its_own() -> None:
    proxy = Proxy()
    proxy.learns(share_s=0.1)
    proxy.learns(Arrival("GetPictures"), share_s=0.001)
    assert proxy.admission.limit("ComposeSearch") < proxy.admission.limit("GetPictures")


def test_what_cannot_be_answered_before_its_deadline_is_not_begun() -> None:
    proxy = Proxy()
    assert proxy.arrives(Arrival("ComposeSearch", remaining_s=0.001)) is None  # nothing is known yet
    proxy.all_end(0.2)
    assert proxy.arrives(Arrival("ComposeSearch", remaining_s=0.1)) is None  # an idle service tries
    assert proxy.arrives(Arrival("ComposeSearch", remaining_s=0.1)) == "deadline"
    assert proxy.arrives(Arrival("ComposeSearch", remaining_s=0.3)) is None
    with pytest.raises(Refused, match=r"answers in about 0\.20 seconds now, and this call may take 0\.10;"):
        proxy.admission.check(Arrival("ComposeSearch", remaining_s=0.1))
    proxy.all_end(0.2)
    proxy.learns(share_s=0.2)
    assert proxy.admitted(Arrival("ComposeSearch", remaining_s=2.0)) < FEW_IN_FLIGHT
    assert proxy.arrives(Arrival("ComposeSearch", remaining_s=60.0)) is None


def test_callers_who_gave_up_waiting_make_the_estimate_longer_and_failures_do_not_shorten_it() -> None:
    proxy = Proxy()
    proxy.arrives()
    proxy.all_end(0.2)
    for seconds, expected in ((0.001, 0.2), (4.0, 0.2 + 0.05 * 3.8)):
        with proxy.admission.passing(SEARCH):
            proxy.now += seconds
        assert proxy.admission.expected_s(SEARCH) == pytest.approx(expected)


def test_a_service_that_was_away_is_tried_and_takes_calls_again_within_seconds() -> None:
    proxy, search = Proxy(), Arrival("ComposeSearch", remaining_s=1.0)
    proxy.arrives()
    proxy.all_end(11.0)  # all that callers saw was their deadlines
    hangs = ExitStack()
    hangs.enter_context(proxy.admission.passing(SEARCH))
    tried, began = 0, proxy.now
    while proxy.admission.expected_s(SEARCH) > 1.0:
        tried += proxy.arrives(search) is None
        proxy.all_end(0.02)
        assert proxy.now - began < 4
    assert tried <= 4 * (proxy.now - began)
    assert proxy.admitted(search, of=10) == 10


def test_bulk_gives_way_but_never_starves() -> None:
    proxy, bulk = Proxy(), Arrival("UpsertItems", bulk=True)
    proxy.learns(share_s=0.01)
    limit = proxy.admission.limit("ComposeSearch")
    assert proxy.admitted(bulk, of=5) == 5
    assert proxy.admitted() == limit  # in spite of what is being indexed
    assert proxy.arrives(bulk) == "bulk"
    proxy.all_end(0.3)
    assert proxy.admitted() >= FEW_IN_FLIGHT
    assert [proxy.arrives(bulk), proxy.arrives(bulk)] == [None, "bulk"]


def test_a_key_that_asks_too_much_leaves_the_others_their_share() -> None:
    proxy = Proxy()
    greedy, modest = (Arrival("ComposeSearch", key=name) for name in ("greedy", "modest"))
    for each in (greedy, modest):  # whose keys the service knows from then on
        proxy.learns(each, share_s=0.01)
    limit = proxy.admission.limit("ComposeSearch")
    assert proxy.admitted(greedy) == limit
    assert proxy.admitted(modest) == pytest.approx(limit / 2, abs=1)
    assert proxy.arrives(greedy) == "share"
    assert proxy.refusals["share"] > 0


def test_keys_that_are_made_up_have_one_share_together() -> None:
    proxy = Proxy()
    known = Arrival("ComposeSearch", key="known")
    proxy.learns(known, share_s=0.01)
    limit = proxy.admission.limit("ComposeSearch")
    assert proxy.admitted(known) == limit
    made_up = sum(proxy.arrives(Arrival("ComposeSearch", key=f"key {n}")) is None for n in range(200))
    assert made_up == pytest.approx(limit / 2, abs=1)


def test_what_serve_refused_is_the_limit_for_a_second() -> None:
    proxy = Proxy()
    assert proxy.admitted(of=4) == 4
    proxy.admission.serve_is_full()
    assert proxy.arrives() == "full"
    proxy.now += 1.1  # who knows what the limit is now?
    assert proxy.arrives() is None
