"""Callers that never stop asking: what a step of a release's life costs them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from scot.client import ScotClient
from scot.errors import ScotError
from scot.v1 import search_pb2, search_pb2_grpc

TIMEOUT_S = 10.0
_IN_A_ROW = 15


HEADER = (
    "| step | seconds | calls | failed | failed without retry | seconds until the last failure |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Step:
    """What one step cost: of ``calls`` how many failed, by code, and the seconds until the last failure had passed."""

    name: str
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    failed_without_retry: Counter[str] = field(default_factory=Counter)
    recovered_s: float = 0.0
    longest_gap_s: float = 0.0
    """The longest time in which the client with retries got no answer."""
    latencies_s: list[float] = field(default_factory=list)
    """Of the answers to the client with retries."""
    answered: float = field(default_factory=time.monotonic)
    """When the newest answer came."""

    @property
    def p99_s(self) -> float:
        """The 99th percentile of the latencies."""
        return sorted(self.latencies_s)[int(0.99 * len(self.latencies_s))] if self.latencies_s else 0.0

    def row(self) -> str:
        """A row of the report."""
        shown = ", ".join(f"{count} {code}" for code, count in self.failed.items()) or "0"
        bare = sum(self.failed_without_retry.values())
        return f"| {self.name} | {self.seconds:.0f} | {self.calls} | {shown} | {bare} | {self.recovered_s:.0f} |"


class Probe:
    """Asks ``rate`` times a second, once as ``scot.client`` does and once without its retries.

    No two queries are the same: a gateway answers those that come again without a composer.
    """

    def __init__(self, address: str, api_key: str, item_id: str, edit: str, rate: float = 5.0) -> None:
        self._item_id, self._edit, self._pause = item_id, edit, 1.0 / rate
        self._client = ScotClient(address, api_key=api_key, timeout=TIMEOUT_S)
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self._metadata = [("authorization", f"Bearer {api_key}")]
        self._step = Step("before")
        self._good = 0
        self._numbers = itertools.count()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_for_ever, args=(ask,)) for ask in (self._ask, self._ask_bare)
        ]
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

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Count what happens within the block, and after it until answers come steadily again."""
        with self._lock:
            self._step = step = Step(name)
        yield step
        step.seconds = time.monotonic() - step.began
        self.steady()
        with self._lock:
            step.longest_gap_s = max(step.longest_gap_s, time.monotonic() - step.answered)
        print(step.row(), flush=True)  # each as it comes: a run that fails has said what it saw

    def steady(self, patience_s: float = 600.0) -> None:
        """Wait for good answers in a row. Raises AssertionError when they do not come."""
        with self._lock:
            self._good = 0
        end = time.monotonic() + patience_s
        while self._good < _IN_A_ROW:
            assert time.monotonic() < end, f"after {patience_s:.0f} s there are no steady answers: {self._step}"
            time.sleep(0.1)

    def _ask_for_ever(self, ask: Any) -> None:
        """One call after another may take its whole deadline; a call a tick does not wait for the one before."""
        calls: list[threading.Thread] = []
        while not self._stop.wait(self._pause):
            calls = [call for call in calls if call.is_alive()]
            calls.append(threading.Thread(target=ask))
            calls[-1].start()
        for call in calls:
            call.join()

    def _next_edit(self) -> str:
        return f"{self._edit} {next(self._numbers)}"

    def _ask(self) -> None:
        step, begun = self._step, time.monotonic()
        try:
            found = self._client.search(item_id=self._item_id, edits=self._next_edit(), limit=3)
            code = "OK" if len(found.hits) == 3 else "WRONG"
            self.composers[found.composer] += 1
        except ScotError as error:
            code = type(error).__name__
        with self._lock:
            step.calls += 1
            self._good = self._good + 1 if code == "OK" else 0
            if code == "OK":
                now = time.monotonic()
                step.latencies_s.append(now - begun)
                step.longest_gap_s = max(step.longest_gap_s, now - step.answered)
                step.answered = now
            else:
                step.failed[code] += 1
                step.recovered_s = time.monotonic() - step.began

    def _ask_bare(self) -> None:
        step, request = self._step, search_pb2.ComposeSearchRequest(limit=3)
        request.reference.item_id = self._item_id
        request.edits.add(text=self._next_edit())
        try:
            ask: Any = search_pb2_grpc.SearchServiceStub(self._channel).ComposeSearch
            ask(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            with self._lock:
                step.failed_without_retry[error.code().name] += 1
