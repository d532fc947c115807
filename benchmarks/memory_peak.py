"""The peak of this process's memory while a block runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class Peak:
    """The most memory that this process has while the block runs, beyond what it had before; Linux only."""

    def __enter__(self) -> Peak:
        self._before, self._peak, self._over = self._now(), dict.fromkeys(("RssAnon", "VmRSS"), 0), threading.Event()
        self._started = time.perf_counter()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._seconds = time.perf_counter() - self._started

    def numbers(self) -> dict[str, float]:
        """Seconds, and bytes."""
        anonymous, resident = (self._peak[name] - self._before[name] for name in ("RssAnon", "VmRSS"))
        return {"seconds": self._seconds, "anonymous": anonymous, "resident": resident}

    def whole(self) -> dict[str, float]:
        """:meth:`numbers`, with all of the process's memory."""
        return {**self.numbers(), "anonymous": self._peak["RssAnon"], "resident": self._peak["VmRSS"]}

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            now = self._now()
            self._peak = {name: max(value, now[name]) for name, value in self._peak.items()}

    @staticmethod
    def _now() -> dict[str, int]:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return {
            line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "VmRSS"))
        }
