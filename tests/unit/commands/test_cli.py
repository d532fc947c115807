"""The scot command: help, version, unknown commands, and the refusals that need no service."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scot import __version__
from scot.cli import _PROCESSES, COMMANDS, main

SERVICES = set(_PROCESSES)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SERVICES))
def test_each_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"scot {name}" in text
    assert "Example" in text
    assert "SCOT_SOME_FLAG" in text


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_serves_is_a_process_with_help_of_its_own(name: str) -> None:
    command = [sys.executable, "-m", "scot.cli", *name.split(), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert f"scot {name}" in done.stdout


def test_version_and_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert main(["edits", "dance"]) == 2
    assert main(["dance"]) == 2
    assert "no command 'dance'" in capsys.readouterr().err


def test_an_unknown_flag_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["search", "--colour", "red"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--image", "missing.png", "--edit", "make it red"], "missing.png"),
        (["search", "--edit", "red", "--offset", "9999999999"], "offset: must be at least 0 and at most 10000, not 99"),
        (["search", "--edit", "red", "--sheet", "."], "the contact sheet . is a folder"),
        (["search", "--edit", "red", "--sheet", "/dev/null/a.png"], "/dev/null is no folder"),
        (["index", "missing"], "missing"),
    ],
)
def test_refusals_are_one_sentence(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--address", "localhost:1"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"scot {arguments[0]}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--edit", "red", "--limit", "0"], "--limit must be 1 to 1,000, not 0"),
        (["search", "--edit", "red", "--limit", "1000000000"], "--limit must be 1 to 1,000"),
        (["search", "--edit", "red", "--weight", "1", "1"], "--weight needs one number"),
        (["search", "--edit", "red", "--show", "--json"], "--show contradicts --json"),
        (["evaluate", "pairs"], "--source is missing"),
        (["status", "--wait", "-1"], "--wait must not be negative"),
    ],
)
def test_a_flag_that_cannot_be_so_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_service_that_is_away_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert main(["search", "--edit", "red", "--address", f"localhost:{port}"]) == 1
    assert f"localhost:{port}" in capsys.readouterr().err


def test_flags_that_only_a_shell_can_write(tmp_path: Path) -> None:
    scot = f"{shlex.quote(sys.executable)} -m scot.cli search --address localhost:1"
    script = f"{scot} --edit $'caf\\xe9'; {scot} --edit make it blue; {scot} --edit red --edit '-no sleeves'"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr.splitlines() == [
        r"scot search: --edit: b'caf\xe9' is not UTF-8 text",
        'scot search: put quotes around a text, --edit "make it blue", '
        "or repeat the flag: --edit make --edit it --edit blue",
        "scot search: no SCOT service answers at localhost:1",
    ]
    assert done.returncode == 1
