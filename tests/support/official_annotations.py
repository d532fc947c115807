"""Where the benchmarks' official annotations lie, beside the checkout; tests that need them are skipped without."""

from __future__ import annotations

from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"


def official(benchmark: str) -> Path:
    """The folder of a benchmark's official annotations; skips the test where it is not there."""
    if not (_FOLDER / benchmark).is_dir():
        pytest.skip(f"the official annotations of {benchmark} are not beside this checkout")
    return _FOLDER / benchmark
