"""``scot completion``: the completion script of a shell, made from the commands and their flags.

It completes commands, flags and the choices of a flag; everything else is a file name.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import tyro

from scot import flags
from scot.cli import COMMANDS, config_of


@dataclass(frozen=True)
class CompletionConfig:
    """Print the completion script of a shell.

    Example: scot completion bash > ~/.local/share/bash-completion/completions/scot
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """The shell."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of a command as a shell completes them."""

    names: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]


def completion(config: CompletionConfig) -> int:
    """Print the script."""
    script = fish() if config.shell == "fish" else bash()
    if config.shell == "zsh":
        print("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit")
    print(script, end="")
    return 0


def bash() -> str:
    """The script of bash, which zsh reads through its bashcompinit."""
    names = sorted({name.partition(" ")[0] for name in COMMANDS})
    lines = [
        "_scot() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local first="${COMP_WORDS[1]}" second="${COMP_WORDS[2]}" command words="" values=""',
        "    COMPREPLY=()",
        '    command="$first"',
        '    if [ "$COMP_CWORD" -gt 2 ]; then',
        '        case "$first $second" in',
        *(f"            {shlex.quote(name)}) command={shlex.quote(name)} ;;" for name in COMMANDS if " " in name),
        "        esac",
        "    fi",
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f"        words={shlex.quote(' '.join([*names, '--help', '--version']))}",
        "    else",
        '        case "$command" in',
    ]
    choices = []
    for name in sorted({*COMMANDS, *names}):
        found = flags_of(name)
        second = _second_words(name) if " " not in name else []
        lines.append(f"            {shlex.quote(name)}) words={shlex.quote(' '.join([*second, *found.names]))} ;;")
        choices += [
            f"{shlex.quote(f'{name} {flag}')}) values={shlex.quote(' '.join(c))} ;;"
            for flag, c in found.choices.items()
        ]
    lines += [
        "        esac",
        "    fi",
        '    case "$command $previous" in',
        *(f"        {line}" for line in choices),
        "    esac",
        '    if [ -n "$values" ]; then words="$values"; fi',
        '    COMPREPLY=( $(compgen -W "$words" -- "$current") )',
        '    if [ "$COMP_CWORD" -gt 2 ] && [ -z "$values" ] && [ "${current:0:1}" != "-" ]; then COMPREPLY=(); fi',
        "}",
        "complete -o bashdefault -o default -F _scot scot",
    ]
    return "\n".join(lines) + "\n"


def fish() -> str:
    """The script of fish."""
    lines = []
    for name, (_, _, summary) in COMMANDS.items():
        first, _, second = name.partition(" ")
        here = f"__fish_seen_subcommand_from {first}" + (
            f"; and __fish_seen_subcommand_from {second}" if second else ""
        )
        before = "__fish_use_subcommand"
        if second:
            others = " ".join(_second_words(first))
            before = f"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {others}"
        lines.append(f"complete -c scot -f -n '{before}' -a {second or first} -d {_quoted(summary)}")
        if name == "completion":
            lines.append(f"complete -c scot -f -n '{here}' -a '{' '.join(_second_words(name))}'")
        found = flags_of(name)
        for flag in found.names:
            values = f" -x -a {_quoted(' '.join(found.choices[flag]))}" if flag in found.choices else ""
            lines.append(f"complete -c scot -n '{here}' -l {flag.removeprefix('--')}{values}")
    return "\n".join(lines) + "\n"


def flags_of(name: str) -> Flags:
    """The flags of a command; none of a group, or of a command whose packages are not installed."""
    try:
        kinds = flags.kinds(config_of(name)) if name in COMMANDS else {}
    except ModuleNotFoundError:
        kinds = {}
    names, choices = ["--help"], {}
    for field, kind in kinds.items():
        flag = f"--{field.replace('_', '-')}"
        names += [flag, f"--no-{flag[2:]}"] if kind is bool else [flag]
        options = [each for each in (kind, *get_args(kind)) if get_origin(each) is Literal]
        if options:
            choices[flag] = tuple(map(str, get_args(options[0])))
    return Flags(tuple(names), choices)


def _second_words(first: str) -> list[str]:
    words = [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{first} ")]
    return [*words, *(["bash", "zsh", "fish"] if first == "completion" else [])]


def _quoted(text: str) -> str:
    """A text between single quotes, as fish reads it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
