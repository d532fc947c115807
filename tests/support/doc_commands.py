"""Find the commands in a Markdown page and check each against what really answers it: Makefile, CLI, script, path.

``check(argv)`` returns None for a command that would be understood, and otherwise a sentence that says what is wrong
with it. Nothing is executed: a script is only asked to read its command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from scot import flags

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?.*?\n.*?^\s*\1\s*$", re.M | re.S)
_SEPARATORS = ("&&", "||", ";", "|", "&")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def blocks(markdown: str, *kinds: str) -> Iterator[str]:
    """The bodies of fenced blocks of these kinds."""
    return (match["body"] for match in _FENCE.finditer(markdown) if match["kind"] in kinds)


def commands(markdown: str) -> Iterator[list[str]]:
    """Every simple command of the shell blocks, as words, without redirections and leading assignments."""
    for body in blocks(markdown, "bash", "sh", "shell"):
        yield from _split(body)
    for body in blocks(markdown, "console"):
        joined = body.replace("\\\n", "\\\n$ ")  # a continued line belongs to its prompt
        yield from _split("\n".join(re.findall(r"^\s*[$>] ?(.*)$", joined, re.M)))


def _split(body: str) -> Iterator[list[str]]:
    text = _HEREDOC.sub("", body).replace("\\\n", " ")
    for whole in _whole_lines(text):
        line = re.sub(r"(?<=\s)[012](?=[<>])", "", whole)  # 2>&1: the number belongs to the redirection
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in [*lexer, ";"]:
            if word in _SEPARATORS or word in ("(", ")"):
                while words and _ASSIGNMENT.match(words[0]):
                    words.pop(0)
                if words:
                    yield words
                words, skip = [], False
            elif set(word) <= set("<>&"):
                skip = True  # the next word is a file to redirect to
            elif skip:
                skip = False
            else:
                words.append(word)


def _whole_lines(text: str) -> Iterator[str]:
    """Lines, joined while a quote is open."""
    pending = ""
    for line in text.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            continue
        yield pending
        pending = ""
    if pending:
        yield pending


def check(argv: Sequence[str]) -> str | None:
    """What is wrong with a command, or None."""
    name, rest = argv[0], list(argv[1:])
    for prefix in (".venv/bin/", "./"):
        name = name.removeprefix(prefix)
    if name in _CHECKS:
        return _CHECKS[name](rest)
    if (ROOT / name).is_file():
        return None if os.access(ROOT / name, os.X_OK) else f"{name} is not executable"
    if name in _SHELL:
        return None
    return f"no test knows the command {name!r}: add it to tests/support/doc_commands.py with a check"


def _make(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.M))
    for word in words:
        name, assigned, _ = word.partition("=")
        if name not in (variables if assigned else targets):
            return f"the Makefile has no {'variable' if assigned else 'target'} {name!r}"
    return None


def _scot(words: list[str]) -> str | None:
    if importlib.util.find_spec("scot.cli") is None:
        return "scot/cli.py does not exist"
    cli = importlib.import_module("scot.cli")
    if not words or words[0] in ("--help", "--version"):
        return None
    named = cli.words_of(words)
    words = [" ".join(words[:named]), *words[named:]]
    if words[0] not in cli.COMMANDS:
        return f"scot has no command {words[0]!r}"
    return _parses(cli.config_of(words[0]), words[1:])


def _python(words: list[str]) -> str | None:
    """``python FILE …`` or ``python -m MODULE …``: the file exists, and its own parser takes the flags."""
    if not words or words[0] == "-c":
        return None
    if words[0] == "-m":
        module, words = words[1], words[1:]
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations:
            spec = importlib.util.find_spec(f"{module}.__main__")
        if spec is None or spec.origin is None:
            return f"there is no module {module!r}"
        script = Path(spec.origin)
        if ROOT not in script.parents or ".venv" in script.parts:
            return None  # somebody else's module: pytest, pip
    else:
        script = ROOT / words[0]
        if not script.is_file():
            return f"there is no script {words[0]!r}"
    if not re.search(r"\bflags\.run\(", script.read_text(encoding="utf-8")):
        return f"{words[0]} takes no flags" if words[1:] else None
    return _script_parses(script, words[1:])


def _script_parses(script: Path, argv: list[str]) -> str | None:
    """Start the script with ``flags.run`` replaced by one that only parses."""
    outcome: list[str | None] = []

    def run(command: str, main: object, config: type[Any], argv_: Sequence[str] | None = None) -> int:
        outcome.append(_parses(config, argv if argv_ is None else list(argv_)))
        return 0

    path = list(sys.path)
    try:
        with (
            mock.patch.object(flags, "run", run),
            mock.patch.object(sys, "argv", [str(script), *argv]),
            contextlib.suppress(SystemExit),
        ):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.path[:] = path
    return outcome[0] if outcome else f"{script.name} never read its command line"


def _parses(config: type[Any], argv: Sequence[str]) -> str | None:
    assert dataclasses.is_dataclass(config)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            flags.parse(config, argv, prog="docs")
    except SystemExit as stopped:
        return None if stopped.code in (0, None) else said.getvalue()
    return None


def _ray(words: list[str]) -> str | None:
    if words[:2] != ["job", "submit"]:
        known = {"start", "stop", "status", "job", "dashboard"}
        return None if words and words[0] in known else f"ray has no command {' '.join(words[:1])!r}"
    if "--" not in words:
        return "ray job submit needs -- before its command"
    at = words.index("--")
    options = {word.partition("=")[0] for word in words[2:at] if word.startswith("--")}
    allowed = {"--working-dir", "--address", "--runtime-env-json", "--no-wait", "--submission-id", "--runtime-env"}
    if unknown := options - allowed:
        return f"ray job submit has no {min(unknown)}"
    return check(words[at + 1 :])


def _paths(words: list[str]) -> str | None:
    """Words that look like our own files are there."""
    for word in words:
        path = word.removeprefix("./").partition("=")[2] or word.removeprefix("./")
        if re.match(r"(helm|k8s|docs|protos|tests|benchmarks|requirements)(/|$)", path) and not (ROOT / path).exists():
            return f"there is no {path!r} in the project"
    return None


def _timed(words: list[str]) -> str | None:
    return check(words) if words else None


_CHECKS: dict[str, Callable[[list[str]], str | None]] = {
    "make": _make,
    "scot": _scot,
    "python": _python,
    "python3": _python,
    "ray": _ray,
    "pytest": _paths,
    "helm": _paths,
    "kubectl": _paths,
    "docker": _paths,
    "kind": _paths,
    "grpcurl": _paths,
    "prometheus": _paths,
    "promtool": _paths,
    "time": _timed,
    "nohup": _timed,
}

_SHELL = frozenset(
    {
        "base64",
        "cat",
        "cd",
        "cp",
        "curl",
        "echo",
        "export",
        "git",
        "head",
        "ls",
        "mkdir",
        "open",
        "pip",
        "rm",
        "source",
        "tail",
    }
    | {"tar", "uv", "wget", "xdg-open"}
)
"""What every reader has, and no test of ours could say more about."""
