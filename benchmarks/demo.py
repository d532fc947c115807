"""How long a new user waits: both acts of the demo from an empty folder, and the first answer of ``scot serve``.

    python benchmarks/demo.py --output demo.json

The time of the service counts from the command to the answer of the first composed search, over the gallery that the
demo has indexed and with the composer it has released; the files are in the disk cache, as after an installation.
"""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.client import ScotClient
from scot.errors import ScotError, Unavailable
from scot.machine import machine
from scot.ports import free_port

_TOOK = re.compile(r"^act (one|two) took (\d+) s$")


@dataclass(frozen=True, slots=True)
class DemoBenchmark:
    """Time the demo and the start of the service.

    Example: python benchmarks/demo.py --rounds 1
    """

    rounds: int = 3
    """Starts of the service; the median counts."""
    data: Path | None = None
    """A workspace of an earlier demo: only the service is started."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: DemoBenchmark) -> int:
    """Measure and print."""
    results: dict[str, float | str] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        data = config.data or Path(folder, "demo")
        if config.data is None:
            results |= demo(data)
        results["first answer s"] = statistics.median(first_answer(data) for _ in range(config.rounds))
    for name, value in results.items():
        print(f"{name}: {value if isinstance(value, str) else f'{value:.1f}'}")
    if config.output:
        config.output.write_text(json.dumps(results, indent=1))
    return 0


def demo(data: Path) -> dict[str, float]:
    """The seconds of both acts, as the demo prints them."""
    command = [sys.executable, "-m", "scot.cli", "demo", "--once", "--data", str(data), "--port", str(free_port())]
    took: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"  {line}", end="", file=sys.stderr)
            if found := _TOOK.match(line):
                took[f"act {found[1]} s"] = float(found[2])
    if process.returncode:
        raise Unavailable(f"the demo failed (exit code {process.returncode})")
    return took


def first_answer(data: Path) -> float:
    """Seconds from the command to the answer of the first composed search."""
    port = free_port()
    command = [sys.executable, "-m", "scot.cli", "serve", "--data", str(data), "--port", str(port)]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with ScotClient(f"localhost:{port}", timeout=5) as client:
            while True:
                try:
                    client.search(item_id="wardrobe-00006", edits="add a belt")
                    return time.monotonic() - begun
                except ScotError as error:
                    if process.poll() is not None:
                        raise Unavailable(f"the service did not start (exit code {process.returncode})") from error
                    time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


if __name__ == "__main__":
    sys.exit(flags.run("demo", main, DemoBenchmark))
