"""How a private Ray starts: tried again when the machine is busy, given up when it was told to stop."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from scot.errors import Unavailable, first_line
from scot.local_ray import start_private_ray


class Attempts:
    """In the place of ``ray.init``: fails the first ``failures`` times; counts what is called."""

    def __init__(self, failures: int) -> None:
        self.failures, self.options, self.stops, self.ends = failures, list[dict[str, Any]](), 0, 0

    def init(self, **options: Any) -> None:
        self.options.append(options)
        if len(self.options) <= self.failures:
            raise TimeoutError("\n  the raylet is late\nmore")

    def stop(self) -> None:
        self.stops += 1

    def end(self) -> None:
        self.ends += 1


def start(attempts: Attempts, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
    monkeypatch.setattr(ray, "init", attempts.init)
    start_private_ray(stop=attempts.stop, attempted=attempts.end, num_cpus=2, **arguments)


def test_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(2)
    start(attempts, monkeypatch)
    assert [options["num_cpus"] for options in attempts.options] == [2, 2, 2]
    assert attempts.options[0]["include_dashboard"] is False
    assert (attempts.stops, attempts.ends) == (2, 3)


def test_three_failures_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(9)
    with pytest.raises(Unavailable, match=r"^Ray does not start; .* out of memory\? the raylet is late$"):
        start(attempts, monkeypatch)
    assert (attempts.stops, attempts.ends) == (3, 3)


def test_who_was_told_to_stop_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(9)
    start(attempts, monkeypatch, stopped=lambda: True)
    assert (attempts.stops, attempts.ends) == (1, 1)


def test_an_error_without_words_is_told_by_its_type() -> None:
    assert first_line(KeyError()) == "KeyError"
