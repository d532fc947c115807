"""What commands print for scripts: one line of JSON (``--json``), errors included.

Exit codes are the same with and without it: 0 success, 1 an error of :mod:`scot.errors`, 2 a malformed command line,
130 interrupted, 141 the reader of the output has closed it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any


def print_json(values: Mapping[str, Any]) -> None:
    """Print one object as one line; arrays become lists, texts stay Unicode where the output can show it."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(values, ensure_ascii=not unicode, default=_plain, allow_nan=False))


def print_outcome(as_json: bool, values: Mapping[str, Any], sentence: str) -> None:
    """Print what a command has done: the values with ``--json``, the sentence without."""
    if as_json:
        print_json(values)
    else:
        print(sentence)


def words_aside(as_json: bool) -> contextlib.AbstractContextManager[object]:
    """With ``--json``, what the block prints goes to standard error: standard output is for the JSON alone."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def printable(text: str) -> str:
    """A text from elsewhere for a terminal: control characters, which could move the cursor, are replaced."""
    return "".join("\ufffd" if unicodedata.category(char)[0] == "C" else char for char in text)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers; NumPy is not in the base package
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
