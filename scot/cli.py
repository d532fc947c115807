"""The ``scot`` command: one subcommand a thing that people do. ``scot COMMAND --help`` has the flags and an example."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from scot import __version__, flags

SUMMARIES = {
    "demo": "draw, learn, index, serve and search on this machine",
    "serve": "start the search service here",
    "search": "ask a running service: a picture, what to change, the pictures found",
    "index": "put a folder of captioned pictures into a running service",
    "evaluate": "recall of composers on drawn galleries, with contact sheets",
    "draw": "draw captioned pictures of a world, with queries whose answers are known",
}


def commands() -> dict[str, type]:
    """Every subcommand that runs in this process, with its typed flags (``serve`` is a process of its own)."""
    from scot.commands.index import IndexConfig
    from scot.commands.search import SearchConfig
    from scot.data.worlds.drawing import DrawConfig
    from scot.demo.config import DemoConfig
    from scot.evaluation.run import EvaluateConfig

    return {
        "demo": DemoConfig,
        "search": SearchConfig,
        "index": IndexConfig,
        "evaluate": EvaluateConfig,
        "draw": DrawConfig,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 0 done, 1 refused with a sentence, 2 a wrong flag, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "--help"
    if command in ("--help", "-h", "help"):
        print(_usage())
        return 0
    if command in ("--version", "-V"):
        print(f"scot {__version__}")
        return 0
    if command not in SUMMARIES:
        print(f"scot: there is no command {command!r}; try scot --help", file=sys.stderr)
        return 2
    if command == "serve":
        # A process of its own, in place of this one: Ctrl-C reaches the service and nothing else.
        os.execv(sys.executable, [sys.executable, "-m", "services.search.local", *arguments[1:]])
    return flags.run(f"scot {command}", _function(command), commands()[command], arguments[1:])


def _function(command: str) -> Callable[[Any], int]:
    """The function behind a subcommand; imported only when asked for, so that ``--help`` is quick."""
    if command == "demo":
        from scot.demo.run import demo

        return demo
    if command == "search":
        from scot.commands.search import search

        return search
    if command == "index":
        from scot.commands.index import index

        return index
    if command == "evaluate":
        from scot.evaluation.run import evaluate

        return evaluate
    from scot.data.worlds.drawing import draw

    return draw


def _usage() -> str:
    width = max(map(len, SUMMARIES))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(
        [
            "usage: scot COMMAND [flags]",
            "",
            "Composed image search: show a picture, say what to change, get the pictures you mean.",
            "",
            *lines,
            "",
            "scot COMMAND --help lists its flags. Every flag is also an environment variable: --port is SCOT_PORT.",
            'Example: scot search --image shirt.png --edit "make it blue"',
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
