"""The completion scripts, with a real bash; zsh reads the same script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from scot.cli import COMMANDS, main


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scot.completion import bash

    file = tmp_path_factory.mktemp("completion") / "scot"
    file.write_text(bash())
    return file


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _scot; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "-c", code, "bash", str(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scot", "sea"], ["search"]),
        (["scot", "collections", "re"], ["reindex"]),
        (["scot", "search", "--ed"], ["--edit"]),
        (["scot", "search", "--edit", "a", "--fil"], ["--filter"]),
        (["scot", "collections", "list", "--st"], ["--store"]),
        (["scot", "evaluate", "cirr", "--an"], ["--annotations"]),
        (["scot", "keys", "new", "--role", ""], ["read", "read-write"]),
        (["scot", "completion", "f"], ["fish"]),
        (["scot", "index", "folder", "so"], []),
        (["scot", "dance", "--x"], []),
    ],
)
def test_what_bash_offers(script: Path, words: list[str], expected: list[str]) -> None:
    assert completed(script, *words) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("scot sea", ["search"]),
        ("scot collections re", ["reindex"]),
        ("scot collections reindex sw", []),
        ("scot search --fil", ["--filter"]),
        ("scot keys new --role ", ["read", "read-write"]),
        ("scot completion f", ["fish"]),
    ],
)
def test_what_fish_offers(line: str, expected: list[str], tmp_path: Path) -> None:
    from scot.completion import fish

    (tmp_path / "scot.fish").write_text(fish())
    (tmp_path / "search-results").touch()  # no file is offered where a word is expected
    command = ["fish", "--no-config", "-c", f"source scot.fish; complete -C '{line}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert [offer.split("\t")[0] for offer in done.stdout.splitlines()] == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_every_command(script: Path) -> None:
    assert {name.partition(" ")[0] for name in COMMANDS} < set(completed(script, "scot", ""))
    code = f"source {script}; complete -p scot"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "complete -o bashdefault -o default -F _scot scot\n"


def test_zsh_and_fish_have_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "complete -c scot -n '__fish_seen_subcommand_from search' -l edit" in lines
    assert all(line.replace("\\'", "").count("'") % 2 == 0 for line in lines)
