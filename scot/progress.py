"""The progress of long tasks: a bar with total, rate and time left on a terminal, a plain line now and then elsewhere.

::

    progress = Progress.on(sys.stderr)
    with progress.task("encoding", total=50_000, unit="images") as task:
        task.advance(256)

writes ``encoding: 256 of 50,000 images (85/s, 10 min left)``. Library functions take a ``Progress`` and are silent by
default; only commands decide where it goes.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# rich is imported where it shows something: a fifth of a second that replicas of the search service do not wait for.
_EVERY_S = 3.0


def report_console(*, stderr: bool = False) -> Console:
    """A console that is wide enough for the tables where it is not a terminal."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else 110)


class Progress:
    """Shows the progress of tasks, on a terminal or as plain lines; with neither, it shows nothing.

    ``write`` receives plain lines: at most one in ``every_s`` seconds, and the last one of each task.
    """

    def __init__(
        self,
        write: Callable[[str], None] | None = None,
        *,
        console: Console | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        self._write, self._console, self._every_s = write, console, every_s

    @classmethod
    def on(cls, stream: TextIO) -> Progress:
        """A display on a stream: a bar if it is a terminal, plain lines if not."""
        if not stream.isatty():
            return cls(partial(_write_line, stream))
        from rich.console import Console

        return cls(console=Console(file=stream))

    def line(self, text: str) -> None:
        """Show one line of text, such as the name of the next step."""
        if self._console is not None:
            from rich.text import Text

            self._console.print(Text(text))
        elif self._write is not None:
            self._write(text)

    @contextlib.contextmanager
    def task(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Show one task while the block runs.

        Args:
            name: what is being done, such as "encoding".
            total: how many items there are, if that is known.
            unit: what is counted, in the plural.
        """
        if self._console is None:
            task = Task(name, total, unit, self._write or (lambda line: None), self._every_s)
            yield task
            task.finish()
            return
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
        with Bars(*columns, console=self._console) as bars:
            bar = bars.add_task(name, total=total)

            def show(line: str) -> None:
                bars.update(bar, description=line, completed=task.done, total=task.total)

            task = Task(name, total, unit, show, 0.1)
            yield task
            task.finish()


class Task:
    """One running count; threads may share it. ``total`` may be set when it becomes known."""

    def __init__(self, name: str, total: int | None, unit: str, show: Callable[[str], None], every_s: float) -> None:
        self.total = total
        self.done = 0
        self._name, self._unit, self._show, self._every_s = name, unit, show, every_s
        self._skipped, self._note = 0, ""
        self._shown_done: int | None = None
        self._started = self._shown_at = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count items as done; ``note`` is shown behind the counts until the next one."""
        self._add(count, note)

    def skip(self, count: int) -> None:
        """Count items that an earlier run had done: they do not count for the rate."""
        self._skipped += count
        self._add(count, "")

    def finish(self) -> None:
        """Show the last counts, if they were not shown yet."""
        if self.done and self._shown_done != self.done:
            self._display()

    def _add(self, count: int, note: str) -> None:
        with self._lock:
            self.done += count
            self._note = note or self._note
            if time.monotonic() - self._shown_at >= self._every_s:
                self._display()

    def _display(self) -> None:
        self._shown_at, self._shown_done = time.monotonic(), self.done
        rate = (self.done - self._skipped) / max(self._shown_at - self._started, 1e-9)
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        left = (self.total - self.done) / rate if self.total is not None and rate > 0 else 0.0
        times = f"({speed}, {duration(left)} left)" if left > 0 else f"({speed})"
        parts = (f"{self._name}: {count}", self._unit, times, self._note)
        self._show(" ".join(part for part in parts if part))


SILENT = Progress()
"""Shows nothing."""


def duration(seconds: float) -> str:
    """Seconds in the largest units that say enough: ``45 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _write_line(stream: TextIO, line: str) -> None:
    encoding = stream.encoding or "ascii"
    print(line.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
