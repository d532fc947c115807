"""The flags of every command and job: name, type, default and environment variable, as flags.txt lists them.

A flag that changes breaks somebody's script. When the change is meant, write the list again and review its diff::

    PYTHONPATH=. python tests/unit/commands/test_frozen_flags.py
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro

from scot import cli, flags
from scot.cluster import jobs

FILE = Path(__file__).with_name("flags.txt")


def configs() -> dict[str, type[Any]]:
    found = {f"scot {name}": cli.config_of(name) for name in cli.COMMANDS}
    return found | {f"ray_jobs/{job}.py": jobs.config_of(job) for job in typing.get_args(jobs.JobName)}


def shown(kind: Any) -> str:
    """A type as a person writes it, aliases resolved."""
    return repr(kind).replace("pathlib.", "").replace("typing.", "") if typing.get_args(kind) else str(kind.__name__)


def lines(config: type[Any]) -> Iterator[str]:
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            yield from lines(typing.cast(type[Any], kind))
            continue
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        default = str(default) if isinstance(default, Path) else default
        value = "required" if default is dataclasses.MISSING else f"= {default!r}"
        if kind == flags.Phrases:
            kind = kind.__origin__
        if isinstance(kind, type(typing.Annotated[int, 0])):  # tyro.conf.Positional
            yield f"  {field.name.upper()}  {shown(kind.__origin__)}  {value}"  # type: ignore[attr-defined]
        else:
            yield f"  --{field.name.replace('_', '-')}  {shown(kind)}  {value}  SCOT_{field.name.upper()}"


def by_name(line: str) -> str:
    """The order of flags; positional arguments stay first and in theirs."""
    return line if line.startswith("  --") else ""


def listed() -> str:
    blocks = ["\n".join([name, *sorted(lines(config), key=by_name)]) for name, config in sorted(configs().items())]
    return "\n\n".join(blocks) + "\n"


def test_every_flag_is_as_it_was() -> None:
    assert listed() == FILE.read_text(encoding="utf-8")


def test_the_parser_and_the_environment_have_the_listed_flags() -> None:
    for config in configs().values():
        words = [line.split()[0] for line in lines(config)]
        assert [word.removeprefix("--").replace("-", "_").lower() for word in words] == flags.names(config)
        parser = tyro.extras.get_parser(config, config=(tyro.conf.OmitArgPrefixes,))
        known = {option for action in parser._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known


if __name__ == "__main__":
    FILE.write_text(listed(), encoding="utf-8")
