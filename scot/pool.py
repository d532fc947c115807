"""Workers that process items, a few at a time: actors of Ray that are restarted when they die, or threads here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, Protocol, TypeVar

from scot.errors import Unavailable, our_cause

Item = TypeVar("Item")
Result = TypeVar("Result")
Given_contra = TypeVar("Given_contra", contravariant=True)


class Pool(Protocol[Given_contra, Result]):
    """Processes items, in any order."""

    def submit(self, item: Given_contra) -> list[Result]:
        """Begin an item, when there is room; returns the results of items that are finished meanwhile."""

    def drain(self) -> list[Result]:
        """Finish all items in progress."""

    def close(self) -> None:
        """Stop at once."""


class RayPool(Generic[Item, Result]):
    """Actors of the running Ray; an item whose actor or node dies is processed again.

    Args:
        worker: the class of the actors.
        arguments: the arguments of each.
        method: the method that processes an item.
        count: the number of actors.
        items_each: the items in progress in one actor.
        options: the resources of an actor.
        what: what an actor is, for the message when none can be started.
    """

    def __init__(
        self, worker: type[Any], arguments: tuple[Any, ...], method: str, *,
        count: int, items_each: int, options: Mapping[str, Any], what: str,
    ) -> None:  # fmt: skip
        import ray

        self._ray, self._method, self._items_each, self._what = ray, method, items_each, what
        every = {**options, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": items_each}
        make: Any = ray.remote(**every)(worker)
        self._workers: list[Any] = [make.remote(*arguments) for _ in range(count)]
        self._in_progress: dict[Any, int] = {}

    def submit(self, item: Item) -> list[Result]:
        """Give an item to the least busy actor; see :class:`Pool`."""
        done: list[Result] = []
        while len(self._in_progress) >= self._items_each * len(self._workers):
            done += self._wait()
        loads = Counter(self._in_progress.values())
        number = min(range(len(self._workers)), key=lambda n: loads[n])
        self._in_progress[getattr(self._workers[number], self._method).remote(item)] = number
        return done

    def drain(self) -> list[Result]:
        """See :class:`Pool`."""
        done: list[Result] = []
        while self._in_progress:
            done += self._wait()
        return done

    def close(self) -> None:
        """See :class:`Pool`."""
        for worker in self._workers:
            self._ray.kill(worker)

    def _wait(self) -> list[Result]:
        from ray.exceptions import RayActorError, RayTaskError

        ready, _ = self._ray.wait(list(self._in_progress), num_returns=1)
        try:
            return [self._ray.get(reference) for reference in ready]
        except RayTaskError as error:
            raise our_cause(error) from None
        except RayActorError as error:
            raise Unavailable(f"{self._what} could not be started: {_reason(error)}") from error
        finally:
            for reference in ready:
                del self._in_progress[reference]


class ThreadPool(Generic[Item, Result]):
    """Threads of this process, each with one item; see :class:`Pool`. ``stop`` lets ``work`` end early."""

    def __init__(self, work: Callable[[Item], Result], threads: int, stop: Callable[[], None]) -> None:
        self._work, self._threads, self._stop = work, threads, stop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._in_progress: set[Future[Result]] = set()

    def submit(self, item: Item) -> list[Result]:
        """See :class:`Pool`."""
        done = self._wait() if len(self._in_progress) >= self._threads else []
        self._in_progress.add(self._pool.submit(self._work, item))
        return done

    def drain(self) -> list[Result]:
        """See :class:`Pool`."""
        done: list[Result] = []
        while self._in_progress:
            done += self._wait()
        return done

    def close(self) -> None:
        """See :class:`Pool`."""
        self._stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _wait(self) -> list[Result]:
        ready, self._in_progress = wait(self._in_progress, return_when=FIRST_COMPLETED)
        return [future.result() for future in ready]


def _reason(error: Exception) -> str:
    """The sentence at the end of the actor's stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("Error: ")[2].rpartition("InvalidInput: ")[2] if lines else "it died"
