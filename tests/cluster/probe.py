"""Callers that never stop asking: what a step of a release's life costs them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import urllib3

from scot.client import ScotClient
from scot.errors import ScotError
from scot.v1 import search_pb2, search_pb2_grpc

TIMEOUT_S = 10.0
LATE_S = 2.0
_IN_A_ROW = 15
_OK = "OK"
Outcome = tuple[str, str]
"""A status, and of a failure its sentence."""
_GOOD: Outcome = (_OK, "")


HEADER = (
    "| step | seconds | calls | failed | failed without retry | seconds until the last failure | longest gap, s |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Cost:
    """What one step cost one caller."""

    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    late: int = 0
    """Failed calls that began more than two seconds after the step had."""
    recovered_s: float = 0.0
    """Seconds from the step's beginning until the last failure."""
    longest_gap_s: float = 0.0
    """The longest time without an answer."""
    gap_ended: float = 0.0
    """The moment at which it ended."""
    latencies_s: list[float] = field(default_factory=list)
    """Of the answers."""
    answered: float = field(default_factory=time.monotonic)
    """When the newest answer came."""

    @property
    def p99_s(self) -> float:
        """The 99th percentile of the latencies."""
        return sorted(self.latencies_s)[int(0.99 * len(self.latencies_s))] if self.latencies_s else 0.0

    def add(self, code: str, asked_s: float, latency_s: float) -> None:
        """A call that began ``asked_s`` into the step has ended."""
        self.calls += 1
        if code != _OK:
            self.failed[code] += 1
            self.late += asked_s > LATE_S
            self.recovered_s = asked_s + latency_s
        else:
            self.latencies_s.append(latency_s)
            self.quiet()
            self.answered = time.monotonic()

    def quiet(self) -> None:
        """Count the time since the newest answer."""
        now = time.monotonic()
        if (gap_s := now - self.answered) > self.longest_gap_s:
            self.longest_gap_s, self.gap_ended = gap_s, now


@dataclass(slots=True)
class Step:
    """What one step cost each caller; its own numbers are those of ``scot.client``."""

    name: str
    callers: list[str]
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    costs: dict[str, Cost] = field(init=False)

    def __post_init__(self) -> None:
        self.costs = {caller: Cost() for caller in self.callers}

    @property
    def failed(self) -> Counter[str]:
        """Calls of ``scot.client`` that failed, by error."""
        return self.costs["client"].failed

    def row(self) -> str:
        """A row of the report."""
        cost, bare = self.costs["client"], sum(self.costs["gRPC"].failed.values())
        shown = ", ".join(f"{count} {code}" for code, count in cost.failed.items()) or "0"
        cells = (
            self.name, f"{self.seconds:.0f}", cost.calls, shown, bare, f"{cost.recovered_s:.0f}",
            f"{cost.longest_gap_s:.1f}",
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


class Probe:
    """Asks ``rate`` times a second as ``scot.client`` does, and as often over gRPC without its retries.

    With ``web``, HOST:PORT of a web service, as often over HTTP, with and without retries.
    No two queries are the same: a gateway answers those that come again without a composer.
    """

    def __init__(
        self, address: str, api_key: str, item_id: str, edit: str, rate: float = 5.0, *, web: str = ""
    ) -> None:
        self._item_id, self._edit, self._pause = item_id, edit, 1.0 / rate
        self._client = ScotClient(address, api_key=api_key, timeout=TIMEOUT_S)
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self._authorization = f"Bearer {api_key}"
        self._http, self._url = urllib3.PoolManager(maxsize=64), f"http://{web}/v1/compose-search"
        self._numbers = itertools.count()
        callers: dict[str, Callable[[], Outcome]] = {"client": self._ask, "gRPC": self._ask_bare}
        if web:
            callers |= {"HTTP with retries": self._ask_http, "HTTP": lambda: self._ask_http(retries=0)}
        self._callers = list(callers)
        self._step, self._good = Step("", self._callers), 0  # before the first step nothing need answer
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask_for_ever, args=each) for each in callers.items()]
        self.composers: Counter[str] = Counter()

    def __enter__(self) -> Probe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._channel.close()
        self._http.clear()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Count what happens within the block, and after it until answers come steadily again."""
        with self._lock:
            self._step = step = Step(name, self._callers)
        yield step
        step.seconds = time.monotonic() - step.began
        self.steady()
        with self._lock:
            for cost in step.costs.values():
                cost.quiet()
        print(step.row(), flush=True)  # each as it comes: a run that fails has said what it saw

    def steady(self, patience_s: float = 600.0) -> None:
        """Wait for good answers in a row. Raises AssertionError when they do not come."""
        with self._lock:
            self._good = 0
        end = time.monotonic() + patience_s
        while self._good < _IN_A_ROW:
            assert time.monotonic() < end, f"after {patience_s:.0f} s there are no steady answers: {self._step}"
            time.sleep(0.1)

    def _ask_for_ever(self, caller: str, ask: Callable[[], Outcome]) -> None:
        """One call after another may take its whole deadline; a call a tick does not wait for the one before."""
        calls: list[threading.Thread] = []
        while not self._stop.wait(self._pause):
            calls = [call for call in calls if call.is_alive()]
            calls.append(threading.Thread(target=self._count, args=(caller, ask)))
            calls[-1].start()
        for call in calls:
            call.join()

    def _count(self, caller: str, ask: Callable[[], Outcome]) -> None:
        step, begun = self._step, time.monotonic()
        code, sentence = ask()
        latency_s = time.monotonic() - begun
        if code != _OK and step.name:
            when = f"{begun - step.began:.1f} s into the step, after {latency_s:.1f} s"
            print(f"    {caller}, {when}: {code}: {sentence}", flush=True)
        with self._lock:
            step.costs[caller].add(code, begun - step.began, latency_s)
            if caller == "client":
                self._good = self._good + 1 if code == _OK else 0

    def _next_edit(self) -> str:
        return f"{self._edit} {next(self._numbers)}"

    def _ask(self) -> Outcome:
        try:
            found = self._client.search(item_id=self._item_id, edits=self._next_edit(), limit=3)
        except ScotError as error:
            return type(error).__name__, str(error)
        self.composers[found.composer] += 1
        return _GOOD if len(found.hits) == 3 else ("WRONG", f"{len(found.hits)} hits")

    def _ask_bare(self) -> Outcome:
        request = search_pb2.ComposeSearchRequest(limit=3)
        request.reference.item_id = self._item_id
        request.edits.add(text=self._next_edit())
        try:
            ask: Any = search_pb2_grpc.SearchServiceStub(self._channel).ComposeSearch
            ask(request, timeout=TIMEOUT_S, metadata=[("authorization", self._authorization)])
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return _GOOD

    def _ask_http(self, retries: int = 4) -> Outcome:
        body = {"reference": {"itemId": self._item_id}, "edits": [{"text": self._next_edit()}], "limit": 3}
        again = urllib3.Retry(
            retries, allowed_methods=None, status_forcelist=[503], backoff_factor=0.2, raise_on_status=False,
            respect_retry_after_header=False,
        )  # fmt: skip
        try:
            answer = self._http.request(
                "POST", self._url, json=body, headers={"authorization": self._authorization}, retries=again,
                timeout=urllib3.Timeout(connect=1, read=3 if retries else TIMEOUT_S),
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__, str(error)
        return _GOOD if answer.status == 200 else (f"{answer.status}", answer.data.decode())
