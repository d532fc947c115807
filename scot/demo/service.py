"""The search service of the demo: ``scot serve`` as a process that a Ctrl-C of the terminal does not reach."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

from rich.console import Console

from scot.demo.config import DemoConfig
from scot.errors import Unavailable


class Service:
    """Runs while the block runs; its output is shown as it comes."""

    def __init__(self, config: DemoConfig, console: Console) -> None:
        place = ("--data", str(config.data), "--port", str(config.port))
        web = () if config.once else ("--web", "--web-port", str(config.web_port))
        self.command: tuple[str, ...] = (sys.executable, "-m", "scot.cli", "serve", *place, *web)
        self._console = console
        self._listening = threading.Event()

    def __enter__(self) -> Service:
        self._process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0
        )
        self._reader = threading.Thread(target=self._show, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def wait_until_listening(self) -> None:
        """Wait until the service answers. Raises Unavailable: it ended."""
        self._listening.wait()
        if self._process.poll() is not None:
            raise Unavailable(f"the service did not start (exit code {self._process.poll()}); the lines above say why")

    def wait(self) -> None:
        """Wait until the service ends."""
        self._process.wait()

    def _show(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._console.print(f"      {line}", end="", markup=False, highlight=False, soft_wrap=True)
            if "listens on" in line:
                self._listening.set()
        self._process.wait()
        self._listening.set()
