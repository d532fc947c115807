"""DynamicBatcher: jobs that arrive while the thread is busy form one batch; order holds, failures stay apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from services.search.composer.batcher import DynamicBatcher


class Work:
    """Doubles numbers, a batch at a time; the first batch waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, jobs: list[int]) -> Sequence[int]:
        self.batches.append(jobs)
        assert self.go_on.wait(10)
        if 13 in jobs:
            raise ValueError("thirteen")
        return [2 * job for job in jobs]


async def answered(batches: DynamicBatcher[int, int], work: Work, *jobs: int) -> list[asyncio.Task[int]]:
    """The jobs, asked one after the other while the first is worked on."""
    asked = []
    for job in jobs:
        asked.append(asyncio.create_task(batches.answer(job)))
        while not work.batches:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
    return asked


def test_an_idle_one_starts_at_once_and_a_busy_one_gathers() -> None:
    async def run() -> None:
        work = Work()
        asked = await answered(DynamicBatcher(work, most=3), work, 1, 2, 3, 4, 5)
        work.go_on.set()
        assert await asyncio.gather(*asked) == [2, 4, 6, 8, 10]
        assert work.batches == [[1], [2, 3, 4], [5]]

    asyncio.run(run())


def test_a_job_counts_for_its_size_and_a_larger_one_goes_alone() -> None:
    async def run() -> None:
        work = Work()
        asked = await answered(DynamicBatcher(work, most=10, size=lambda job: job), work, 1, 4, 6, 20, 3, 7)
        work.go_on.set()
        await asyncio.gather(*asked)
        assert work.batches == [[1], [4, 6], [20], [3, 7]]

    asyncio.run(run())


def test_who_goes_away_while_waiting_costs_no_work() -> None:
    async def run() -> None:
        work = Work()
        batches = DynamicBatcher(work, most=3)
        asked = await answered(batches, work, 1, 2, 3)
        asked[0].cancel()
        asked[1].cancel()
        await asyncio.sleep(0)
        work.go_on.set()
        assert await asked[2] == 6
        assert work.batches == [[1], [3]]
        assert await batches.answer(4) == 8  # and it goes on

    asyncio.run(run())


def test_a_failure_is_that_of_its_batch_alone() -> None:
    async def run() -> None:
        work = Work()
        batches = DynamicBatcher(work, most=2)
        asked = await answered(batches, work, 1, 2, 13, 4)
        work.go_on.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert (found[0], found[3]) == (2, 8)
        for each in found[1:3]:
            with pytest.raises(ValueError, match="thirteen"):
                raise each  # type: ignore[misc]

    asyncio.run(run())
