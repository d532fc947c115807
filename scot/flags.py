"""Command lines from typed dataclasses; every flag is also an environment variable.

``--batch-size 512`` is ``SCOT_BATCH_SIZE=512``. A flag on the command line wins. The fields of a nested
dataclass are flags without a prefix. No other module reads SCOT's own environment variables.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import tyro

# Both are private and named by test_flags.py: the reason of a refusal as data, and a value that may begin with "-".
from tyro import _errors
from tyro._backends._tyro_backend import _LiteralValue

from scot.errors import InvalidInput, ScotError, grpc_status
from scot.keys import key_of, text_of
from scot.signals import SIGTERM_CODE, Terminated

Config = TypeVar("Config")


class _Phrases:
    """Marks a list of texts that are usually several words each."""


Phrases = Annotated[list[str], _Phrases]
"""A list of texts: separate words after one flag are refused, because a text without its quotes looks like that."""


class _Malformed(InvalidInput):
    """The command line, not a value, is wrong: exit code 2."""


_ON = ("1", "true", "yes", "on")
_OFF = ("0", "false", "no", "off")
_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
_EPILOGUE = "Every flag is also an environment variable: --some-flag is SCOT_SOME_FLAG (a flag wins)."


def parse(
    config: type[Config],
    argv: Sequence[str],
    *,
    prog: str,
    description: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read ``config``'s fields from ``argv``, then the environment (by default this process's), then their defaults.

    Raises:
        SystemExit: ``--help`` was asked for (0), or a flag is unknown or malformed (2, with a sentence on stderr).
    """
    try:
        return _parse(config, argv, prog, description, os.environ if environment is None else environment)
    except _Malformed as error:
        print(f"{prog}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _parse(
    config: type[Config], argv: Sequence[str], prog: str, description: str | None, environment: Mapping[str, str]
) -> Config:
    text = f"{description or config.__doc__ or ''}\n\n{_EPILOGUE}"
    arguments = [*_from_environment(config, environment), *_gathered(config, argv)]
    parsed = tyro.cli(config, args=arguments, prog=prog, description=text, config=(tyro.conf.OmitArgPrefixes,))
    for name, value in flat(parsed).items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, str) and not _is_text(each):
                raise _Malformed(f"{_flag(name)}: {each.encode(errors='surrogateescape')!r} is not UTF-8 text")
    return parsed


def check(config: type[Any], argv: Sequence[str], *, prog: str) -> None:
    """Check the flags of another process: :func:`parse` without this process's environment.

    Raises:
        InvalidInput: a flag is unknown, malformed or missing; the message is one sentence.
    """

    def refuse(event: _errors.ParseErrorEvent) -> None:
        raise InvalidInput(_reason(event))

    with _errors.on_parse_error(refuse):
        _parse(config, argv, prog, None, {})


def secret(name: str, file: Path | None) -> str | None:
    """A secret, from ``file`` or else from ``SCOT_NAME``; it is no flag, because ``ps`` shows flags to other users.

    Blanks around it and a leading ``Bearer`` are no part of it, nor is the byte-order mark of the file.

    Raises:
        InvalidInput: the file cannot be read, or is empty.
    """
    if file is None:
        return key_of(os.environ.get(f"SCOT_{name}", "")) or None
    try:
        text = key_of(text_of(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the file {file} cannot be read") from error
    if not text:
        raise InvalidInput(f"the file {file} is empty")
    return text


def run(command: str, main: object, config: type[Config], argv: Sequence[str] | None = None) -> int:
    """Parse and call ``main(config)``; a :class:`ScotError` is one line on stderr and its exit code, Ctrl-C is 130.

    What :func:`parse` refuses is exit code 2.
    When the reader of the output has closed it, the exit code is 141 (SIGPIPE) and nothing is printed. With a flag
    ``--json`` that is set, an error is also printed on stdout: ``{"error": {"status": …, "message": …}}``.
    """
    assert callable(main)
    config_read: Config | None = None
    try:
        config_read = parse(config, sys.argv[1:] if argv is None else argv, prog=command)
        return int(main(config_read) or 0)
    except ScotError as error:
        if getattr(config_read, "json", None) is True:
            print(json.dumps({"error": {"status": grpc_status(error), "message": str(error)}}))
        print(f"{command}: {error}", file=sys.stderr)
        return error.exit_code
    except Terminated:
        print(f"{command}: ended by SIGTERM", file=sys.stderr)
        return SIGTERM_CODE
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has ended; devnull takes what Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def flat(config: Any) -> dict[str, Any]:
    """The values of a config by the names of its flags, those of nested dataclasses included."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def names(config: type) -> list[str]:
    """The names of a config's flags, as :func:`flat` gives them."""
    return [name for name, _ in _flags(config)]


def kinds(config: type) -> dict[str, Any]:
    """The type of each flag by its name; positional arguments are left out."""
    return {name: kind for name, kind in _flags(config) if _POSITIONAL not in get_args(kind)}


def written(values: Mapping[str, Any]) -> list[str]:
    """The command line that :func:`parse` reads these values from; None and empty lists are left out."""
    arguments: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if value is None or (isinstance(value, list | tuple) and not value):
            continue
        if isinstance(value, bool):
            arguments.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list | tuple):
            arguments += [flag, *map(str, value)]
        else:
            arguments.append(f"{flag}={value}")
    return arguments


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_text(value: str) -> bool:
    """Whether it is Unicode, or else the name of a file whose name is not."""
    return value.isprintable() or not any("\ud800" <= each <= "\udfff" for each in value) or Path(value).exists()


def _gathered(config: type, argv: Sequence[str]) -> list[str]:
    """The command line with the values of each list flag together, and values that begin with a dash marked."""
    kinds = dict(_flags(config))
    lists: dict[str, list[str]] = {}
    arguments: list[str] = []
    words = list(argv)
    while words and words[0] != "--":
        word = words.pop(0)
        key, attached, value = word.partition("=")
        name = key.removeprefix("--").replace("-", "_") if key.startswith("--") else ""
        kind = kinds.get(name)
        if _is_list(kind):
            given = [value] if attached else []
            while not attached and words and not _ends_values(words[0]):
                given.append(words.pop(0))
            _check_phrases(_flag(name), kind, given)
            lists.setdefault(name, []).extend(given)
            continue
        arguments.append(word)
        scalar = kind not in (None, bool) and _POSITIONAL not in get_args(kind) and not attached
        if scalar and words and not _ends_values(words[0]) and words[0].startswith("-"):
            arguments.append(_LiteralValue(words.pop(0)))
    for name, given in lists.items():
        arguments += [_flag(name), *map(_LiteralValue, given)]
    return [*arguments, *words]


def _is_list(kind: Any) -> bool:
    return kind == Phrases or get_origin(kind) in (list, tuple)


def _ends_values(word: str) -> bool:
    """Whether a word is a flag, known or not; anything else with a dash, such as "-no sleeves", is a value."""
    key = word.partition("=")[0]
    return word in ("--", "-h") or (key.startswith("--") and key[2:3].isalpha() and not any(map(str.isspace, key)))


def _check_phrases(flag: str, kind: Any, values: Sequence[str]) -> None:
    """Refuse two single words in a row. Raises _Malformed."""
    if kind == Phrases and any(" " not in a.strip() and " " not in b.strip() for a, b in pairwise(values)):
        together = " ".join(values)
        each = f" {flag} ".join(values)
        raise _Malformed(f'put quotes around a text, {flag} "{together}", or repeat the flag: {flag} {each}')


def _reason(event: _errors.ParseErrorEvent) -> str:
    match event:
        case _errors.UnrecognizedArgs():
            return f"unrecognized options: {' '.join(event.tokens)}"
        case _errors.MissingArgs():
            return f"missing: {', '.join(each.arg.display_name() for each in event.missing_arguments)}"
        case _errors.InvalidChoice():
            expected = ", ".join(event.choices)
            return f"{event.argument.display_name()}: {event.value!r} is not one of {expected}"
        case _errors.BadValue():
            return f"{event.argument.display_name()}: a value is missing"
        case _errors.InstantiationFailure():
            name = f"{event.argument.display_name()}: " if event.argument else ""
            return f"{name}{event.message}"
    return f"cannot be read ({type(event).__name__})"


def _flags(config: type) -> Iterator[tuple[str, Any]]:
    """The name and type of each flag; the fields of a nested dataclass are flags like the rest, at any depth."""
    hints = get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            yield from _flags(cast(type, kind))
        else:
            yield field.name, kind


def _from_environment(config: type, environment: Mapping[str, str]) -> list[str]:
    arguments: list[str] = []
    for name, kind in _flags(config):
        variable = f"SCOT_{name.upper()}"
        value = environment.get(variable)
        # Shells and manifests unset a variable by an empty value; a positional argument has no flag for the value.
        if not value or _POSITIONAL in get_args(kind):
            continue
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            word = value.strip().lower()
            if word not in _ON and word not in _OFF:
                raise _Malformed(f"{variable} must be one of {', '.join(_ON + _OFF)}, not {value!r}")
            arguments.append(flag if word in _ON else f"--no-{flag[2:]}")
        elif _is_list(kind):
            values = shlex.split(value)
            _check_phrases(flag, kind, values)
            arguments += [flag, *map(_LiteralValue, values)]
        else:
            arguments.append(f"{flag}={value}")  # with "=", a value that starts with a dash stays a value
    return arguments
