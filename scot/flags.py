"""Command lines from typed dataclasses; every flag is also an environment variable.

``--batch-size 512`` is ``SCOT_BATCH_SIZE=512``. A flag on the command line wins. This is the one place where SCOT's own
environment variables are read.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar

import tyro

from scot.errors import ScotError

Config = TypeVar("Config")

_EPILOGUE = "Every flag is also an environment variable: --some-flag is SCOT_SOME_FLAG (a flag wins)."


def parse(config: type[Config], argv: Sequence[str], *, prog: str, description: str | None = None) -> Config:
    """Read ``config``'s fields from ``argv``, then the environment, then their defaults.

    Raises:
        SystemExit: ``--help`` was asked for (0), or a flag is unknown or malformed (2, with a sentence on stderr).
    """
    text = f"{description or config.__doc__ or ''}\n\n{_EPILOGUE}"
    return tyro.cli(config, args=[*_from_environment(config, os.environ), *argv], prog=prog, description=text)


def run(command: str, main: object, config: type[Config], argv: Sequence[str] | None = None) -> int:
    """Parse, call ``main(config)``, and turn a :class:`ScotError` into one line on stderr and exit code 1, Ctrl-C into 130."""
    assert callable(main)
    parsed = parse(config, sys.argv[1:] if argv is None else argv, prog=command)
    try:
        return int(main(parsed) or 0)
    except ScotError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130


def _from_environment(config: type, environment: Mapping[str, str]) -> list[str]:
    arguments: list[str] = []
    for field in dataclasses.fields(config):
        value = environment.get(f"SCOT_{field.name.upper()}")
        if value is None:
            continue
        flag = field.name.replace("_", "-")
        if str(field.type) == "bool":
            on = value.strip().lower() in ("1", "true", "yes", "on")
            arguments.append(f"--{flag}" if on else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", value]
    return arguments
