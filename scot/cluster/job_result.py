"""The result of a job as data: one line of JSON in its log, the one thing that a waiting process can read of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_KEY = "scot_result"


def write(values: Mapping[str, Any]) -> None:
    """Print the result of this process as one line on standard output."""
    print(json.dumps({_KEY: dict(values)}), flush=True)


def read(line: str) -> dict[str, Any] | None:
    """The result that a line of a log holds, None for any other line."""
    if not line.startswith(f'{{"{_KEY}"'):
        return None
    try:
        return dict(json.loads(line)[_KEY])
    except (ValueError, TypeError, KeyError):
        return None
